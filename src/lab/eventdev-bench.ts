import { type Arena, createArena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { assert } from '../util/assert.ts';
import type { SideResult } from './bench-worker.ts';
import { type EventCase, type EventRole, FLOWS, STAGES, setUpEvents, tearDownEvents } from './event-role.ts';
import { NOT_WANTED, type PeerFigure, type Peers } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import { firstCpu, runOnTwoCores, runRoles, twoCpus } from './two-cores.ts';
import { medianNs } from './windows.ts';

const ARENA_BYTES = 16 << 20;
const UNIT = 'M/s';
/** Multiplications, some 400 ns: a thousand cycles of a 2.6 GHz counter, the work with which DSW was first described. */
const WORK = 640;
/** Between two changes of links: about what it takes until all flows have moved. */
const RELINK_MS = 20;

const PLAIN: EventCase = { ports: 1, size: 32, stage: 'kernel', touch: false, work: 0, watch: false };
const nothing = { value: null, p50: null, p99: null, p999: null };
/** Millions a second, of `ns` each. */
const rateOf = (ns: number | null): number | null => (ns === null ? null : 1000 / ns);

function nameOf({ ports, size, stage, touch }: EventCase): string {
  const cores = ports === 1 ? 'one core' : `${ports} cores`;
  return `events, ${stage}${touch ? ', 64 B touched' : ''}, burst ${size}, ${cores}`;
}

function runPeer(peers: Peers, cpus: readonly number[], driver: string, one: EventCase): Promise<PeerFigure> {
  return peers.run('eventdev', cpus, [driver, `${one.size}`, one.touch ? 'touch' : 'none', `${one.work}`]);
}

/** ns an event, on one core. */
async function measureOne(arena: Arena, one: EventCase): Promise<{ value: number | null; note: string }> {
  const { device, roles } = setUpEvents(arena, one);
  const [result] = (await runRoles(arena, [firstCpu()], roles)) as [SideResult];
  checkEvents(tearDownEvents(arena, device));
  return medianNs([result.windows]);
}

/** A figure of events that got lost would be none. */
function checkEvents(left: number): void {
  assert(left === FLOWS, `bench: ${left} events are left, of ${FLOWS}`);
}

async function oneCore(arena: Arena, one: EventCase, peers: Peers, driver = 'event_dsw0'): Promise<Row> {
  const measured = await measureOne(arena, one);
  const peer = await runPeer(peers, [firstCpu()], driver, one);
  const { note } = measured;
  const figure = { ...nothing, name: nameOf(one), unit: UNIT, value: rateOf(measured.value), note } as const;
  return rowOf({ ...figure, state: 'one core' }, { name: driver, ...peer });
}

/** What the device adds to an event that takes 400 ns anyway: with it, less the same work alone. */
async function overhead(arena: Arena, peers: Peers): Promise<Row> {
  const one = { ...PLAIN, work: WORK };
  const slots = arena.allocate('slots', one.size << SLOT_SHIFT);
  const role: EventRole = {
    role: 'event',
    port: 0,
    slots,
    records: 0,
    size: one.size,
    stage: 'kernel',
    work: WORK,
    watch: false,
  };
  const [result] = (await runRoles(arena, [firstCpu()], [role])) as [SideResult];
  const alone = medianNs([result.windows]);
  arena.release('slots');
  const measured = await measureOne(arena, one);
  const value = measured.value === null || alone.value === null ? null : measured.value - alone.value;
  const cpu = [firstCpu()];
  const [its, itsAlone] = [await runPeer(peers, cpu, 'event_dsw0', one), await runPeer(peers, cpu, 'none', one)];
  const peerValue = its.value === null || itsAlone.value === null ? null : 1000 / its.value - 1000 / itsAlone.value;
  const figure = { ...nothing, name: 'overhead, 400 ns of work an event', unit: 'ns/event', value } as const;
  return rowOf(
    { ...figure, state: 'one core', note: measured.note },
    { name: 'event_dsw0', value: peerValue, note: its.note },
  );
}

/** Lets flows move from one port to the other and back, by taking queues from a port and giving them back. */
function keepMoving(device: ReturnType<typeof setUpEvents>['device']): () => void {
  let from = 0;
  const timer = setInterval(() => {
    for (let queue = 0; queue < STAGES; queue++) {
      device.link(from, queue);
      device.unlink(1 - from, queue);
    }
    from = 1 - from;
  }, RELINK_MS);
  return () => clearInterval(timer);
}

async function onTwoCores(arena: Arena, one: EventCase, cpus: [number, number], peers: Peers) {
  const { device, roles } = setUpEvents(arena, one);
  const stopMoving = one.watch ? keepMoving(device) : undefined;
  const peer = (): Promise<PeerFigure> => {
    stopMoving?.();
    return one.watch ? Promise.resolve(NOT_WANTED) : runPeer(peers, cpus, 'event_dsw0', one);
  };
  const ran = await runOnTwoCores(arena, cpus, roles as [EventRole, EventRole], peer);
  checkEvents(tearDownEvents(arena, device));
  return { ...ran, results: ran.results as [SideResult, SideResult] };
}

/** Both workers' events together. */
async function twoCores(arena: Arena, cpus: [number, number], peers: Peers): Promise<Row> {
  const one = { ...PLAIN, ports: 2 };
  const name = nameOf(one);
  const { results, peer, state } = await onTwoCores(arena, one, cpus, peers);
  const [a, b] = [
    medianNs([results[0].windows, results[1].windows]),
    medianNs([results[1].windows, results[0].windows]),
  ];
  const value = a.value === null || b.value === null ? null : 1000 / a.value + 1000 / b.value;
  return rowOf({ name, unit: UNIT, ...nothing, value, note: a.note, state }, { name: 'event_dsw0', ...peer });
}

/** How long flows take from one port to another while both are busy all the time. */
async function migrations(arena: Arena, cpus: [number, number], peers: Peers): Promise<Row> {
  const one = { ...PLAIN, ports: 2, watch: true };
  const name = 'migration, two busy ports';
  const { results, state } = await onTwoCores(arena, one, cpus, peers);
  const [{ quantiles }] = results;
  return rowOf({ name, unit: 'ns', ...quantiles, value: quantiles.p50, note: '', state }, null);
}

/**
 * The event device: 1,024 events of as many flows go round through four atomic queues, as in DPDK's event devices beside
 * it; migration and statistics are on in both. A turn is one dequeue and one enqueue, by a stage that is a kernel or
 * TypeScript. Samples, of the migration only, are migrations.
 */
export async function benchEventdev(peers: Peers): Promise<Row[]> {
  const cpus = twoCpus();
  if (typeof cpus === 'string') {
    return [rowOf({ name: 'events', unit: UNIT, ...nothing, state: 'not measured', note: cpus }, null)];
  }
  const arena = createArena({ bytes: ARENA_BYTES });
  const rows: Row[] = [];
  for (const size of [32, 8, 1]) rows.push(await oneCore(arena, { ...PLAIN, size }, peers));
  rows.push(await oneCore(arena, { ...PLAIN, stage: 'handler' }, peers));
  rows.push(await oneCore(arena, { ...PLAIN, touch: true }, peers));
  rows.push(await oneCore(arena, PLAIN, peers, 'event_sw0'));
  rows.push(await twoCores(arena, cpus, peers));
  rows.push(await overhead(arena, peers));
  rows.push(await migrations(arena, cpus, peers));
  return rows;
}
