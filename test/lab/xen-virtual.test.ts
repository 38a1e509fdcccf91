import { expect, test } from 'vitest';
import { twoCpus } from '#build/lab/two-cores.js';
import { XEN_COST, XEN_SERIAL } from '#build/lab/xen-model.js';
import { packetsCase, roundTripCase, runThreaded } from '#build/lab/xen-threads.js';
import { startPackets, VirtualXen } from '#build/lab/xen-virtual.js';
import { createGround, type XenCase, XenWorld } from '#build/lab/xen-world.js';

const open = (one: XenCase): Promise<XenWorld> => XenWorld.open(createGround([one]), one);
const COPY = { kind: 'copy' } as const;
const STAGING = { kind: 'staging', tx: 256, rx: 256 } as const;

test('what only one core may do at a time takes as long as all of it, and the rest of Xen’s part does not', async () => {
  const world = await open({ mode: 'plain', path: COPY, queues: 1 });
  const steps = 4000;
  for (const [kind, cost] of [
    ['tx', 'copyTx'],
    ['rx', 'copyRx'],
    ['maps', 'map'],
  ] as const) {
    const core = {
      peer: 0,
      run(_: number, operations: Record<typeof kind, number>) {
        operations[kind] = 1;
        return 1;
      },
    };
    const xen = new VirtualXen(world, [core, core, core, core]);
    const from = xen.now;
    for (let i = 0; i < steps; i++) xen.step();
    // Four cores: a core is behind by a step of each other at most.
    expect(xen.now - from).toBeGreaterThanOrEqual((steps - 8) * XEN_SERIAL[cost]);
    expect(xen.now - from).toBeGreaterThanOrEqual(((steps - 8) * XEN_COST[cost]) / 4);
  }
  await world.close();
});

test('a core with nothing to do looks again when its peer has gone on', async () => {
  const world = await open({ mode: 'plain', path: COPY, queues: 1 });
  let [busy, idle] = [0, 0];
  const xen = new VirtualXen(world, [
    {
      peer: 1,
      run(_, operations) {
        operations.rx = 32;
        busy++;
        return 32;
      },
    },
    {
      peer: 0,
      run() {
        idle++;
        return 0;
      },
    },
  ]);
  for (let i = 0; i < 1000; i++) xen.step();
  expect(busy).toBeGreaterThan(0);
  expect(idle).toBeLessThanOrEqual(busy + 1);
  await world.close();
});

test.each([
  ['tx', COPY, 'free', 1],
  ['rx', COPY, 'stack', 1],
  ['rx', STAGING, 'program', 0],
  ['tx', STAGING, 'map', 0],
] as const)('%s of four queues by %j, %s: %i copies by grant a packet', async (way, path, use, copies) => {
  const world = await open({ mode: 'plain', path, queues: 4 });
  const figures = startPackets(world, way, 64, use).window(10);
  expect(figures.ns).toBeGreaterThan(0);
  // A burst's copies and its reception may lie in two windows: 256 packets of each ring, of thousands.
  expect(Math.abs(figures.copies - copies)).toBeLessThanOrEqual(way === 'rx' ? copies * 0.9 : 0);
  // What is under way is less than the rings hold, and all of it comes out: closing asserts that nothing is missing.
  await world.close();
});

test.skipIf(typeof twoCpus() === 'string')(
  'on threads of their own the ends ask and answer, asleep or not',
  async () => {
    const cpus = twoCpus() as [number, number];
    for (const sleeps of [true, false]) {
      const world = await open({ mode: 'plain', path: STAGING, queues: 1 });
      const { results } = await runThreaded([roundTripCase(world, 64, sleeps)], cpus, { rounds: 1, runMs: 300 });
      const [{ ns, events, slept, copies }] = results as [(typeof results)[number]];
      expect(ns).toBeGreaterThan(0);
      expect(copies).toBe(0);
      // Who does not sleep asks for no event; who finds his answer there before he sleeps asks for none, either.
      if (sleeps) expect([events > 0, events <= 2.1, slept <= 2.1]).toEqual([true, true, true]);
      else expect([events < 0.1, slept]).toEqual([true, 0]);
      await world.close();
    }
  },
);

test.skipIf(typeof twoCpus() === 'string')(
  'on threads packets pass by copies, into a program and into maps',
  async () => {
    const cpus = twoCpus() as [number, number];
    for (const [way, path, use, copies] of [
      ['tx', COPY, 'free', 1],
      ['rx', STAGING, 'program', 0],
      ['tx', STAGING, 'map', 0],
    ] as const) {
      const world = await open({ mode: 'mapped', path, queues: 1 });
      const { results } = await runThreaded([packetsCase(world, way, 64, use)], cpus, { rounds: 1, runMs: 300 });
      expect(results[0]?.ns).toBeGreaterThan(0);
      expect(results[0]?.copies).toBeCloseTo(copies, 3);
      await world.close();
    }
  },
);
