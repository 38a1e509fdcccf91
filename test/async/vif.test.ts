import { expect, test } from 'vitest';
import { readAsyncCounters } from '#build/async/queue.js';
import { shutVchan } from '#build/dma/vchan.js';
import { Random } from '#build/util/random.js';
import { effort } from '../support/effort.ts';
import { connect, disconnect } from '../xen/support/exchange.ts';
import { frameOf, settle } from '../xen/support/vif-rig.ts';
import { makeAsyncVif } from './support/async-vif.ts';

const PATHS = [
  ['whole packets staged', { kind: 'staging', tx: 256, rx: 65_536 }],
  ['first bytes staged', { kind: 'staging', tx: 256, rx: 256 }],
  ['pages that stay mapped', { kind: 'persistent' }],
  ['a data ring', { kind: 'data-ring', order: 4 }],
] as const;

/** So many go round the ring: a page is mapped when it is used for the second time. */
const STEPS = 200;

/** Random packets to the frontend, with the engine anywhere in between. Returns how many, and how often the channel was full. */
async function sendSome(path: (typeof PATHS)[number][1], random: Random, steps: number) {
  const rig = await makeAsyncVif({ path, threshold: 200, descriptors: 32 });
  await connect(rig);
  const sent: Uint8Array[] = [];
  const got: Uint8Array[] = [];
  const take = (): void => {
    got.push(...rig.receive(rig.netfront.queues[0]));
    // What has arrived so far is what was sent first.
    for (const [i, frame] of got.entries()) expect(Buffer.compare(frame, sent[i] ?? new Uint8Array()), `${i}`).toBe(0);
    sent.splice(0, got.length);
    got.length = 0;
  };
  let all = 0;
  for (let step = 0; step < steps; step++) {
    const frames = Array.from({ length: random.below(9) }, () =>
      frameOf(all + random.below(1000), 14 + random.below(random.below(6) === 0 ? 9000 : 1500)),
    );
    rig.make(frames);
    const n = rig.back().to.copies.send(rig.burst, frames.length);
    rig.free(n, frames.length - n);
    sent.push(...frames.slice(0, n));
    all += n;
    if (random.below(8) === 0) rig.fail();
    else rig.run(random.below(9));
    rig.back().to.copies.settle();
    take();
  }
  for (let i = 0; i < 100 && rig.back().to.copies.inFlight() > 0; i++) {
    rig.run(32);
    rig.back().to.copies.settle();
    take();
  }
  take();
  expect([rig.back().to.copies.inFlight(), sent.length, rig.netback.queues[0]?.fault()]).toEqual([0, 0, undefined]);
  const { offloaded, copied, full } = readAsyncCounters(rig.arena, rig.back().to.address);
  expect(offloaded).toBeGreaterThan(0);
  expect(copied).toBeGreaterThan(0);
  await disconnect(rig);
  return { all, full };
}

test.each(PATHS)('%s: packets arrive whole and in order, whenever the engine copies', async (_, path) => {
  let packets = 0;
  let full = 0;
  for (let seed = 0; seed < effort(2, 20); seed++) {
    const run = await sendSome(path, new Random(seed), STEPS);
    packets += run.all;
    full += run.full;
  }
  expect(packets).toBeGreaterThan(effort(250, 2500));
  expect(full).toBeGreaterThan(0);
});

test('nothing is answered before it is copied, and what an engine that hangs was given is copied by the CPU', async () => {
  const rig = await makeAsyncVif({ path: PATHS[0][1], threshold: 128 });
  await connect(rig);
  const front = rig.netfront.queues[0];
  const frames = [frameOf(1, 600), frameOf(2, 60), frameOf(3, 700), frameOf(4, 800)];
  rig.make(frames);
  expect(rig.back().to.copies.send(rig.burst, 4)).toBe(4);
  expect([rig.back().to.copies.settle(), rig.receive(front)]).toEqual([0, []]);
  rig.run(1);
  expect([rig.back().to.copies.settle(), rig.back().to.copies.inFlight()]).toEqual([2, 2]);
  expect(rig.receive(front)).toEqual(frames.slice(0, 2));
  shutVchan(rig.arena, rig.back().vchan);
  expect(rig.abort()).toBe(2);
  expect([rig.back().to.copies.settle(), rig.back().to.copies.inFlight()]).toEqual([2, 0]);
  expect(rig.receive(front)).toEqual(frames.slice(2));
  expect(rig.back().track.counters().failed).toBe(2);
  await disconnect(rig);
});

test('pages that messages name are copied to at once, since the frontend may take them back', async () => {
  const rig = await makeAsyncVif({ path: { kind: 'control' }, threshold: 0 });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  await settle();
  const frames = [frameOf(1, 600), frameOf(2, 1500)];
  rig.make(frames);
  expect([rig.back().to.copies.send(rig.burst, 2), rig.back().to.copies.settle()]).toEqual([2, 2]);
  expect(rig.receive(rig.netfront.queues[0])).toEqual(frames);
  expect(readAsyncCounters(rig.arena, rig.back().to.address)).toMatchObject({ offloaded: 0, copied: 2 });
  await disconnect(rig);
  for (const stop of stops) stop();
});

test('packets that the frontend does not take are freed, and the others go on', async () => {
  const rig = await makeAsyncVif({ path: PATHS[0][1], threshold: 0, front: { sg: false } });
  await connect(rig);
  const frames = [frameOf(1, 6000), frameOf(2, 600), frameOf(3, 9000), frameOf(4, 700)];
  rig.make(frames);
  expect(rig.back().to.copies.send(rig.burst, 4)).toBe(4);
  rig.run(32);
  expect(rig.back().to.copies.settle()).toBe(2);
  expect(rig.receive(rig.netfront.queues[0])).toEqual([frames[1], frames[3]]);
  expect(rig.netback.queues[0]?.drops().sent.long).toBe(2);
  await disconnect(rig);
});
