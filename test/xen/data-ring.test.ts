import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DATARING_OUT } from '#build/xen/data-ring-layout.js';
import { VIFQ_DATA, VIFQ_DATA_COPIED, VIFQ_DATA_INDEX } from '#build/xen/queue-layout.js';
import { connect, disconnect, exchange, exchangeUncopied, pass, type VifRig } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { frameOf, makeVif, type Served, settle } from './support/vif-rig.ts';

const FRONT = '/local/domain/1/device/vif/0';
const framed = (order: number) => ({ kind: 'data-ring', order }) as const;

/** A device of one queue, connected, with its ends. */
async function make(order: number, mode: 'plain' | 'mapped' = 'plain') {
  const rig = await makeVif({ mode, path: framed(order) });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  const [frontShare, backShare] = [rig.netfront.bus.queues[0], rig.netback.bus.queues[0]];
  if (frontShare === undefined || backShare === undefined) throw new Error('no queue');
  const { u32 } = rig.arena;
  /** The index page, as the frontend has it; `out` and `in` lie behind it. */
  const indexes = (u32[(frontShare.txQueue + VIFQ_DATA) >>> 2] ?? 0) - DATARING_OUT;
  return { rig, front, back, indexes, half: 2 ** (order - 1) * 4096, frontShare, backShare };
}

const copiesOf = (rig: VifRig): number => rig.driver.costs().copies;

test.each([
  [8, 1, 0],
  [5, 2, 1],
  [1, 1, 0],
])(
  'a data ring of order %i, %i queues, rings of order %i: packets of all sizes get through whole',
  async (order, queues, ringOrder) => {
    for (const mode of MODES) {
      const rig = await makeVif({ mode, path: framed(order), ringOrder, queues: { front: queues, back: queues } });
      await connect(rig);
      exchange(rig, order, 30);
      // What has room needs no Xen, and one slot however long it is.
      exchangeUncopied(rig, 1, 40, 60);
      await disconnect(rig);
    }
  },
);

test('a packet of 64 KiB takes one slot; one that finds no room goes by grant, in its place', async () => {
  const { rig, front, back } = await make(5);
  // 64 KiB each way: such a packet leaves no room for another.
  for (const [from, to] of [
    [front, back],
    [back, front],
  ] as const) {
    const [slots, before] = [from === front ? front.tx : back.rx, copiesOf(rig)];
    const first = slots.outstanding();
    const sent = [frameOf(1, 65_500), frameOf(2, 60), frameOf(3, 9000)];
    rig.make(sent);
    expect(from.send(rig.burst, 3)).toBe(3);
    if (from === front) expect(slots.outstanding() - first).toBe(1 + 1 + 3);
    expect(Buffer.concat(rig.receive(to)).equals(Buffer.concat(sent))).toBe(true);
    expect(copiesOf(rig)).toBeGreaterThan(before);
    expect(from.fallbacks()).toBe(2);
    // The reader gives room back with its next look.
    rig.receive(to);
    expect(pass(rig, from, to, [frameOf(4, 60)])).toBe(1);
    expect(from.fallbacks()).toBe(2);
  }
  await disconnect(rig);
});

test('frames come out as they went in, whatever their sizes and however far the reader is behind', async () => {
  const { rig, front, back, frontShare, backShare } = await make(1);
  // Indexes go round, and so do places in the ring.
  for (const share of [frontShare, backShare]) {
    for (const queue of [share.txQueue, share.rxQueue]) {
      const at = rig.arena.u32[(queue + VIFQ_DATA) >>> 2] ?? 0;
      rig.arena.u32.fill(2 ** 32 - 2048, at >>> 2, (at >>> 2) + 2);
      for (const own of [VIFQ_DATA_INDEX, VIFQ_DATA_COPIED]) rig.arena.u32[(queue + own) >>> 2] = 2 ** 32 - 2048;
    }
  }
  let serial = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.array(fc.integer({ min: 14, max: 900 }), { maxLength: 12 }))),
      (bursts) => {
        const expected: [Uint8Array[], Uint8Array[]] = [[], []];
        const got: [Uint8Array[], Uint8Array[]] = [[], []];
        const drain = (): void => {
          got[0].push(...rig.receive(back));
          got[1].push(...rig.receive(front));
        };
        for (const [isReader, lengths] of bursts) {
          const frames = lengths.map((length) => frameOf(serial++, length));
          for (const [way, from] of [front, back].entries()) {
            rig.make(frames);
            const sent = from.send(rig.burst, frames.length);
            rig.free(sent, frames.length - sent);
            expected[way]?.push(...frames.slice(0, sent));
          }
          if (isReader) drain();
        }
        for (let i = 0; i < 20; i++) drain();
        for (const way of [0, 1] as const) {
          expect(got[way].length).toBe(expected[way].length);
          expect(Buffer.concat(got[way]).equals(Buffer.concat(expected[way]))).toBe(true);
        }
      },
    ),
    { numRuns: 40 },
  );
  expect(front.fallbacks() + back.fallbacks()).toBeGreaterThan(0);
  await disconnect(rig);
});

test.each([
  ['an old backend', { path: framed(5), paths: ['staging'] }, 0],
  ['an old frontend', { paths: ['data-ring'] }, 0],
  ['a frontend and a backend that have it', { path: framed(5) }, 1],
] as const)('%s: what they agree on is one key', async (_, options, keys) => {
  const rig = await makeVif({ mode: 'plain', ...options });
  await connect(rig);
  const all = await rig.guest.hypervisor.store.directory(FRONT);
  expect(all.filter((key) => key === 'data-ring-ref').length).toBe(keys);
  const before = copiesOf(rig);
  exchange(rig, 1, 10, 60);
  expect(copiesOf(rig) > before).toBe(keys === 0);
  await disconnect(rig);
});

test('a backend goes on where the indexes are', async () => {
  const rig = await makeVif({ mode: 'plain', path: framed(2) });
  const { store } = rig.guest.hypervisor;
  const { u32 } = rig.arena;
  await store.watch(`${FRONT}/state`, 'meddler', async () => {
    if ((await store.read(`${FRONT}/state`)) !== '4') return;
    const { txQueue = 0, rxQueue = 0 } = rig.netfront.bus.queues[0] ?? {};
    for (const queue of [txQueue, rxQueue]) {
      const half = (u32[(queue + VIFQ_DATA) >>> 2] ?? 0) >>> 2;
      u32.set([6000 << 4, 6000 << 4], half);
      u32[(queue + VIFQ_DATA_INDEX) >>> 2] = 6000 << 4;
    }
  });
  await connect(rig);
  exchange(rig, 1, 20, 300);
  await disconnect(rig);
});

test('the half that the backend reads it cannot write', async () => {
  const { rig, indexes, half, frontShare } = await make(3);
  const frame = (address: number): number => (address - rig.guest.memory) / 4096;
  const { u16, u32 } = rig.arena;
  const flagsOf = (address: number): number[] =>
    Array.from({ length: rig.guest.grants.inUse + 16 }, (_, ref) => (rig.guest.grants.address + ref * 8) >>> 1)
      .filter((at) => (u16[at] ?? 0) !== 0 && u32[(at >>> 1) + 1] === frame(address))
      .map((at) => (u16[at] ?? 0) & 7);
  expect(flagsOf(indexes)).toEqual([1]);
  expect(flagsOf(indexes + 4096)).toEqual([1]);
  expect(flagsOf(indexes + 4096 + half)).toEqual([5]);
  expect(frontShare.side).toBe('front');
  await disconnect(rig);
});

test.each([
  ['of order 0', 128, 0, /order 0, must be from 1 to 9/],
  ['of order 10', 128, 10, /order 10, must be from 1 to 9/],
  ['with a reference that is none', 136, 60_000, /grant 60000 .* cannot be mapped: -3/],
  ['whose pages are fewer than it says', 128, 9, /cannot be mapped/],
  ['that goes on inside a frame', 64, 8, /out_cons of its data ring is 8, must be a multiple of 16/],
  ['that was written to inside a frame', 4, 20, /in_prod of its data ring is 20, must be a multiple of 16/],
])('a data ring %s is refused, and nothing is kept', async (_, at, value, reason) => {
  const rig = await makeVif({ mode: 'plain', path: framed(3) });
  const { netback, netfront, guest, driver } = rig;
  const { store } = guest.hypervisor;
  await store.watch(`${FRONT}/state`, 'meddler', async () => {
    if ((await store.read(`${FRONT}/state`)) !== '4') return;
    const ref = Number(await store.read(`${FRONT}/data-ring-ref`));
    const frame = rig.arena.u32[(guest.grants.address + ref * 8 + 4) >>> 2] ?? 0;
    rig.arena.u32[(guest.memory + frame * 4096 + at) >>> 2] = value;
  });
  await netback.start();
  await netfront.start();
  await settle();
  expect(String(netback.error)).toMatch(reason);
  expect([netback.state, netfront.state]).toEqual([6, 6]);
  expect([guest.grants.inUse, driver.costs().maps]).toEqual([0, driver.costs().unmaps]);
  expect(rig.arena.regions().filter(({ name }) => name.startsWith('back '))).toEqual([]);
});

const FRAME_RULE = 'a frame of the data ring that is not there, or of another length than its slot says';

test.each([
  ['a length that its slot does not have', 4096, 61],
  ['a length of 0', 4096, 0],
  ['a length beyond the ring', 4096, 65_536],
  ['a length that wraps', 4096, 0xffff_fff0],
  ['nothing written', 4, 0],
  ['more written than the ring holds', 4, 0x4000],
  ['an index that moved back', 4, 0xffff_fff0],
])('%s latches the reader, at either end, and what came before it arrives', async (_, at, value) => {
  for (const way of ['out', 'in'] as const) {
    const { rig, front, back, indexes, half } = await make(2);
    const [from, to] = way === 'out' ? [front, back] : [back, front];
    pass(rig, from, to, [frameOf(9, 60)]);
    rig.make([frameOf(1, 5000), frameOf(2, 60)]);
    expect(from.send(rig.burst, 2)).toBe(2);
    const words = way === 'out' ? { 4: 64 + 4, 4096: 4096 + half } : { 4: 4, 4096: 4096 };
    // The frame of 60 bytes is the second: it begins where the first one ended.
    const place = words[at as 4 | 4096] + (at === 4 ? 0 : 64 + 5008);
    rig.arena.u32[(indexes + place) >>> 2] = at === 4 && value === 0 ? 64 + 5008 : value;
    const arrived = rig.receive(to);
    // Of an index, all that was to come is in doubt; the frontend learns of a length from the frame alone.
    const isPlausible = way === 'in' && value === 61;
    if (isPlausible) expect(arrived.map(({ length }) => length)).toEqual([5000]);
    else expect(arrived.length).toBeLessThan(2);
    expect(to.fault()).toBe(FRAME_RULE);
    expect(rig.receive(to)).toEqual([]);
    await rig.netfront.close();
    await settle();
    expect(rig.guest.grants.inUse).toBe(0);
    expect(rig.held()).toBe(0);
  }
});

test('a reader that says it took what was never put latches the writer, and nothing is written', async () => {
  for (const way of ['out', 'in'] as const) {
    const { rig, front, back, indexes } = await make(2);
    const from = way === 'out' ? front : back;
    rig.arena.u32[(indexes + (way === 'out' ? 64 : 0)) >>> 2] = 16;
    rig.make([frameOf(1, 60)]);
    const sent = from.send(rig.burst, 1);
    rig.free(sent, 1 - sent);
    expect(from.fault()).toBe(FRAME_RULE);
    expect(rig.held()).toBe(0);
  }
});

test('a slot that names a frame, and there is no data ring, latches the reader', async () => {
  const rig = await makeVif({ mode: 'plain' });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  const sring = rig.arena.u32[front.tx.address >>> 2] ?? 0;
  rig.make([frameOf(1, 60)]);
  expect(front.send(rig.burst, 1)).toBe(1);
  rig.arena.u16[(sring + 64 + 6) >>> 1] = 32;
  expect(rig.receive(back)).toEqual([]);
  expect(back.fault()).toBe(FRAME_RULE);
  expect(rig.held()).toBe(0);
});

test('without buffers a frame is passed over, and the next one is found', async () => {
  const rig = await makeVif({ mode: 'plain', buffers: 64, path: framed(3) });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  for (const [from, to] of [
    [front, back],
    [back, front],
  ] as const) {
    rig.make([frameOf(1, 60), frameOf(2, 60)]);
    expect(from.send(rig.burst, 2)).toBe(2);
    rig.make(Array.from({ length: 32 }, (_, i) => frameOf(i, 3000)));
    expect(to.receive(rig.burst + 31 * 16, 1)).toBe(0);
    expect(to.drops().received.empty).toBe(1);
    rig.free(0, 32);
    expect(rig.receive(to)).toEqual([frameOf(2, 60)]);
  }
  expect(rig.held()).toBe(0);
});

test('a backend that leaves right behind a burst has given back the room of its frames', async () => {
  const { rig, front, back } = await make(2);
  rig.make([frameOf(1, 60), frameOf(2, 600)]);
  expect(front.send(rig.burst, 2)).toBe(2);
  expect(rig.receive(back)).toHaveLength(2);
  await rig.netback.bus.leave();
  await settle();
  const again = rig.makeBack('again');
  await again.start();
  await settle();
  rig.make([frameOf(3, 700)]);
  expect(front.send(rig.burst, 1)).toBe(1);
  expect(rig.receive(again.queues[0])).toEqual([frameOf(3, 700)]);
  await disconnect({ ...rig, netback: again });
});
