import { attachEventPort, createEventDevice, type EventDeviceOptions, eventDeviceBytes } from 'ringway/eventdev';
import { describe, expect, test } from 'vitest';
import { BASES, testArena } from '../support/arena.ts';

const GOOD: EventDeviceOptions = {
  name: 'ev',
  ports: 2,
  queues: [{ schedule: 'atomic' }, { schedule: 'single-link' }],
};

test.each<[string, Partial<EventDeviceOptions>, RegExp]>([
  ['no ports', { ports: 0 }, /ports=0, must be a whole number from 1 to 64/],
  ['too many ports', { ports: 65 }, /ports=65/],
  ['ports missing', { ports: undefined as unknown as number }, /ports=undefined, must be a whole number/],
  ['queues missing', { queues: undefined as unknown as [] }, /queues=undefined, must be a list/],
  ['a name missing', { name: undefined as unknown as string }, /name=undefined, must be 1 to 40/],
  ['a name too long', { name: 'n'.repeat(41) }, /must be 1 to 40/],
  ['no queues', { queues: [] }, /queues.length=0, must be a whole number from 1 to 16/],
  ['too many queues', { queues: new Array(17).fill({ schedule: 'atomic' }) }, /queues.length=17/],
  ['an unknown schedule', { queues: [{ schedule: 'random' as 'atomic' }] }, /queues\[0\].schedule="random"/],
  ['a priority too low', { queues: [{ schedule: 'atomic', priority: 256 }] }, /queues\[0\].priority=256, must be/],
  [
    'five priorities',
    { queues: [1, 2, 3, 4, 5].map((priority) => ({ schedule: 'atomic', priority })) },
    /queues have 5 priorities \(1, 2, 3, 4, 5\), and may have 4/,
  ],
  ['a limit of 0', { newEventsLimit: 0 }, /newEventsLimit=0, must be a whole number from 1 to 16384/],
  ['a limit too high', { newEventsLimit: 16385 }, /newEventsLimit=16385/],
  [
    'a threshold over the limit',
    { newEventsLimit: 10, ports: [{ newEventThreshold: 11 }] },
    /ports\[0\].newEventThreshold=11/,
  ],
  ['a depth too high', { ports: [{}, { enqueueDepth: 129 }] }, /ports\[1\].enqueueDepth=129/],
  ['a depth of 0', { ports: [{ dequeueDepth: 0 }] }, /ports\[0\].dequeueDepth=0/],
  ['half a port', { ports: 1.5 }, /ports=1.5/],
  [
    'an unknown migration',
    { migration: 'none' as 'single-flow' },
    /migration="none", must be one of flow-group, single/,
  ],
  ['14 bits', { flowHashBits: 14 as 13 }, /flowHashBits=14, must be 13 or 15/],
])('over-limit or missing values are refused, and take no memory: %s', (_, part, message) => {
  const arena = testArena();
  expect(() => createEventDevice(arena, { ...GOOD, ...part })).toThrow(message);
  expect(arena.regions()).toEqual([]);
});

test('defaults, bounds and attributes are read back', () => {
  const device = createEventDevice(testArena(), {
    ...GOOD,
    ports: [{}, { implicitRelease: false, enqueueDepth: 128 }],
  });
  expect([device.ports, device.queues, device.credits, device.running]).toEqual([2, 2, 4096, false]);
  expect(device.portOptions(0)).toEqual({
    newEventThreshold: 4096,
    enqueueDepth: 32,
    dequeueDepth: 32,
    implicitRelease: true,
  });
  expect(device.portOptions(1)).toMatchObject({ implicitRelease: false, enqueueDepth: 128 });
  expect([device.newEventsLimit, device.migration, device.flowHashBits]).toEqual([4096, 'flow-group', 13]);
  expect([device.queueOptions(0), device.queueOptions(1)]).toEqual([
    { schedule: 'atomic', priority: 128 },
    { schedule: 'single-link', priority: 128 },
  ]);
  expect(() => device.queueOptions(2)).toThrow(/queue 2, must be a whole number from 0 to 1/);
  expect(() => device.portOptions(2)).toThrow(/port 2, must be a whole number from 0 to 1/);
});

test('the migration of single flows hashes to 15 bits, unless told otherwise', () => {
  const read = (part: Partial<EventDeviceOptions>): unknown[] => {
    const device = createEventDevice(testArena(), { ...GOOD, ...part });
    return [device.migration, device.flowHashBits];
  };
  expect(read({ migration: 'single-flow' })).toEqual(['single-flow', 15]);
  expect(read({ migration: 'single-flow', flowHashBits: 13 })).toEqual(['single-flow', 13]);
  expect(read({ migration: 'flow-group', flowHashBits: 15 })).toEqual(['flow-group', 15]);
});

test('there are credits for every port’s stock', () => {
  expect(createEventDevice(testArena(), { ...GOOD, ports: 4, newEventsLimit: 100 }).credits).toBe(512);
});

describe('links', () => {
  test('link and unlink counts: linking twice counts once, unlinking says whether it was', () => {
    const device = createEventDevice(testArena(), GOOD);
    device.link(1, 0);
    device.link(1, 0);
    device.link(0, 0);
    expect([device.links(0), device.links(1)]).toEqual([[0, 1], []]);
    expect([device.queuesOf(0), device.queuesOf(1)]).toEqual([[0], [0]]);
    expect([device.unlink(1, 0), device.unlink(1, 0)]).toEqual([true, false]);
    expect(device.links(0)).toEqual([0]);
  });

  test('a single-link queue takes one port', () => {
    const device = createEventDevice(testArena(), GOOD);
    device.link(1, 1);
    device.link(1, 1);
    expect(() => device.link(0, 1)).toThrow(/queue 1 is single-link and linked to port 1/);
  });

  test('unknown ports and queues are named', () => {
    const device = createEventDevice(testArena(), GOOD);
    expect(() => device.link(2, 0)).toThrow(/port 2, must be/);
    expect(() => device.link(0, 2)).toThrow(/queue 2, must be/);
    expect(() => device.unlink(-1, 0)).toThrow(/port -1, must be/);
  });

  test('links after start: every queue has a port, those of single-link queues are fixed, the last of others stays', () => {
    const device = createEventDevice(testArena(), GOOD);
    device.link(0, 0);
    expect(() => device.start()).toThrow(/queue 1 has no port/);
    device.link(0, 1);
    device.start();
    expect(() => device.link(1, 1)).toThrow(/queue 1 is single-link: its port is fixed/);
    expect(() => device.unlink(0, 1)).toThrow(/queue 1 is single-link: its port is fixed/);
    expect(() => device.unlink(0, 0)).toThrow(/port 0 is the last one of queue 0; link another first/);
    device.link(1, 0);
    expect(device.unlink(0, 0)).toBe(true);
    expect(() => device.unlink(1, 0)).toThrow(/last one of queue 0/);
    expect(device.links(0)).toEqual([1]);
    device.stop();
    expect(device.unlink(0, 1)).toBe(true);
    device.link(1, 1);
    device.start();
  });
});

test.each(BASES)('start, stop, close; reconfigure smaller and back, at %i', (base) => {
  const arena = testArena(8 << 20, base);
  for (const ports of [4, 1, 4]) {
    const device = createEventDevice(arena, { ...GOOD, ports });
    device.link(0, 0);
    device.link(0, 1);
    expect(() => attachEventPort(arena, device.portAddress(0))).toThrow(/not started/);
    expect(() => device.stop()).toThrow(/not started/);
    device.start();
    expect(() => device.start()).toThrow(/started already/);
    expect(() => device.close()).toThrow(/call stop/);
    expect(attachEventPort(arena, device.portAddress(0)).id).toBe(0);
    expect(arena.damaged()).toEqual([]);
    device.stop();
    device.close();
    expect(arena.regions()).toEqual([]);
  }
});

test('an arena of eventDeviceBytes holds it; a smaller one is left empty', () => {
  const options: EventDeviceOptions = { ...GOOD, ports: 3, newEventsLimit: 1000 };
  const bytes = eventDeviceBytes(options);
  createEventDevice(testArena(bytes), options);
  const small = testArena(bytes >>> 1);
  expect(() => createEventDevice(small, options)).toThrow(/ports needs/);
  expect(small.regions()).toEqual([]);
});

test('capabilities say what this configuration has', () => {
  const { capabilities } = createEventDevice(testArena(), GOOD);
  expect(capabilities).toEqual({
    atomic: true,
    ordered: false,
    parallel: false,
    singleLink: true,
    distributedScheduling: true,
    queuePriorities: false,
    burstMode: true,
    anyQueueOrder: true,
    multipleQueuePorts: true,
    runtimeLinks: true,
    carriesFlowId: true,
    implicitReleaseDisable: true,
    independentEnqueue: true,
    dequeueTimeout: true,
    maintenanceFree: false,
    otherProcesses: false,
  });
  const single = createEventDevice(testArena(), { ...GOOD, queues: [{ schedule: 'single-link' }] });
  expect(single.capabilities).toMatchObject({ atomic: false, runtimeLinks: false });
});
