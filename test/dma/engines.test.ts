import { createDmaDevice, DMA_FLAG, type DmaDevice, type DmaDeviceOptions, type DmaEngine } from 'ringway/dma';
import type { Arena } from 'ringway/memory';
import { afterEach, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { testArena } from '../support/arena.ts';
import { DATA_BYTES, dataOf } from './support/channel.ts';
import { apply, draw, enqueue, type Operation } from './support/operations.ts';

const MODEL = { bandwidth: 30e9, latencyNs: 600, descriptorNs: 40, units: 4, workQueue: 16 };
const example = new URL('../../examples/dma-engine.mjs', import.meta.url).href;

const ENGINES: readonly (readonly [string, DmaEngine])[] = [
  ['cpu', { kind: 'cpu' }],
  ['worker', { kind: 'worker' }],
  ['a module', { kind: 'module', url: example, options: { polls: 2 } }],
  ['model', { kind: 'model', model: MODEL }],
];

const made: DmaDevice[] = [];
afterEach(async () => {
  for (const device of made.splice(0)) if (device.state === 'started') await device.terminate();
});

async function make(arena: Arena, options: Omit<DmaDeviceOptions, 'name'>): Promise<DmaDevice> {
  const device = await createDmaDevice(arena, { name: 'copier', ...options });
  made.push(device);
  return device;
}

/** Lets the engine work: in virtual time, or for a moment of the real one. */
async function wait(device: DmaDevice, engine: DmaEngine): Promise<void> {
  if (engine.kind === 'model') device.model.advance(device.model.now + 200);
  else await new Promise((resolve) => setImmediate(resolve));
}

test.each(ENGINES)('%s: random operations leave the memory that a list of them leaves', async (_, engine) => {
  const arena = testArena(1 << 20);
  const device = await make(arena, { engine });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 32 });
  await device.start();
  const vchan = device.vchan(0);
  const data = dataOf(arena);
  const rig = { arena, ...data };
  const base = arena.handle.base;
  const memory = arena.u8.slice(base);
  const random = new Random(7);
  const out: Operation[] = [];
  let [sent, back] = [0, 0];
  while (back < 3000) {
    for (let want = random.below(8); want > 0 && sent < 3000; want--) {
      const operation = draw(random, rig, 10);
      if (operation.op === 'sg' && !device.capabilities.sg) continue;
      // Operations overlap, so each has a fence: the order of the list is the order of the memory.
      const submits = random.below(4) === 0 ? DMA_FLAG.SUBMIT : 0;
      const index = enqueue(vchan, rig, operation, DMA_FLAG.FENCE | submits);
      if (index < 0) break;
      expect(index).toBe(sent & 0xffff);
      out.push(operation);
      sent++;
    }
    vchan.submit();
    await wait(device, engine);
    expect(device.state).toBe('started');
    const n = vchan.completedStatus(16, data.statuses);
    for (const [i, operation] of out.splice(0, n).entries()) {
      expect(arena.u8[data.statuses + i]).toBe(operation.status);
      apply(memory, base, operation);
    }
    back += n;
  }
  const at = data.target - base;
  expect(arena.u8.subarray(data.target, data.target + DATA_BYTES)).toEqual(memory.subarray(at, at + DATA_BYTES));
  expect(device.stats(0)).toMatchObject({ submitted: 3000, completed: 3000 });
  expect(device.stats(0).errors).toBeGreaterThan(100);
  expect(await device.stop()).toBe(0);
  device.close();
  expect(arena.damaged()).toEqual([]);
});

test('what is no engine is refused with a reason', async () => {
  const arena = testArena();
  const makeOdd = (engine: unknown): Promise<DmaDevice> =>
    createDmaDevice(arena, { name: 'd', engine: engine as DmaEngine });
  await expect(makeOdd({ kind: 'dsa' })).rejects.toThrow('d: engine "dsa"; there are: cpu, worker, module, model');
  await expect(makeOdd({ kind: 'module', url: 'file:///nowhere.mjs' })).rejects.toThrow(
    /d: engine file:.* cannot be imported/,
  );
  await expect(makeOdd({ kind: 'module', url: 'data:text/javascript,export default {}' })).rejects.toThrow(
    /must export by default an object with capabilities and start\(context\)/,
  );
  const boasting = 'data:text/javascript,export default { capabilities: { maxVchans: 1000 }, start() {} }';
  await expect(makeOdd({ kind: 'module', url: boasting })).rejects.toThrow('d: its engine says maxVchans=1000');
});

test('an engine that throws while it starts is reported, and the device can be started again', async () => {
  const arena = testArena();
  const url =
    'data:text/javascript,export default { capabilities: {}, start({ options }) { if (options.fail) throw new Error("no device here"); return () => 0; } }';
  const options = { fail: true };
  const device = await make(arena, { engine: { kind: 'module', url, options } });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 32 });
  await expect(device.start()).rejects.toThrow('no device here');
  expect([device.state, device.vchan(0).copy(0, 0, 0)]).toEqual(['configured', -1]);
  options.fail = false;
  await device.start();
  expect([device.state, device.vchan(0).copy(0, 0, 0)]).toEqual(['started', 0]);
  await device.stop();
  device.close();
});

test('an engine that misuses its channel is told so, and the device is dead', async () => {
  const arena = testArena();
  const url =
    'data:text/javascript,export default { capabilities: {}, start({ vchans: [v] }) { return () => { if (v.pending() > 0) v.complete(5); return 0; } } }';
  let resolve: (why: Error) => void = () => {};
  const promise = new Promise<Error>((settle) => {
    resolve = settle;
  });
  const device = await make(arena, { engine: { kind: 'module', url }, onDead: resolve });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 32 });
  await device.start();
  device.vchan(0).copy(0, 0, 0, DMA_FLAG.SUBMIT);
  expect((await promise).message).toMatch(/complete\(5\), and 1 are pending/);
  expect([device.state, device.abort(), await device.stop()]).toEqual(['dead', 1, 0]);
  device.close();
});
