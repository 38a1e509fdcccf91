import { buildFrame } from 'ringway/packet';
import { expect, test } from 'vitest';
import { readAsyncCounters } from '#build/async/queue.js';
import { shutVchan } from '#build/dma/vchan.js';
import { Random } from '#build/util/random.js';
import { DATARING_OUT } from '#build/xen/data-ring-layout.js';
import { VIFQ_DATA } from '#build/xen/queue-layout.js';
import { effort } from '../support/effort.ts';
import { Abuse } from '../xen/support/abuse.ts';
import { connect, disconnect } from '../xen/support/exchange.ts';
import { frameOf, type Served, settle } from '../xen/support/vif-rig.ts';
import { type AsyncVifOptions, makeAsyncVif } from './support/async-vif.ts';

const PATHS = [
  ['whole packets staged', { kind: 'staging', tx: 4096, rx: 256 }],
  ['first bytes staged', { kind: 'staging', tx: 300, rx: 256 }],
  ['pages that stay mapped', { kind: 'persistent' }],
  ['a data ring', { kind: 'data-ring', order: 4 }],
] as const;
const STAGED = PATHS[0][1];

/** So many go round the ring: a page is mapped when it is used for the second time. */
const STEPS = 200;

/** A connected device, its backend receiving with a channel. */
async function open(options: AsyncVifOptions) {
  const rig = await makeAsyncVif(options);
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  return {
    rig,
    hands: new Abuse(rig, rig),
    front,
    back,
    copies: rig.back().from.copies,
    counters: () => readAsyncCounters(rig.arena, rig.back().from.address),
    /** The frontend sends these. Returns how many it did. */
    send(frames: readonly Uint8Array[]): number {
      rig.make(frames);
      const n = front.send(rig.burst, frames.length);
      rig.free(n, frames.length - n);
      return n;
    },
  };
}

/** Random packets from the frontend, with the engine anywhere in between. Returns how many, and how often the channel was full. */
async function receiveSome(path: (typeof PATHS)[number][1], random: Random, steps: number) {
  const { rig, back, copies, counters, send } = await open({ path, threshold: 200, descriptors: 32 });
  const sent: Uint8Array[] = [];
  let [all, got] = [0, 0];
  const take = (max: number): void => {
    for (const frame of rig.receive(back, max)) {
      expect(Buffer.compare(frame, sent.shift() ?? new Uint8Array()), `${got}`).toBe(0);
      got++;
    }
  };
  for (let step = 0; step < steps; step++) {
    const frames = Array.from({ length: random.below(9) }, () =>
      frameOf(all + random.below(1000), 14 + random.below(random.below(6) === 0 ? 9000 : 1500)),
    );
    const n = frames.length === 0 ? 0 : send(frames);
    sent.push(...frames.slice(0, n));
    all += n;
    if (random.below(8) === 0) rig.fail();
    else rig.run(random.below(9));
    take(1 + random.below(32));
  }
  for (let i = 0; i < 100 && sent.length > 0; i++) {
    rig.run(32);
    take(32);
  }
  expect([copies.inFlight(), sent.length, got, back.fault()]).toEqual([0, 0, all, undefined]);
  const { offloaded, copied, full } = counters();
  expect(offloaded).toBeGreaterThan(0);
  expect(copied).toBeGreaterThan(0);
  await disconnect(rig);
  return { all, full };
}

test.each(PATHS)('%s: packets arrive whole and in order, whenever the engine copies', async (_, path) => {
  let packets = 0;
  let full = 0;
  for (let seed = 0; seed < effort(2, 20); seed++) {
    const run = await receiveSome(path, new Random(seed), STEPS);
    packets += run.all;
    full += run.full;
  }
  expect(packets).toBeGreaterThan(effort(250, 2500));
  expect(full).toBeGreaterThan(0);
});

test('nothing is answered before it is copied, and what an engine that hangs was given is copied by the CPU', async () => {
  const { rig, hands, back, copies, send } = await open({ path: STAGED, threshold: 128 });
  const frames = [frameOf(1, 600), frameOf(2, 60), frameOf(3, 700), frameOf(4, 5000)];
  const from = hands.word(hands.sring('front', 'tx') + 8);
  const answers = (): number => hands.txResponses(from).length;
  send(frames);
  expect([rig.receive(back), answers(), copies.inFlight()]).toEqual([[], 0, 4]);
  rig.run(1);
  expect([rig.receive(back), answers()]).toEqual([frames.slice(0, 2), 2]);
  shutVchan(rig.arena, rig.back().vchan);
  const left = rig.abort();
  expect(left).toBeGreaterThan(2);
  // Two slots: the last is longer than a page.
  expect([rig.receive(back), answers(), copies.inFlight()]).toEqual([frames.slice(2), 5, 0]);
  expect(rig.back().track.counters().failed).toBe(left);
  await disconnect(rig);
});

test('frames below the threshold leave nothing behind, until they come behind one that is under way', async () => {
  const { rig, back, copies, counters, send } = await open({ path: STAGED, threshold: 128 });
  const [short, long] = [frameOf(1, 127), frameOf(2, 128)];
  send([short, short]);
  expect([rig.receive(back), counters()]).toMatchObject([[short, short], { offloaded: 0, copied: 2 }]);
  send([long, short]);
  expect([rig.receive(back), copies.inFlight()]).toEqual([[], 2]);
  rig.run(1);
  expect([rig.receive(back), counters()]).toMatchObject([[long, short], { offloaded: 1, copied: 3 }]);
  // Nor do long ones without an engine.
  expect(copies.use(0)).toBe(true);
  send([long]);
  expect([rig.receive(back), counters()]).toMatchObject([[long], { offloaded: 1, copied: 4 }]);
  await disconnect(rig);
});

test('the channel has room for some, and the CPU copies the rest at once', async () => {
  const { rig, back, copies, counters, send } = await open({ path: STAGED, threshold: 1, descriptors: 32 });
  const frames = Array.from({ length: 32 }, (_, i) => frameOf(i, 2000));
  send(frames);
  expect([rig.receive(back), copies.inFlight()]).toEqual([[], 32]);
  const { offloaded, copied, full } = counters();
  expect([offloaded > 0, offloaded + copied, full > 0]).toEqual([true, 64, true]);
  rig.run(64);
  expect(rig.receive(back)).toEqual(frames);
  await disconnect(rig);
});

test('the writer of a data ring has its room back when the bytes are copied, not before', async () => {
  const { rig, back, send } = await open({ path: PATHS[3][1], threshold: 128 });
  const half = rig.arena.u32[((rig.netfront.bus.queues[0]?.txQueue ?? 0) + VIFQ_DATA) >>> 2] ?? 0;
  const taken = (): number => rig.arena.u32[half >>> 2] ?? 0;
  expect(half % 4096).toBe(DATARING_OUT);
  const before = taken();
  send([frameOf(1, 1000), frameOf(2, 1000), frameOf(3, 60)]);
  for (let i = 0; i < 3; i++) expect([rig.receive(back), taken()]).toEqual([[], before]);
  rig.run(1);
  expect(rig.receive(back)).toEqual([frameOf(1, 1000)]);
  expect([rig.receive(back), taken() - before]).toEqual([[], 1008]);
  rig.run(1);
  expect(rig.receive(back)).toEqual([frameOf(2, 1000), frameOf(3, 60)]);
  expect([rig.receive(back), taken() - before]).toEqual([[], 1008 + 1008 + 64]);
  await disconnect(rig);
});

test('pages that messages name are copied from at once, since the frontend may take them back', async () => {
  const rig = await makeAsyncVif({ path: { kind: 'control' }, threshold: 0 });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  await settle();
  const frames = [frameOf(1, 600), frameOf(2, 1500)];
  rig.make(frames);
  expect(rig.netfront.queues[0]?.send(rig.burst, 2)).toBe(2);
  expect(rig.receive(rig.netback.queues[0])).toEqual(frames);
  expect(readAsyncCounters(rig.arena, rig.back().from.address)).toMatchObject({ offloaded: 0, copied: 2 });
  await disconnect(rig);
  for (const stop of stops) stop();
});

const CSUM_BLANK = 1;
const TCP = buildFrame({
  ethernet: { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02' },
  ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
  tcp: { sourcePort: 1, destinationPort: 2 },
  payload: new Uint8Array(600),
});

test('headers are looked at in the copy: what has no place for a checksum then is answered as wrong, in its place', async () => {
  const { rig, hands, back } = await open({ path: STAGED, threshold: 128 });
  const staged = hands.word(hands.word((rig.netback.bus.queues[0]?.txQueue ?? 0) + 96));
  const from = hands.word(hands.sring('front', 'tx') + 8);
  const slot = (id: number) => ({ id, size: TCP.length, flags: CSUM_BLANK });
  for (let id = 0; id < 3; id++) rig.arena.u8.set(TCP, staged + id * 4096);
  hands.putTx([slot(0), slot(1), slot(2)]);
  expect(rig.receive(back)).toEqual([]);
  // The frontend makes it something else while it is under way.
  rig.arena.u8[staged + 4096 + 23] = 99;
  rig.run(3);
  expect(back.receive(rig.burst, 32)).toBe(2);
  // NEEDS_CSUM, its place, and how far behind that.
  for (let i = 0; i < 2; i++) {
    const buffer = hands.word(rig.burst + i * 16);
    expect(rig.arena.u8[rig.burst + i * 16 + 13]).toBe(8);
    expect([rig.arena.u8[buffer + 28], ...rig.arena.u16.slice((buffer + 34) >>> 1, (buffer + 38) >>> 1)]).toEqual([
      1, 34, 16,
    ]);
  }
  rig.free(0, 2);
  expect(hands.txResponses(from)).toEqual([
    [0, 0],
    [1, -1],
    [2, 0],
  ]);
  expect(back.drops().received.bad).toBe(1);
  expect(rig.held()).toBe(0);
});

test('requests that come to nothing keep their place among those that are under way', async () => {
  const { rig, hands, back, copies } = await open({ path: STAGED, threshold: 128 });
  const from = hands.word(hands.sring('front', 'tx') + 8);
  const STAGING_BUFFER = 16;
  hands.putTx([
    { id: 0, size: 600 },
    { id: 1, size: 13 },
    // No such staging buffer, behind one: what was planned of it is forgotten.
    { id: 2, size: 1200, flags: 4 },
    { id: 3, ref: 60_000, size: 600, flags: STAGING_BUFFER },
    { id: 4, size: 700 },
  ]);
  expect([rig.receive(back), hands.txResponses(from), copies.inFlight()]).toEqual([[], [], 4]);
  rig.run(1);
  expect(rig.receive(back).map(({ length }) => length)).toEqual([600]);
  expect(hands.txResponses(from)).toEqual([
    [0, 0],
    [1, -1],
    [2, -1],
    [3, -1],
  ]);
  expect(rig.run(8)).toBe(1);
  expect(rig.receive(back).map(({ length }) => length)).toEqual([700]);
  expect([back.drops().received.bad, rig.held(), back.fault()]).toEqual([2, 0, undefined]);
});

test('what is under way when the queue ends is answered and dropped', async () => {
  const { rig, front, back, copies, send } = await open({ path: STAGED, threshold: 128 });
  send([frameOf(1, 600), frameOf(2, 60), frameOf(3, 600)]);
  expect(rig.receive(back)).toEqual([]);
  expect([copies.settle(), rig.held() > 0]).toEqual([0, true]);
  rig.run(1);
  expect([copies.settle(), copies.inFlight()]).toEqual([2, 1]);
  rig.run(1);
  expect([copies.settle(), copies.inFlight(), rig.held()]).toEqual([1, 0, 0]);
  // The frontend finds the answers with its next send.
  send([frameOf(4, 60)]);
  expect([rig.receive(back), front.tx.outstanding()]).toEqual([[frameOf(4, 60)], 1]);
  await disconnect(rig);
});

test('a backend that leaves with frames of a data ring under way is followed by one that goes on behind them', async () => {
  const { rig, back, copies, send } = await open({ path: PATHS[3][1], threshold: 128 });
  send([frameOf(1, 600), frameOf(2, 60)]);
  expect(rig.receive(back)).toEqual([]);
  rig.run(1);
  expect([copies.settle(), copies.inFlight()]).toEqual([2, 0]);
  await rig.netback.bus.leave();
  await settle();
  const again = rig.makeBack('again');
  await again.start();
  await settle();
  send([frameOf(3, 60)]);
  expect(rig.receive(again.queues[0])).toEqual([frameOf(3, 60)]);
  await disconnect({ ...rig, netback: again });
});

test('a queue goes on by another channel when what is under way in the first one is done', async () => {
  const { rig, back, copies, counters, send } = await open({ path: STAGED, threshold: 128 });
  const { track } = rig.back();
  send([frameOf(1, 600)]);
  expect(rig.receive(back)).toEqual([]);
  expect(copies.use(0)).toBe(true);
  send([frameOf(2, 600)]);
  // Behind the first one, though the CPU has copied it.
  expect([rig.receive(back), copies.inFlight(), copies.use(track.address)]).toEqual([[], 2, false]);
  rig.run(1);
  expect([rig.receive(back), copies.use(track.address)]).toEqual([[frameOf(1, 600), frameOf(2, 600)], true]);
  expect(counters()).toMatchObject({ offloaded: 1, copied: 1 });
  await disconnect(rig);
});
