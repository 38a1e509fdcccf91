import { createDmaDevice, DMA_FLAG, DMA_STATUS, type DmaDevice, type DmaEngine } from 'ringway/dma';
import type { Arena } from 'ringway/memory';
import { expect, test } from 'vitest';
import { testArena } from '../support/arena.ts';
import { dataOf } from './support/channel.ts';

const MODEL = { bandwidth: 1e9, latencyNs: 100, descriptorNs: 0, units: 1, workQueue: 8 };

async function make(engine: DmaEngine, arena: Arena = testArena()): Promise<DmaDevice> {
  return createDmaDevice(arena, { name: 'copier', engine });
}

test('each method is refused in the wrong state, with the state and those that are right', async () => {
  const device = await make({ kind: 'cpu' });
  const refused = (what: string): object => ({ message: expect.stringContaining(what) });
  await expect(device.start()).rejects.toMatchObject(
    refused('copier: start is not allowed when created, only when configured or stopped'),
  );
  expect(() => device.vchanSetup(0, { descriptors: 32 })).toThrow('vchanSetup is not allowed when created');
  await expect(device.stop()).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  expect(() => device.abort()).toThrow('abort is not allowed when created, only when dead or stopped');
  device.configure({ vchans: 2 });
  device.vchanSetup(1, { descriptors: 64 });
  await expect(device.start()).rejects.toMatchObject(refused('channel 0 is not set up; call vchanSetup(0, …)'));
  expect(() => device.vchan(0)).toThrow('channel 0 is not set up');
  device.vchanSetup(0, { descriptors: 32 });
  await device.start();
  expect(() => device.configure({ vchans: 1 })).toThrow(
    expect.objectContaining({ code: 'BUSY', message: expect.stringContaining('when started') }),
  );
  await expect(device.start()).rejects.toMatchObject({ code: 'BUSY' });
  expect(() => device.close()).toThrow('close is not allowed when started');
  expect(() => device.abort()).toThrow('abort is not allowed when started');
  await device.stop();
  await device.start();
  expect(device.vchan(0).copy(0, 0, 0)).toBe(0);
  await device.stop();
  expect(device.vchan(0).copy(0, 0, 0)).toBe(-1);
  device.close();
  expect(device.state).toBe('closed');
  expect(() => device.configure({ vchans: 1 })).toThrow(expect.objectContaining({ code: 'CLOSED' }));
});

test('channels are bounded by the capabilities of the engine', async () => {
  const cpu = await make({ kind: 'cpu' });
  expect(cpu.capabilities).toEqual({
    memToMem: true,
    sg: true,
    fill: true,
    silent: true,
    handlesErrors: true,
    priorities: 1,
    maxVchans: 64,
    minDescriptors: 32,
    maxDescriptors: 8192,
    maxSges: 16,
  });
  for (const vchans of [0, 65, 1.5]) expect(() => cpu.configure({ vchans })).toThrow('must be from 1 to 64');
  cpu.configure({ vchans: 1 });
  expect(() => cpu.vchanSetup(1, { descriptors: 32 })).toThrow('copier: no channel 1; 1 are configured');
  expect(() => cpu.vchanSetup(0, { descriptors: 32, priority: 1 })).toThrow('priority=1, must be from 0 to 0');
  expect(() => cpu.vchanSetup(0, { descriptors: 48 })).toThrow('copier vchan 0: descriptors=48');
  expect(() => cpu.model).toThrow('only of a device that is started with the engine "model"');
});

test('a device gives all of its memory back', async () => {
  const arena = testArena();
  const before = arena.regions();
  for (const engine of [{ kind: 'cpu' }, { kind: 'worker' }, { kind: 'model', model: MODEL }] as const) {
    const device = await make(engine, arena);
    device.configure({ vchans: 4 });
    device.configure({ vchans: 3 });
    for (let i = 0; i < 3; i++) device.vchanSetup(i, { descriptors: 32 });
    device.vchanSetup(2, { descriptors: 64 });
    await device.start();
    await device.stop();
    device.close();
    expect(arena.regions()).toEqual(before);
  }
});

test('statistics count failures as completed, and begin anew when they are reset', async () => {
  const arena = testArena();
  const { source, target } = dataOf(arena);
  const device = await make({ kind: 'cpu' }, arena);
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 32 });
  await device.start();
  const vchan = device.vchan(0);
  vchan.copy(target, source, 8);
  vchan.copy(target, 0, 8);
  expect(device.stats(0)).toEqual({ submitted: 0, completed: 0, errors: 0 });
  vchan.submit();
  expect(device.stats(0)).toEqual({ submitted: 2, completed: 2, errors: 1 });
  device.resetStats(0);
  vchan.copy(target, source, 8, DMA_FLAG.SUBMIT);
  expect(device.stats(0)).toEqual({ submitted: 1, completed: 1, errors: 0 });
});

test('what hangs when a device is stopped is aborted, in its order and with that status', async () => {
  const arena = testArena();
  const { source, target, statuses } = dataOf(arena);
  const device = await make({ kind: 'model', model: { ...MODEL, faults: { fail: [1], stallFrom: 3 } } }, arena);
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 32 });
  await device.start();
  const vchan = device.vchan(0);
  for (let i = 0; i < 6; i++) vchan.copy(target + i * 8, source + 1, 8);
  vchan.submit();
  vchan.copy(target + 48, source, 8);
  expect(await device.stop()).toBe(3);
  expect([device.state, device.inFlight(), vchan.pending()]).toEqual(['stopped', 0, 1]);
  expect(vchan.completedStatus(32, statuses)).toBe(6);
  const { SUCCESSFUL: good, ABORTED: gone, BUS_ERROR: bad } = DMA_STATUS;
  expect([...arena.u8.slice(statuses, statuses + 6)]).toEqual([good, bad, good, gone, gone, gone]);
  expect(device.stats(0)).toEqual({ submitted: 6, completed: 6, errors: 4 });
  // Who submits after all gets it back too.
  vchan.submit();
  expect([device.abort(), device.abort(), vchan.completed(8), vchan.hasError]).toEqual([1, 0, 0, true]);
});

test('a model that vanishes leaves a dead device, whose operations come back when they are aborted', async () => {
  const arena = testArena();
  const { source, target, statuses } = dataOf(arena);
  const dead: string[] = [];
  const device = await createDmaDevice(arena, {
    name: 'copier',
    engine: { kind: 'model', model: { ...MODEL, faults: { vanishAt: 2 } } },
    onDead: (why) => dead.push(why.message),
  });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 32 });
  await device.start();
  const vchan = device.vchan(0);
  for (let i = 0; i < 5; i++) vchan.copy(target + i * 8, source + 1, 8);
  vchan.submit();
  device.model.advance(0);
  expect(device.model.advance(1e6)).toBe(2);
  expect([device.state, dead]).toEqual(['dead', ['copier: the model vanished']]);
  expect([vchan.copy(target, source, 8), device.model.advance(2e6), device.inFlight()]).toEqual([-1, 0, 3]);
  expect(vchan.completed(32)).toBe(2);
  expect(device.abort()).toBe(3);
  expect(vchan.completedStatus(32, statuses)).toBe(3);
  expect([...arena.u8.slice(statuses, statuses + 3)]).toEqual([1, 1, 1]);
  expect(await device.stop()).toBe(0);
  await device.start();
  expect(device.state).toBe('started');
});
