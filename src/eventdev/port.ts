import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  EVDEV_EPOCH,
  EVDEV_RUNNING,
  EVPORT_DEVICE,
  EVPORT_ID,
  EVPORT_NOW,
  EVPORT_TIMED,
  NEEDS_TIME,
} from './layout.ts';

/** The kernels of the event device, for callers that run whole loops in WebAssembly or simulate. */
export interface EventKernels {
  eventdevEnqueue(port: number, slots: number, count: number): number;
  eventdevEnqueueOne(port: number, slot: number): number;
  eventdevDequeue(port: number, slots: number, limit: number): number;
  eventdevDequeueOne(port: number, slot: number): number;
  eventdevMaintain(port: number): number;
}

/**
 * A port, used by one thread. It must not be left alone for long: each call also does a step of what ports owe each
 * other, and moving a flow waits for all of them.
 */
export interface EventPort {
  /** Address of the port; what another thread needs to attach to it. */
  readonly address: number;
  /** Its number, from 0. */
  readonly id: number;
  /** Copies at most `max` events to address `slots`; returns how many (0 to `max`). */
  dequeue(slots: number, max: number): number;
  /**
   * Takes `count` events at address `slots` into the device, and returns how many: the first `enqueueDepth` at most, or
   * none when new ones among them find no credits. With `count` 0 what the port still buffers is sent.
   */
  enqueue(slots: number, count: number): number;
  /** Does the port's share of background work, for a thread that has no events at the time. */
  maintain(): void;
}

/** Writes the time for one call of a port's kernels. */
export function portClock(arena: Arena, address: number): () => void {
  const { u32 } = arena;
  const now = (address + EVPORT_NOW) >>> 2;
  const timed = (address + EVPORT_TIMED) >>> 2;
  const epoch = u32[((u32[(address + EVPORT_DEVICE) >>> 2] ?? 0) + EVDEV_EPOCH) >>> 2] ?? 0;
  // Threads have origins of their own; since the epoch, nanoseconds fit a Number.
  const start = performance.timeOrigin - epoch * 1000;
  return () => {
    const nanoseconds = Math.floor((start + performance.now()) * 1e6);
    u32[now] = nanoseconds;
    u32[now + 1] = nanoseconds / 2 ** 32;
    u32[timed] = 1;
  };
}

/**
 * The port at `address` (`EventDevice.portAddress`), in this or another thread than its device's. Its device is started.
 * @throws RingwayError `BUSY` when it is not.
 */
export function attachEventPort(arena: Arena, address: number): EventPort {
  const { eventdevEnqueue, eventdevEnqueueOne, eventdevDequeue, eventdevDequeueOne, eventdevMaintain } =
    arena.kernels<EventKernels>();
  const id = arena.u32[(address + EVPORT_ID) >>> 2] ?? 0;
  const device = arena.u32[(address + EVPORT_DEVICE) >>> 2] ?? 0;
  if (Atomics.load(arena.u32, (device + EVDEV_RUNNING) >>> 2) === 0) {
    throw new RingwayError('BUSY', `event port ${id} at ${address}: its device is not started; call start() first`);
  }
  const tellTime = portClock(arena, address);
  return {
    address,
    id,
    dequeue(slots, max) {
      let n = max === 1 ? eventdevDequeueOne(address, slots) : eventdevDequeue(address, slots, max);
      while (n === NEEDS_TIME) {
        tellTime();
        n = eventdevDequeue(address, slots, max);
      }
      return n;
    },
    enqueue(slots, count) {
      let n = count === 1 ? eventdevEnqueueOne(address, slots) : eventdevEnqueue(address, slots, count);
      while (n === NEEDS_TIME) {
        tellTime();
        n = eventdevEnqueue(address, slots, count);
      }
      return n;
    },
    maintain() {
      if (eventdevMaintain(address) !== NEEDS_TIME) return;
      tellTime();
      eventdevMaintain(address);
    },
  };
}
