import { attachEventPort } from 'ringway/eventdev';
import { buildFrame, CaptureWriter, readCapture } from 'ringway/packet';
import { afterAll, afterEach, expect, test } from 'vitest';
import { parseConfig } from '#build/config/index.js';
import { EventsWatch } from '#build/dataplane/events-snapshot.js';
import { createMachine } from '#build/dataplane/machine.js';
import { planDataplane } from '#build/dataplane/plan.js';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { EVDEV_EPOCH } from '#build/eventdev/layout.js';
import type { EventPortSnapshot, Snapshot } from '#build/telemetry/snapshot.js';
import { Random } from '#build/util/random.js';
import { conserve } from '../support/conservation.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { effort } from '../support/effort.ts';
import { MachineBench, problemsAtEnd } from '../support/machine-bench.ts';
import { testFolder } from '../support/port-bench.ts';
import { ODD_PORT, ODD_STAGE, writeMixedCapture } from '../support/topology.ts';

const folder = testFolder();
afterAll(folder.rm);
const running: RunningDataplane[] = [];
afterEach(async () => {
  for (const dataplane of running.splice(0)) await dataplane.stop().catch(() => {});
  expect(folder.open()).toEqual([]);
});

async function begin(source: object): Promise<RunningDataplane> {
  const dataplane = await start({ version: 1, name: 'test', ...source });
  running.push(dataplane);
  return dataplane;
}

const FLOWS = 24;
const NUMBERED = folder.path('numbered.pcap');

/** A capture whose packets have a number of their own in each flow; some flows have many more than others. */
function writeNumbered(packets: number): void {
  const writer = new CaptureWriter(NUMBERED);
  const random = new Random(7);
  const next = new Array<number>(FLOWS).fill(0);
  for (let i = 0; i < packets; i++) {
    const flow = Math.min(random.below(FLOWS), random.below(FLOWS));
    const payload = new Uint8Array(18);
    new DataView(payload.buffer).setUint32(0, next[flow] as number);
    next[flow] = (next[flow] as number) + 1;
    const frame = buildFrame({
      ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
      ipv4: { source: '198.18.0.1', destination: '198.19.0.1' },
      udp: { sourcePort: 1000 + flow, destinationPort: 2000 },
      payload,
    });
    writer.write(frame, { seconds: 0, nanoseconds: 0 });
  }
  writer.close();
}
const PACKETS = 20_000;
writeNumbered(PACKETS);

/** Packets of a capture that do not have the number that follows in their flow. */
function misplaced(path: string): string[] {
  const next = new Array<number>(FLOWS).fill(0);
  const found: string[] = [];
  for (const { frame } of readCapture(path)) {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const flow = view.getUint16(34) - 1000;
    const number = view.getUint32(42);
    const expected = next[flow] as number;
    if (number !== expected) found.push(`flow ${flow}: ${number}, not ${expected}`);
    next[flow] = number + 1;
  }
  return found;
}

/** Sends the capture through two workers, with a slow stage, to two ports. Returns what they recorded and the last snapshot. */
async function throughWorkers(seed: number, schedule: string): Promise<{ outputs: string[]; last: Snapshot }> {
  const outputs = [folder.path('a.pcap'), folder.path('b.pcap')];
  const dataplane = await begin({
    lcores: 4,
    seed,
    ports: {
      in: { type: 'capture', path: NUMBERED, learn: false },
      a: { type: 'capture', write: outputs[0], lcore: 0 },
      b: { type: 'capture', write: outputs[1], lcore: 1 },
    },
    eventdev: {
      workers: 2,
      schedule,
      newEventsLimit: 1024,
      stages: [{ module: ODD_STAGE, options: { spinUs: 2, slow: 4 } }, 'switch'],
    },
  });
  await dataplane.finished;
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.drops).toEqual({});
  for (const path of outputs) expect([...readCapture(path)]).toHaveLength(PACKETS);
  return { outputs, last };
}

test('packets of a flow, and copies, keep their order through stages and switch while flows move between workers', async () => {
  let moved = 0;
  // Where flows are at first is up to the seed.
  for (let seed = 1; seed <= 12 && moved === 0; seed++) {
    const { outputs, last } = await throughWorkers(seed, 'atomic');
    for (const path of outputs) expect(misplaced(path), `seed ${seed}`).toEqual([]);
    const { ports = [], queues = [], moves = [] } = last.eventdev ?? {};
    expect(queues.map(({ name }) => name)).toEqual(['odd-stage.mjs', 'switch', 'tx 0', 'tx 1']);
    const workers = ports.filter(({ role }) => role === 'stages');
    const sum = (read: (port: EventPortSnapshot) => number): number =>
      workers.reduce((total, port) => total + read(port), 0);
    moved = sum(({ emigrations }) => emigrations);
    expect(sum(({ immigrations }) => immigrations)).toBe(moved);
    // Each flow hash has one owner, and each packet passed both stages once.
    for (const queue of [0, 1]) {
      expect(sum(({ flows }) => flows[queue] ?? 0)).toBe(2 ** 13);
      expect(sum(({ queueDequeued }) => queueDequeued[queue] ?? 0)).toBe(PACKETS);
    }
    for (const { from, to } of moves) expect([from, to].sort()).toEqual([2, 3]);
  }
  expect(moved).toBeGreaterThan(0);
});

test('a parallel schedule has no such order', async () => {
  const { outputs } = await throughWorkers(1, 'parallel');
  expect(outputs.flatMap((path) => misplaced(path)).length).toBeGreaterThan(0);
});

const SCHEDULES = effort(8, 40);

test(`with an event device, all is accounted for in ${SCHEDULES} dataplanes that change and stop at random`, async () => {
  writeMixedCapture(folder.path('mixed.pcap'));
  const places = { ...folder, capture: folder.path('mixed.pcap') };
  const { sent, drops } = await conserve(0, SCHEDULES, places, { isSpread: true });
  expect(sent).toBeGreaterThan(SCHEDULES * 100);
  expect(Object.keys(drops)).toEqual(expect.arrayContaining(['stopped', 'fault', 'steered', 'vlan', 'stage']));
});

/** A source over an event device to a port that takes nothing, in virtual time. */
async function stuck(ports: object, seed = 1): Promise<MachineBench> {
  const source = {
    version: 1,
    lcores: 3,
    ports: { full: { type: 'module', module: ODD_PORT, lcore: 0, options: { give: 0, take: 0 } }, ...ports },
    eventdev: { workers: 1, newEventsLimit: 768 },
  };
  const bench = new MachineBench(source, new Random(seed));
  await bench.start();
  return bench;
}

test('what is in the event device when the dataplane stops is dropped, and its buffers are back', async () => {
  const bench = await stuck({ in: { type: 'generator', lcore: 1, learn: false } });
  bench.poll(300);
  const before = bench.snapshot();
  const last = await bench.stop(0);
  expect(problemsAtEnd(last, bench.machine)).toEqual([]);
  // The source waits, so nothing is lost before: outputs, and all the credits that new packets may have.
  expect(before.drops).toEqual({});
  expect(last.drops).toEqual({ stopped: before.totals.received });
  expect(before.totals.received).toBeGreaterThan(200);
});

test('packets of a source that cannot wait are dropped where they came in when there are no credits', async () => {
  const bench = await stuck({ in: { type: 'module', module: ODD_PORT, lcore: 1, options: { give: 1, take: 1 } } });
  bench.poll(600);
  const last = await bench.stop(0);
  expect(problemsAtEnd(last, bench.machine)).toEqual([]);
  expect(last.drops['lcore-full']).toBeGreaterThan(100);
  expect(last.ports.find(({ name }) => name === 'in')?.drops['lcore-full']).toBe(last.drops['lcore-full']);
});

test('a port is deleted with all that is in the event device for it, and a new one in its place gets none of it', async () => {
  for (let seed = 0; seed < effort(2, 10); seed++) {
    const bench = await stuck({ in: { type: 'generator', lcore: 1, learn: false, limit: 400 } }, seed);
    bench.poll(300);
    await bench.deletePort('full');
    await bench.addPort('late', { type: 'null', lcore: 0 });
    bench.poll(50);
    const last = await bench.stop(200);
    expect(problemsAtEnd(last, bench.machine), `seed ${seed}`).toEqual([]);
    expect(last.drops['port-gone'], `seed ${seed}`).toBeGreaterThan(200);
    expect(last.ports.find(({ name }) => name === 'late')?.txPackets ?? 0, `seed ${seed}`).toBeLessThan(200);
  }
});

test.each([
  ['throws', { fail: 'throw' }, /handle failed: Error: the stage went wrong/],
  ['returns more than it got', { fail: 33 }, /handle returned 33 for \d+ packets; return 0 to \d+/],
  ['returns nothing', { fail: null }, /handle returned null for \d+ packets/],
])('a stage that %s stops everything in order, with its name', async (_, options, reason) => {
  const dataplane = await begin({
    lcores: 3,
    ports: {
      in: { type: 'generator', learn: false, rate: '1kpps' },
      out: { type: 'capture', write: folder.path('death.pcap') },
    },
    // Late enough for everything to be up.
    eventdev: { workers: 1, stages: [{ module: ODD_STAGE, options: { ...options, after: 50 } }, 'switch'] },
  });
  const failure = (await dataplane.finished.then(
    () => 'finished',
    (error) => error,
  )) as Error;
  expect(failure).toMatchObject({ code: 'LCORE_DIED' });
  expect(failure.message).toMatch(/^test: lcore 2 ended by itself: .*eventdev\.stages\[0\]\.module: /);
  expect(failure.message).toMatch(reason);
  expect((await dataplane.stop()).state).toBe('stopped');
});

test.each([
  ['is missing', { module: '/none.mjs' }, /eventdev\.stages\[0\]\.module: file:\/\/\/none\.mjs cannot be imported/],
  ['is no stage', { module: ODD_PORT }, /must export by default a function \(context, options\)/],
  ['fails', { module: ODD_STAGE, options: { make: 'throw' } }, /failed: Error: no stage today/],
  ['makes no stage', { module: ODD_STAGE, options: { make: 'nothing' } }, /made a stage without handle/],
])('a start with a stage whose module %s fails', async (_, stage, reason) => {
  const refusal = await begin({
    lcores: 2,
    ports: { in: { type: 'null' } },
    eventdev: { workers: 1, stages: [stage, 'switch'] },
  }).catch((error) => error);
  expect(refusal.message).toMatch(reason);
});

test('rules and ports that would choose a worker are refused while it runs, and names are free again', async () => {
  const dataplane = await begin({
    lcores: 2,
    ports: { in: { type: 'null' }, out: { type: 'null' } },
    eventdev: { workers: [1] },
  });
  const rule = { match: { 'in-port': 'in' } };
  await expect(dataplane.addSteering({ ...rule, action: { lcore: 1 } })).rejects.toThrow('the event device chooses');
  await expect(dataplane.addSteering({ ...rule, action: { queue: 0 } })).rejects.toThrow('the event device chooses');
  await expect(dataplane.addPort('x', { type: 'null', lcore: 1 })).rejects.toThrow(
    'ports.x.lcore: 1 is a worker of the event device',
  );
  await dataplane.addPort('x', { type: 'null', lcore: 0 });
  await dataplane.deletePort('x');
  expect(problemsOf(await dataplane.stop())).toEqual([]);
});

test('a port that its lcore leaves alone is unattended while the device runs', () => {
  const source = { version: 1, lcores: 2, ports: { in: { type: 'null' } }, eventdev: { workers: [1] } };
  const config = parseConfig(JSON.stringify(source), { file: 't.yaml' });
  const { arena, events } = createMachine(config, planDataplane(config));
  if (config.eventdev === undefined || events === undefined) throw new Error('no event device');
  const watch = new EventsWatch(arena, config.eventdev, events);
  const unattended = (): boolean[] => watch.snapshot(0).ports.map(({ unattendedMs }) => unattendedMs !== undefined);
  const epoch = (events.address + EVDEV_EPOCH) >>> 2;
  for (const id of [0, 1]) attachEventPort(arena, events.portAddress(id));
  expect(unattended()).toEqual([false, false]);
  // As if the threads had attached five seconds ago.
  arena.u32[epoch] = (arena.u32[epoch] ?? 0) - 5;
  expect(unattended()).toEqual([true, true]);
  const attended = attachEventPort(arena, events.portAddress(1));
  // A hundred and some operations make a turn of the background.
  for (let i = 0; i < 200; i++) attended.maintain();
  expect(unattended()).toEqual([true, false]);
  events.stop();
  expect(unattended()).toEqual([false, false]);
});
