import { EVPORT_NOW, EVPORT_RING, EVPORT_TIMED, NEEDS_TIME } from '../eventdev/layout.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { MPSC_HEAD } from '../ring/layout.ts';
import {
  type EventRole,
  eventTurn,
  FLOWS,
  HOPS,
  STAGES,
  type StageKernels,
  setUpEvents,
  tearDownEvents,
} from './event-role.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';
import { coreDistance, twoCpus } from './two-cores.ts';

const PORTS = [2, 4, 8, 14];
/** Events on their way for each port: what a port of the two in the bench on real cores has. */
const EVENTS_PER_PORT = 512;
const BURST = 32;
const VIRTUAL_NS = 20e6;
const WARM_UP_NS = 5e6;
/** Where no distance can be measured: near cores of this kind of machine. */
const DISTANCE_NS = 60;
const POLL_NS = 20;
const ARENA_BYTES = 96 << 20;
/** Slots in a cache line, and lines that a core fetches at once when it knows their addresses. */
const SLOTS_PER_LINE = 4;
const LINES_AT_ONCE = 4;

/** What things cost in ns: a call of a worker's kernel, each event in it, a cache line from another core. */
interface Costs {
  readonly call: number;
  readonly event: number;
  readonly line: number;
}

/** A worker's turn in one thread, with as many ports as matter: bursts of two sizes tell a call from its events. */
function measureCosts(arena: Arena, line: number): Costs | null {
  const [small, large] = [8, BURST].map((size) => {
    const { device, roles } = setUpEvents(arena, {
      ports: 4,
      size,
      stage: 'kernel',
      touch: false,
      work: 0,
      watch: false,
    });
    const turns = roles.map((role) => eventTurn(arena, role));
    let moved = 0;
    let calls = 0;
    const { value } = measure(1, () => {
      for (const turn of turns) {
        moved += turn();
        calls += HOPS;
      }
    });
    tearDownEvents(arena, device);
    // ns a round of all ports, and events in it.
    return value === null ? null : { ns: value / (HOPS * roles.length), events: moved / calls };
  });
  if (small == null || large == null) return null;
  const event = Math.max((large.ns - small.ns) / (large.events - small.events), 0.5);
  return { call: Math.max(large.ns - event * large.events, 0), event, line };
}

const lines = (slots: number): number => Math.ceil(slots / SLOTS_PER_LINE) / LINES_AT_ONCE;

/** Millions of events a second that `ports` workers move in virtual time, each with a core of its own. */
export function scaleTo(arena: Arena, ports: number, { call, event, line }: Costs): number {
  const events = Math.max(FLOWS, ports * EVENTS_PER_PORT);
  const setup = { ports, size: BURST, stage: 'kernel', touch: false, work: 0, watch: false, events } as const;
  const { device, roles } = setUpEvents(arena, setup);
  const { labHop } = arena.kernels<StageKernels>();
  const { u32 } = arena;
  const heads = roles.map(({ port }) => ((u32[(port + EVPORT_RING) >>> 2] as number) + MPSC_HEAD) >>> 2);
  const seen = heads.map((head) => u32[head] as number);
  const clocks = new Float64Array(ports);
  const hop = ({ port, slots }: EventRole): number => labHop(port, slots, BURST, STAGES, 0, FLOWS, 0);
  const turn = (role: EventRole, now: number): number => {
    for (;;) {
      const n = hop(role);
      if (n < NEEDS_TIME) return n;
      u32[(role.port + EVPORT_NOW) >>> 2] = now;
      u32[(role.port + EVPORT_TIMED) >>> 2] = 1;
      if (n > NEEDS_TIME) {
        arena
          .kernels<{ eventdevEnqueue(port: number, slots: number, n: number): number }>()
          .eventdevEnqueue(role.port, role.slots, n - NEEDS_TIME);
        return n - NEEDS_TIME;
      }
    }
  };
  let moved = 0;
  for (;;) {
    let port = 0;
    for (let i = 1; i < ports; i++) if ((clocks[i] as number) < (clocks[port] as number)) port = i;
    const now = clocks[port] as number;
    if (now >= VIRTUAL_NS) break;
    const n = turn(roles[port] as EventRole, now);
    if (now >= WARM_UP_NS) moved += n;
    let cost = n === 0 ? POLL_NS : call + n * event;
    for (let to = 0; to < ports; to++) {
      const head = u32[heads[to] as number] as number;
      const sent = (head - (seen[to] as number)) >>> 0;
      seen[to] = head;
      // The line of the head and that of the run words are needed before anything else can be done; then the slots.
      if (to !== port && sent > 0) cost += line * (2 + lines(sent));
    }
    // What it dequeued was written by all ports alike: a line of run words, and the slots.
    if (n > 0) cost += (line * (1 + lines(n)) * (ports - 1)) / ports;
    clocks[port] = now + cost;
  }
  tearDownEvents(arena, device);
  return (moved * 1000) / (VIRTUAL_NS - WARM_UP_NS);
}

/**
 * Events a second on more cores than there are here, in virtual time: real kernels, what they cost measured in one thread
 * here, and for each cache line that goes to another core the distance of two cores here.
 */
export async function benchScale(): Promise<Row[]> {
  const cpus = twoCpus();
  const isMeasured = typeof cpus !== 'string';
  const arena = createArena({ bytes: ARENA_BYTES });
  const distance = isMeasured ? await coreDistance(arena, cpus) : DISTANCE_NS;
  const costs = measureCosts(arena, distance);
  const nothing = { p50: null, p99: null, p999: null, state: 'virtual time' } as const;
  if (costs === null) return [];
  const { call, event, line } = costs;
  const note = `${call.toFixed(0)} ns a call, ${event.toFixed(1)} an event, ${line.toFixed(0)} a line${isMeasured ? '' : ' (not measured)'}`;
  return PORTS.map((ports) =>
    rowOf({ ...nothing, name: `events, ${ports} cores`, unit: 'M/s', value: scaleTo(arena, ports, costs), note }, null),
  );
}
