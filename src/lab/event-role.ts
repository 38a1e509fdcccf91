import { createEventDevice, type EventDevice } from '../eventdev/device.ts';
import { EVENT_OP, writeEvent } from '../eventdev/event.ts';
import {
  EVENT_OP_SHIFT,
  EVENT_QUEUE_MASK,
  EVPORT_EMIGRATION_NS,
  EVPORT_EMIGRATIONS,
  NEEDS_TIME,
  OP_FORWARD,
} from '../eventdev/layout.ts';
import { attachEventPort, type EventPort, portClock } from '../eventdev/port.ts';
import type { Arena } from '../memory/arena.ts';
import { SLOT_EVENT, SLOT_SHIFT } from '../memory/layout.ts';
import type { Histogram } from '../telemetry/histogram.ts';

/** The round that events go: as the peer's in bench/eventdev.c. */
export const STAGES = 4;
export const FLOWS = 1024;
const RECORD_BYTES = 64;

/** A worker at a port of the device. */
export interface EventRole {
  readonly role: 'event';
  /** Address of the port (0 for none: then it only works), of its slots, and of the records to touch (0 for none). */
  readonly port: number;
  readonly slots: number;
  readonly records: number;
  /** Events that a dequeue takes at most. */
  readonly size: number;
  /** What a stage is: a kernel, or TypeScript over typed arrays. */
  readonly stage: 'kernel' | 'handler';
  /** Multiplications for each event. */
  readonly work: number;
  /** Whether it records how long migrations take. */
  readonly watch: boolean;
}

/** What is measured: how many workers, and what each does. */
export interface EventCase {
  readonly ports: number;
  readonly size: number;
  readonly stage: EventRole['stage'];
  readonly touch: boolean;
  readonly work: number;
  readonly watch: boolean;
  /** Events that go round; one of each flow when left out. */
  readonly events?: number;
}

/** The kernel of a worker that is one (`event-stage.kernel.ts`). */
export interface StageKernels {
  labHop(p: number, slots: number, size: number, stages: number, records: number, flows: number, work: number): number;
}

/** A started device with its events on their way, and the roles of its workers. */
export function setUpEvents(arena: Arena, { ports, size, stage, touch, work, watch, events = FLOWS }: EventCase) {
  const device = createEventDevice(arena, {
    name: 'events',
    ports: new Array(ports).fill({ enqueueDepth: Math.max(size, 32), dequeueDepth: size }),
    queues: new Array(STAGES).fill({ schedule: 'atomic' }),
    newEventsLimit: Math.max(events, 4096),
  });
  for (let port = 0; port < ports; port++) for (let queue = 0; queue < STAGES; queue++) device.link(port, queue);
  device.start();
  const slots = arena.allocate('slots', 32 << SLOT_SHIFT);
  const first = attachEventPort(arena, device.portAddress(0));
  for (let sent = 0; sent < events; sent += 32) {
    for (let i = 0; i < 32; i++) {
      writeEvent(arena, slots + (i << SLOT_SHIFT), { queue: 0, flow: (sent + i) % FLOWS, op: EVENT_OP.NEW });
    }
    first.enqueue(slots, 32);
  }
  first.enqueue(slots, 0);
  const records = touch ? arena.allocate('records', STAGES * FLOWS * RECORD_BYTES, RECORD_BYTES) : 0;
  const roles = Array.from({ length: ports }, (_, id): EventRole => {
    const own = arena.allocate(`slots ${id}`, size << SLOT_SHIFT);
    return { role: 'event', port: device.portAddress(id), slots: own, records, size, stage, work, watch };
  });
  return { device, roles };
}

/** Stops it, and gives all regions back. Returns how many events were still there. */
export function tearDownEvents(arena: Arena, device: EventDevice): number {
  let left = 0;
  device.stop(() => {
    left++;
  });
  device.close();
  for (const { name } of arena.regions()) if (/^(slots|records)/.test(name)) arena.release(name);
  return left;
}

/** A stage in TypeScript: sends each event on to the next queue. */
function handle(u16: Uint16Array, slots: number, n: number): void {
  const stride = 1 << (SLOT_SHIFT - 1);
  let at = (slots + SLOT_EVENT) >>> 1;
  for (let i = 0; i < n; i++) {
    const next = ((u16[at] as number) & EVENT_QUEUE_MASK) + 1;
    u16[at] = (next === STAGES ? 0 : next) | (OP_FORWARD << EVENT_OP_SHIFT);
    at += stride;
  }
}

/** Dequeues and enqueues in a turn: what surrounds a kernel's call should not show in its figure. */
export const HOPS = 16;

/**
 * What a worker does in a turn; it returns how many events that were. V8 calls a kernel fast from code that has only called
 * that of one arena, so all turns of a thread should be of one.
 */
export function eventTurn(arena: Arena, role: EventRole): () => number {
  const { port: address, slots, records, size, stage, work } = role;
  if (address === 0) return workTurn(arena, slots, size, work);
  const port = attachEventPort(arena, address);
  if (stage === 'handler') return () => handlerHops(arena.u16, port, slots, size);
  const { labHop } = arena.kernels<StageKernels>();
  const tellTime = portClock(arena, address);
  // Beside real work nothing shows, and a turn should not take longer than the windows that it is measured in.
  const hops = work > 0 ? 1 : HOPS;
  return () => {
    let moved = 0;
    for (let i = 0; i < hops; i++) {
      let n = labHop(address, slots, size, STAGES, records, FLOWS, work);
      while (n === NEEDS_TIME) {
        tellTime();
        n = labHop(address, slots, size, STAGES, records, FLOWS, work);
      }
      moved += n < NEEDS_TIME ? n : port.enqueue(slots, n - NEEDS_TIME);
    }
    return moved;
  };
}

/** The work alone. */
function workTurn(arena: Arena, slots: number, size: number, work: number): () => number {
  const { labWork } = arena.kernels<{ labWork(slots: number, n: number, length: number): void }>();
  return () => {
    labWork(slots, size, work);
    return size;
  };
}

function handlerHops(u16: Uint16Array, { dequeue, enqueue }: EventPort, slots: number, size: number): number {
  let moved = 0;
  for (let i = 0; i < HOPS; i++) {
    const n = dequeue(slots, size);
    if (n === 0) continue;
    handle(u16, slots, n);
    moved += enqueue(slots, n);
  }
  return moved;
}

/** Such a turn that also records how long the port's migrations take, in ns, as the device measures it. */
export function watchedTurn(arena: Arena, role: EventRole, latency: Histogram): () => number {
  const turn = eventTurn(arena, role);
  const { u32 } = arena;
  const flows = (role.port + EVPORT_EMIGRATIONS) >>> 2;
  const spent = (role.port + EVPORT_EMIGRATION_NS) >>> 2;
  let seenFlows = u32[flows] as number;
  let seenSpent = u32[spent] as number;
  return () => {
    const n = turn();
    const moved = u32[flows] as number;
    if (moved === seenFlows) return n;
    const all = u32[spent] as number;
    // Flows that moved together count one time each.
    latency.record(((all - seenSpent) >>> 0) / ((moved - seenFlows) >>> 0));
    seenFlows = moved;
    seenSpent = all;
    return n;
  };
}
