import { inflightBytes } from 'ringway/virtio';
import { beforeAll, expect, test } from 'vitest';
import { attachNetQueue, createNetQueue } from '#build/virtio/net-queue.js';
import { effort, someOf } from '../support/effort.ts';
import { compileTraced, type Mutation } from '../support/kernels.ts';
import { runKilled, runScribbled } from './support/killed.ts';
import { DeviceSide, frameOf } from './support/net-queue-rig.ts';
import { makeRig, type RigOptions } from './support/rig.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['virtio'] });
}, 60_000);

const CASES: readonly [RigOptions][] = [
  [{ layout: 'split', size: 4 }],
  [{ layout: 'split', size: 8, indirect: 3 }],
  [{ layout: 'split', size: 4, inOrder: true }],
  [{ layout: 'packed', size: 3 }],
  [{ layout: 'packed', size: 5 }],
  [{ layout: 'packed', size: 7, indirect: 3 }],
  [{ layout: 'packed', size: 5, inOrder: true }],
];

/** Kills a device before each of its writes, in a run for each; before some of them in the fast suite. */
function killEverywhere(options: RigOptions, kernels: WebAssembly.Module, seed: number): void {
  const { writes } = runKilled(options, kernels, seed, () => false);
  expect(writes).toBeGreaterThan(100);
  for (let at = 0; at < writes; at += effort(7, 1))
    expect(runKilled(options, kernels, seed, (write) => write === at).kills).toBe(1);
}

test.each(CASES)('%j: a device is killed before any one write, and every chain comes back once', (options) => {
  killEverywhere(options, module, 1);
});

/** The order of writes is what it all depends on. */
const FAULTS: readonly [string, RigOptions, Mutation][] = [
  ...(
    [
      ['a batch is not linked', 'split', 'if (tracked) linkSplit(queue, used, n);', ''],
      [
        'a batch is settled before it is published',
        'split',
        'publish(queue, n);\n  if (tracked) settleSplit(queue, used, n);',
        'if (tracked) settleSplit(queue, used, n);\n  publish(queue, n);',
      ],
      ['what is taken is not tracked', 'split', 'if (tracked) trackSplit(queue, list, again, n);', ''],
      [
        'the places are written after the batch is published',
        'packed',
        'if (tracked) linkPacked(queue, used, n, from, wrap);\n  publish(queue);',
        'publish(queue);\n  if (tracked) linkPacked(queue, used, n, from, wrap);',
      ],
      ['a batch is not settled', 'packed', 'if (tracked) settlePacked(queue, used, n);', ''],
    ] as const
  ).map(([what, layout, from, to]): [string, RigOptions, Mutation] => [
    what,
    { layout, size: 5 - (layout === 'split' ? 1 : 0) },
    { file: `virtio/${layout}.kernel.ts`, from, to },
  ]),
  [
    'entries are not taken off the free list at once',
    { layout: 'packed', size: 5 },
    {
      file: 'virtio/inflight.kernel.ts',
      from: '  store<u16>(region, <u16>next, INFLIGHT_PACKED_OLD_FREE);\n  store<u32>(idEntry',
      to: '  store<u32>(idEntry',
    },
  ],
];

test.each(someOf(FAULTS, 4))('it is found when %s', async (_, options, mutation) => {
  const planted = await compileTraced({ folders: ['virtio'], mutations: [mutation] });
  expect(() => {
    for (let seed = 0; seed < 10; seed++) killEverywhere(options, planted, seed);
  }).toThrow();
});

test.each(CASES)('%j: a device is killed time and again', (options) => {
  const runs = effort(10, 40);
  let [kills, again] = [0, 0];
  for (let seed = 0; seed < runs; seed++) {
    const run = runKilled(options, module, seed, (write) => (write * 7919 + seed * 104_729) % 23 === 0, true);
    kills += run.kills;
    again += run.again;
  }
  expect(kills).toBeGreaterThan(runs * 7);
  expect(again).toBeGreaterThan(runs);
});

test.each(CASES)('%j: whatever who keeps the region writes there, nothing else is reached', (options) => {
  const runs = effort(20, 60);
  let [broken, refused, taken] = [0, 0, 0];
  for (let seed = 0; seed < runs; seed++) {
    const run = runScribbled(options, module, seed);
    broken += run.broken;
    refused += run.refused;
    taken += run.taken;
  }
  expect(taken).toBeGreaterThan(runs * 8);
  expect(refused).toBeGreaterThan(runs / 4);
  expect(broken).toBeGreaterThan(0);
});

test('what a region must be is told', () => {
  const { arena, device } = makeRig({ layout: 'packed', size: 7 });
  const region = arena.allocate('inflight', inflightBytes('packed', 7));
  expect(() => device.startInflight(region + 8)).toThrow(/must be a multiple of 64, with 256 bytes in the arena/);
  expect(() => device.startInflight(arena.bytes - 64)).toThrow(/q device: inflight region at \d+: must be/);
  device.startInflight(region);
  expect([...arena.u16.subarray((region + 8) >>> 1, (region + 22) >>> 1)]).toEqual([1, 7, 0, 0, 0, 0, 0x0101]);
  arena.u16[(region + 10) >>> 1] = 8;
  device.start(0x80008000, true);
  expect(() => device.startInflight(region)).toThrow(/must have version 1, no features and 7 entries/);
});

test.each([
  ['split', 8, 3],
  ['packed', 7, 0x80038003],
] as const)('%s: a new region begins where the queue is', (layout, size, base) => {
  const rig = makeRig({ layout, size });
  const { arena, driver, device, adding, taken, records, buffers } = rig;
  const turn = (): void => {
    adding.clear();
    adding.push([{ address: buffers, length: 1 }], []);
    expect([driver.add(adding, 1), device.take(taken, 2)]).toEqual([1, 1]);
    arena.u32.set([taken.id(0), 0], records >>> 2);
    expect([device.return(records, 1), driver.poll(records, 2)]).toEqual([1, 1]);
  };
  for (let i = 0; i < 3; i++) turn();
  device.start(base, true);
  const region = arena.allocate('inflight', inflightBytes(layout, size));
  device.startInflight(region);
  for (let i = 0; i < 20; i++) turn();
  const before = device.base();
  device.start(layout === 'split' ? before : base, true);
  device.startInflight(region);
  expect(device.base()).toBe(before);
  turn();
});

test.each(['split', 'packed'] as const)('%s: a frame goes into chains that are taken again and new ones', (layout) => {
  const side = new DeviceSide({ layout, mergeable: true });
  const { arena, driver, queue, cache, slots } = side;
  const region = arena.allocate('inflight', inflightBytes(layout, 16));
  queue.startInflight(region);
  driver.send([], [112]);
  driver.send([], [112]);
  // Both are taken, and one is used.
  expect(side.send(frameOf(100))).toBe(1);
  expect(driver.receive()).toHaveLength(1);
  const base = layout === 'split' ? 1 : 0x80008000;
  queue.start(base, true);
  queue.startInflight(region);
  const net = createNetQueue(arena, {
    name: 'next',
    queue: queue.address,
    headerBytes: 12,
    mergeable: true,
    offloads: 0,
  });
  const next = attachNetQueue(arena, net, cache);
  driver.send([], [112]);
  side.fill(frameOf(300));
  // 312 bytes take three chains: one that is taken again, one that is new, and one that is not there yet.
  expect(next.send(slots, 1)).toBe(0);
  driver.send([], [112]);
  expect(next.send(slots, 1)).toBe(1);
  const got = driver.receive().flatMap(({ bytes }) => [...bytes]);
  expect(got.slice(12)).toEqual([...frameOf(300)]);
  expect([side.broken(), queue.free()]).toEqual([0, 16]);
  side.finish();
});

test('a region has whole lines', () => {
  expect(inflightBytes('split', 256)).toBe(4160);
  expect(inflightBytes('packed', 256)).toBe(8256);
});
