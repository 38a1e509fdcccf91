import { expect, test } from 'vitest';
import { NETTXF_STAGING_BUFFER } from '#build/xen/layout.js';
import { connect, disconnect, exchange, exchangeUncopied, pass, type VifRig } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { frameOf, makeVif, type Served, settle } from './support/vif-rig.ts';

const FRONT = '/local/domain/1/device/vif/0';

const staged = (tx: number, rx = tx) => ({ kind: 'staging', tx, rx }) as const;

test.each([
  [128, 0, 1],
  [256, 0, 2],
  [256, 1, 1],
  [100, 2, 1],
  [1, 0, 1],
  [4096, 1, 1],
  [65_535, 0, 1],
  [65_536, 2, 1],
])(
  '%i bytes staged, rings of order %i, %i queues: packets of all sizes get through whole',
  async (length, ringOrder, queues) => {
    for (const mode of MODES) {
      const rig = await makeVif({ mode, path: staged(length), ringOrder, queues: { front: queues, back: queues } });
      await connect(rig);
      exchange(rig, length, 20);
      // What fits needs no Xen.
      if (length >= 14) exchangeUncopied(rig, 1, 10, Math.min(length, 1514));
      else exchange(rig, 1, 10, 14);
      await disconnect(rig);
    }
  },
);

test('128 bytes are 32 to a page, and one page lists what fills it, without an end', async () => {
  const { store } = (await keysOf(128, 0)).driver.hypervisor;
  expect(await store.directory(FRONT)).toEqual(expect.arrayContaining(['tx-data-len', 'tx-data-ref0', 'rx-data-ref0']));
  expect(await store.read(`${FRONT}/tx-data-len`)).toBe('128');
  const inUse = async (order: number) => (await keysOf(128, order)).guest.grants.inUse;
  // For each direction: rings, slots, a list page, and slots / 32.
  expect(await inUse(0)).toBe(2 * (1 + 256 + 1 + 8));
  expect(await inUse(1)).toBe(2 * (2 + 512 + 1 + 16));
  const large = await keysOf(128, 2);
  expect(large.guest.grants.inUse).toBe(2 * (4 + 1024 + 2 + 32));
  expect(await large.driver.hypervisor.store.directory(FRONT)).toEqual(
    expect.arrayContaining(['tx-ring-page-order', 'tx-ring-ref3', 'tx-data-ref1', 'rx-data-ref1']),
  );
  // Where a buffer is a page, it is the slot's.
  expect((await keysOf(4096, 0)).guest.grants.inUse).toBe(2 * (1 + 256 + 1));
});

async function keysOf(length: number, ringOrder: number): Promise<VifRig> {
  const rig = await makeVif({ mode: 'plain', path: staged(length), ringOrder });
  await connect(rig);
  return rig;
}

test('a packet longer than what is staged goes on by grant, where its first bytes are left out', async () => {
  const rig = await makeVif({ mode: 'plain', path: staged(256, 4096) });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  const copied = (): number => rig.driver.costs().copyBytes;
  pass(rig, front, back, [frameOf(1, 260)]);
  expect(copied()).toBe(4);
  pass(rig, back, front, [frameOf(2, 9000)]);
  expect(copied()).toBe(4 + 9000 - 4096);
});

test.each([
  ['an old backend', { path: staged(256), paths: [] }, 0],
  ['an old frontend', { paths: ['staging'] }, 0],
  ['a frontend that stages what it sends alone', { path: staged(256, 0) }, 2],
  ['a frontend that stages what it receives alone', { path: staged(0, 256) }, 2],
] as const)('%s is served', async (_, options, keys) => {
  const rig = await makeVif({ mode: 'plain', ...options });
  await connect(rig);
  const all = await rig.guest.hypervisor.store.directory(FRONT);
  expect(all.filter((key) => key.includes('-data-')).length).toBe(keys);
  exchange(rig, 1, 10);
  await disconnect(rig);
});

/** Sends what `front` receives back, with its first bytes changed. Returns how many requests named a staging buffer. */
function reflect(rig: VifRig, front: Served, back: Served, frames: readonly Uint8Array[]): number {
  const { arena, burst } = rig;
  rig.make(frames);
  expect(back.send(burst, frames.length)).toBe(frames.length);
  const n = front.receive(burst, 32);
  expect(n).toBe(frames.length);
  for (let i = 0; i < n; i++) {
    const slot = (burst + i * 16) >>> 2;
    arena.u8.fill(0xaa, (arena.u32[slot] ?? 0) + 256, (arena.u32[slot] ?? 0) + 262);
  }
  const sring = arena.u32[front.tx.address >>> 2] ?? 0;
  const from = arena.u32[sring >>> 2] ?? 0;
  expect(front.send(burst, n)).toBe(n);
  const produced = (arena.u32[sring >>> 2] ?? 0) - from;
  const flags = Array.from({ length: produced }, (_, i) => {
    const slot = sring + 64 + ((from + i) & (front.tx.slots - 1)) * 12;
    return arena.u16[(slot + 6) >>> 1] ?? 0;
  });
  const got = rig.receive(back);
  expect(got.map((frame) => [...frame])).toEqual(
    frames.map((frame) => [...new Array(6).fill(0xaa), ...frame.slice(6)]),
  );
  return flags.filter((flag) => flag & NETTXF_STAGING_BUFFER).length;
}

test('what was received in a staging buffer is sent from there, and the buffer is received to again', async () => {
  for (const mode of MODES) {
    const rig = await makeVif({ mode, path: staged(2048) });
    await connect(rig);
    const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
    for (let round = 0; round < 32; round++) {
      const frames = Array.from({ length: 1 + (round % 32) }, (_, i) =>
        frameOf(round + i, 14 + ((round * 97 + i * 53) % 1500)),
      );
      expect(reflect(rig, front, back, frames)).toBe(frames.length);
    }
    // Too long for one buffer, or received by one burst earlier: it is copied.
    expect(reflect(rig, front, back, [frameOf(1, 2049), frameOf(2, 60), frameOf(3, 1793)])).toBe(1);
    exchange(rig, 3, 20);
    await disconnect(rig);
  }
});

test('a buffer that is out is not received to; one that never comes back holds up receiving, and nothing else', async () => {
  const rig = await makeVif({ mode: 'plain', path: staged(256) });
  await connect(rig);
  const { burst } = rig;
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  rig.make([frameOf(1, 60)]);
  back.send(burst, 1);
  expect(front.receive(burst, 32)).toBe(1);
  expect(front.send(burst, 1)).toBe(1);
  // The backend answers nothing, and uses up all other requests.
  let received = 0;
  for (let i = 0; i < 300; i++) {
    rig.make([frameOf(i, 60)]);
    const sent = back.send(burst, 1);
    if (sent === 0) rig.free(0, 1);
    received += rig.receive(front).length;
  }
  expect(received).toBe(255);
  expect(rig.receive(back).length).toBe(1);
  rig.receive(front);
  rig.make([frameOf(1, 60)]);
  expect(back.send(burst, 1)).toBe(1);
  expect(rig.receive(front).length).toBe(1);
  await disconnect(rig);
});

test.each([
  ['an id out of order', 12, 7, /entry 3 .* has id 7, must be 3/],
  ['a buffer that leaves its page', 5, 3900, /entry 1 .* leaves its page/],
  ['a reference that is none', 6, 9999, /grant 9999 .* cannot be mapped: -3/],
  ['an end at once, so that the other begins elsewhere', 2, 0, /rx-data-len: entry 0 .* has id 256, must be 0/],
])('a list with %s is refused, and nothing is kept', async (_, word, value, reason) => {
  const rig = await makeVif({ mode: 'plain', path: staged(256) });
  const { netback, netfront, guest, driver } = rig;
  const { store } = guest.hypervisor;
  await store.watch(`${FRONT}/state`, 'meddler', async () => {
    if ((await store.read(`${FRONT}/state`)) !== '4') return;
    const ref = Number(await store.read(`${FRONT}/tx-data-ref0`));
    const frame = rig.arena.u32[(guest.grants.address + ref * 8 + 4) >>> 2] ?? 0;
    rig.arena.u16[(guest.memory + frame * 4096 + word * 2) >>> 1] = value;
  });
  await netback.start();
  await netfront.start();
  await settle();
  expect(String(netback.error)).toMatch(reason);
  expect([netback.state, netfront.state]).toEqual([6, 6]);
  expect([guest.grants.inUse, driver.costs().maps]).toEqual([0, driver.costs().unmaps]);
  expect(rig.arena.regions().filter(({ name }) => name.startsWith('back '))).toEqual([]);
});

test.each([
  ['0 bytes', 'tx-data-len', '0'],
  ['more bytes than there can be', 'rx-data-len', '65537'],
  ['a list without its length', 'tx-data-len', 'x'],
  ['a list page that is not granted', 'rx-data-ref0', '4095'],
  ['a ring of 32 pages', 'tx-ring-page-order', '5'],
  ['a ring whose pages are not all named', 'rx-ring-page-order', '1'],
])('a frontend with %s is let go', async (_, key, value) => {
  const rig = await makeVif({ mode: 'plain', path: staged(256) });
  const { store } = rig.guest.hypervisor;
  await store.watch(`${FRONT}/state`, 'meddler', async () => {
    if ((await store.read(`${FRONT}/state`)) === '4') await store.write(`${FRONT}/${key}`, value);
  });
  await rig.netback.start();
  await rig.netfront.start();
  await settle();
  expect(String(rig.netback.error)).toMatch(/must be|cannot be mapped/);
  expect([rig.guest.grants.inUse, rig.driver.costs().maps]).toEqual([0, rig.driver.costs().unmaps]);
});

test.each([
  ['an id behind the last', 512, 0, 60],
  ['an id far away', 0xffffffff, 0, 60],
  ['bytes outside its buffer', 1, 200, 60],
])('a request for a staging buffer with %s is answered with an error', async (_, gref, offset, size) => {
  for (const path of [staged(256), { kind: 'copy' } as const]) {
    const rig = await makeVif({ mode: 'plain', path });
    await connect(rig);
    const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
    const sring = rig.arena.u32[front.tx.address >>> 2] ?? 0;
    rig.make([frameOf(1, size), frameOf(2, size)]);
    expect(front.send(rig.burst, 2)).toBe(2);
    rig.arena.u32[(sring + 64) >>> 2] = gref;
    rig.arena.u16.set([offset, NETTXF_STAGING_BUFFER], (sring + 68) >>> 1);
    expect(rig.receive(back)).toEqual([frameOf(2, size)]);
    expect(back.drops().received.bad).toBe(1);
    rig.receive(front);
    expect(front.drops().sent.failed).toBe(1);
    await disconnect(rig);
  }
});
