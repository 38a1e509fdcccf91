import { createDmaDevice, DMA_FLAG, type DmaDevice, type DmaEngine, type Vchan } from 'ringway/dma';
import type { Arena } from 'ringway/memory';
import { afterEach, expect, test } from 'vitest';
import { LCORE_PARKED } from '#build/lcore/layout.js';
import { requireSys, sysAvailable } from '#build/sys/index.js';
import { testArena } from '../support/arena.ts';
import { effort } from '../support/effort.ts';
import { runWorkers } from '../support/workers.ts';
import { dataOf } from './support/channel.ts';

const started: DmaDevice[] = [];
afterEach(async () => {
  for (const device of started.splice(0)) if (device.state === 'started') await device.terminate();
});

interface Started {
  readonly arena: Arena;
  readonly device: DmaDevice;
  readonly vchan: Vchan;
  readonly dead: string[];
}

async function start(engine: DmaEngine, descriptors = 64, arena: Arena = testArena()): Promise<Started> {
  const dead: string[] = [];
  const device = await createDmaDevice(arena, { name: 'copier', engine, onDead: ({ message }) => dead.push(message) });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors });
  await device.start();
  started.push(device);
  return { arena, device, vchan: device.vchan(0), dead };
}

const TOTAL = effort(30_000, 1_000_000);
const SLOTS = 256;
const SLOT_BYTES = 512;

test.each([32, 1024])(
  `${TOTAL} copies through %i descriptors on a thread of their own are whole, once, in order`,
  async (descriptors) => {
    const total = TOTAL;
    const { arena, device } = await start({ kind: 'worker' }, descriptors);
    const [source, target] = ['source', 'target'].map((name) => arena.allocate(name, SLOTS * SLOT_BYTES));
    const address = device.vchanAddress(0);
    const role = { handle: arena.handle, address, source, target, slots: SLOTS, slotBytes: SLOT_BYTES, total };
    expect(await runWorkers('dma-stress.mjs', [role])).toEqual(['done']);
    expect(device.stats(0)).toEqual({ submitted: total, completed: total, errors: 0 });
    expect(await device.stop()).toBe(0);
    expect(arena.damaged()).toEqual([]);
  },
);

test('an engine with nothing to do sleeps, and a submit wakes it', async () => {
  const { arena, vchan } = await start({ kind: 'worker' });
  const { source, target } = dataOf(arena);
  const parked = (arena.region('copier lcore').address + LCORE_PARKED) >>> 2;
  for (let round = 0; round < 5; round++) {
    await expect.poll(() => Atomics.load(arena.i32, parked), { timeout: 5000 }).toBe(1);
    vchan.copy(target, source, 8, DMA_FLAG.SUBMIT);
    // It would look by itself after a second.
    await expect.poll(() => vchan.completed(1), { timeout: 500, interval: 1 }).toBe(1);
  }
});

test('a device that is stopped completes what is in flight, and is started again where it was', async () => {
  const { arena, device, vchan } = await start({ kind: 'worker' });
  const { source, target } = dataOf(arena);
  for (let round = 0; round < effort(3, 20); round++) {
    for (let i = 0; i < 64; i++) expect(vchan.copy(target, source, 8192)).toBe((round * 64 + i) & 0xffff);
    vchan.submit();
    expect(await device.stop()).toBe(0);
    expect([vchan.copy(target, source, 8), vchan.completed(64), vchan.hasError]).toEqual([-1, 64, false]);
    await device.start();
  }
});

test('channels of one device are served, whatever their priorities', async () => {
  const arena = testArena();
  const { source, target } = dataOf(arena);
  const device = await createDmaDevice(arena, { name: 'copier', engine: { kind: 'worker' } });
  device.configure({ vchans: 3 });
  for (let i = 0; i < 3; i++) device.vchanSetup(i, { descriptors: 32, priority: 2 - i });
  await device.start();
  started.push(device);
  for (let i = 0; i < 3; i++) device.vchan(i).copy(target + i * 8, source + 1, 8, DMA_FLAG.SUBMIT);
  for (let i = 0; i < 3; i++) await expect.poll(() => device.vchan(i).completed(1)).toBe(1);
});

test.skipIf(!sysAvailable())(
  'a worker stays on the processor that it is given, and one that is not there is refused',
  async () => {
    const [cpu = 0] = requireSys('a test').currentCpus();
    const { arena, vchan } = await start({ kind: 'worker', cpu });
    const { source, target } = dataOf(arena);
    vchan.copy(target, source, 8, DMA_FLAG.SUBMIT);
    await expect.poll(() => vchan.completed(1)).toBe(1);
    await expect(start({ kind: 'worker', cpu: 5000 })).rejects.toThrow('pin: cpu 5000');
  },
);

const module = (how: string): DmaEngine => ({
  kind: 'module',
  url: new URL('../support/dma-hang.mjs', import.meta.url).href,
  options: { how },
});

test.each([
  ['throw', /^copier ended by itself: Error: out of order/],
  ['exit', /^copier ended by itself: exit code 5/],
])('an engine that dies (%s) is seen, and what was in flight comes back aborted', async (how, why) => {
  const { arena, device, vchan, dead } = await start(module(how));
  const { source, target, statuses } = dataOf(arena);
  for (const length of [8, 10, 7, 8]) vchan.copy(target, source, length);
  vchan.submit();
  await expect.poll(() => device.state).toBe('dead');
  expect(dead).toEqual([expect.stringMatching(why)]);
  expect([vchan.copy(target, source, 8), device.abort()]).toEqual([-1, 2]);
  expect(vchan.completedStatus(8, statuses)).toBe(4);
  expect([...arena.u8.slice(statuses, statuses + 4)]).toEqual([0, 0, 1, 1]);
  expect(await device.stop()).toBe(0);
  device.close();
});

test('an engine that hangs is stopped after the time that it is given, and what it held is aborted', async () => {
  const { arena, device, vchan, dead } = await start(module('hang'));
  const { source, target } = dataOf(arena);
  for (const length of [8, 7, 8]) vchan.copy(target, source, length);
  vchan.submit();
  const before = performance.now();
  expect(await device.stop(50)).toBe(2);
  expect(performance.now() - before).toBeLessThan(5000);
  expect([device.state, vchan.completed(8), vchan.hasError, dead]).toEqual(['stopped', 1, true, []]);
  device.close();
});

test('an engine that hangs is terminated at once, and the device is dead', async () => {
  const { arena, device, vchan } = await start(module('hang'));
  const { source, target } = dataOf(arena);
  vchan.copy(target, source, 7, DMA_FLAG.SUBMIT);
  await device.terminate();
  expect([device.state, device.abort(), device.inFlight()]).toEqual(['dead', 1, 0]);
  await device.stop();
  await device.start();
  expect(device.state).toBe('started');
});
