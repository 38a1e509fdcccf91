import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  BELL_RUNG,
  EVDEV_BELLS,
  EVDEV_EPOCH,
  EVDEV_LANES,
  EVDEV_LEVELS,
  EVDEV_ORDERED,
  EVDEV_PORTS,
  EVDEV_RUNNING,
  EVPORT_ATTACHED,
  EVPORT_BELL,
  EVPORT_DEVICE,
  EVPORT_ID,
  EVPORT_NOW,
  EVPORT_TIMED,
  NEEDS_TIME,
} from './layout.ts';
import { deviceNow } from './status.ts';

/** The kernels of the event device, for callers that run whole loops in WebAssembly or simulate. */
export interface EventKernels {
  eventdevEnqueue(port: number, slots: number, count: number): number;
  eventdevEnqueueOne(port: number, slot: number): number;
  eventdevDequeue(port: number, slots: number, limit: number): number;
  eventdevDequeueOne(port: number, slot: number): number;
  /** Instead of both, of a device whose queues have several priorities. */
  eventdevDequeueLevels(port: number, slots: number, limit: number): number;
  /** Instead of these and the enqueues, of a device with ordered queues. */
  eventdevDequeueOrdered(port: number, slots: number, limit: number): number;
  eventdevEnqueueOrdered(port: number, slots: number, count: number): number;
  eventdevMaintain(port: number): number;
  eventdevPark(port: number): number;
  eventdevUnpark(port: number): void;
  eventdevHeld(port: number, slots: number, count: number): number;
}

/**
 * A port, used by one thread. It must not be left alone for long: each call also does a step of what ports owe each
 * other, and moving a flow waits for all of them. A thread that has nothing to do sleeps in `dequeue` or `waitAsync`:
 * what the others want of it wakes it.
 */
export interface EventPort {
  /** Address of the port; what another thread needs to attach to it. */
  readonly address: number;
  /** Its number, from 0. */
  readonly id: number;
  /**
   * Copies at most `max` events to address `slots`; returns how many (0 to `max`). When there are none it blocks the
   * thread for up to `timeoutMs` milliseconds, 0 by default, until there are.
   */
  dequeue(slots: number, max: number, timeoutMs?: number): number;
  /**
   * Takes `count` events at address `slots` into the device, and returns how many: the first `enqueueDepth` at most, or
   * none when new ones among them find no credits. With `count` 0 what the port still buffers is sent.
   */
  enqueue(slots: number, count: number): number;
  /** Does the port's share of background work, for a thread that has no events at the time. */
  maintain(): void;
  /**
   * Waits until a call would find something, `timeoutMs` milliseconds at most, while the thread's event loop goes on: true
   * at once when there is something, and a promise otherwise. No call to the port before it is settled. As all waits of
   * its kind it does not keep a process alive.
   */
  waitAsync(timeoutMs: number): true | Promise<boolean>;
}

/** What a port is attached with. */
export interface EventPortAttachOptions {
  /**
   * Address of the two words that wake its thread (u32 each: rung, parked), for threads that sleep on words of their own.
   * They set the second to 1 before they sleep, and look once more, so that no event is missed.
   */
  readonly bell?: number;
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

/** The calls of the data path that a device's configuration needs. */
function kernelsFor(kernels: EventKernels, device: number, { u32 }: Arena) {
  const single = { enqueue: kernels.eventdevEnqueue, enqueueOne: kernels.eventdevEnqueueOne };
  if ((u32[(device + EVDEV_ORDERED) >>> 2] ?? 0) > 0) {
    const { eventdevDequeueOrdered: dequeue, eventdevEnqueueOrdered: enqueue } = kernels;
    const dequeueOne = (port: number, slot: number): number => dequeue(port, slot, 1);
    return { dequeue, dequeueOne, enqueue, enqueueOne: (port: number, slot: number): number => enqueue(port, slot, 1) };
  }
  if ((u32[(device + EVDEV_LEVELS) >>> 2] ?? 0) > 1) {
    const { eventdevDequeueLevels: dequeue } = kernels;
    return { ...single, dequeue, dequeueOne: (port: number, slot: number): number => dequeue(port, slot, 1) };
  }
  return { ...single, dequeue: kernels.eventdevDequeue, dequeueOne: kernels.eventdevDequeueOne };
}

/** Ms after which a thread looks whether another process has something for its port. */
const NAP_MS = 1;

/** Atomics.waitAsync as Node has it from 16 on; the ECMAScript 2023 library does not know it. */
type WaitAsync = (words: Int32Array, index: number, value: number, timeoutMs: number) => AsyncWait;
type AsyncWait =
  | { readonly async: false; readonly value: 'not-equal' | 'timed-out' }
  | { readonly async: true; readonly value: Promise<'ok' | 'timed-out'> };
const { waitAsync: waitOn } = Atomics as unknown as { readonly waitAsync: WaitAsync };

/**
 * The port at `address` (`EventDevice.portAddress`), in this or another thread than its device's. Its device is started.
 * @throws RingwayError `BUSY` when it is not.
 */
export function attachEventPort(arena: Arena, address: number, options: EventPortAttachOptions = {}): EventPort {
  const kernels = arena.kernels<EventKernels>();
  const { eventdevMaintain } = kernels;
  const { u32, i32 } = arena;
  const id = u32[(address + EVPORT_ID) >>> 2] ?? 0;
  const device = u32[(address + EVPORT_DEVICE) >>> 2] ?? 0;
  if (Atomics.load(u32, (device + EVDEV_RUNNING) >>> 2) === 0) {
    throw new RingwayError('BUSY', `event port ${id} at ${address}: its device is not started; call start() first`);
  }
  const { bell = address + EVPORT_BELL } = options;
  const words = (offset: number): number => u32[(device + offset) >>> 2] ?? 0;
  for (let lane = id; lane < words(EVDEV_LANES); lane += words(EVDEV_PORTS)) {
    Atomics.store(u32, (device + EVDEV_BELLS + lane * 4) >>> 2, bell);
  }
  const rung = (bell + BELL_RUNG) >>> 2;
  // Nobody in another process can ring: threads that share an arena with one look for themselves.
  const nap = arena.handle.path === undefined ? Number.POSITIVE_INFINITY : NAP_MS;
  const { dequeue: dequeueMany, dequeueOne, enqueue: enqueueMany, enqueueOne } = kernelsFor(kernels, device, arena);
  const tellTime = portClock(arena, address);
  const attached = new BigUint64Array(arena.handle.memory.buffer, address + EVPORT_ATTACHED, 1);
  Atomics.store(attached, 0, BigInt(deviceNow(arena, device)));

  const dequeueNow = (slots: number, max: number): number => {
    let n = max === 1 ? dequeueOne(address, slots) : dequeueMany(address, slots, max);
    while (n === NEEDS_TIME) {
      tellTime();
      n = dequeueMany(address, slots, max);
    }
    return n;
  };

  const dequeueLater = (slots: number, max: number, timeoutMs: number): number => {
    const deadline = performance.now() + timeoutMs;
    for (let left = timeoutMs; left > 0; left = deadline - performance.now()) {
      if (kernels.eventdevPark(address) === 1) {
        Atomics.wait(i32, rung, 0, Math.min(left, nap));
        kernels.eventdevUnpark(address);
      }
      const n = dequeueNow(slots, max);
      if (n > 0) return n;
    }
    return 0;
  };

  const waitLater = async (timeoutMs: number): Promise<boolean> => {
    const deadline = performance.now() + timeoutMs;
    for (let left = timeoutMs; ; left = deadline - performance.now()) {
      const wait = waitOn(i32, rung, 0, Math.min(left, nap));
      const how = wait.async ? await wait.value : wait.value;
      kernels.eventdevUnpark(address);
      if (how !== 'timed-out') return true;
      if (left <= nap) return false;
      tellTime();
      eventdevMaintain(address);
      if (kernels.eventdevPark(address) === 0) return true;
    }
  };

  return {
    address,
    id,
    dequeue(slots, max, timeoutMs = 0) {
      const n = dequeueNow(slots, max);
      return n > 0 || timeoutMs === 0 ? n : dequeueLater(slots, max, timeoutMs);
    },
    enqueue(slots, count) {
      let n = count === 1 ? enqueueOne(address, slots) : enqueueMany(address, slots, count);
      while (n === NEEDS_TIME) {
        tellTime();
        n = enqueueMany(address, slots, count);
      }
      return n;
    },
    maintain() {
      if (eventdevMaintain(address) !== NEEDS_TIME) return;
      tellTime();
      eventdevMaintain(address);
    },
    waitAsync(timeoutMs) {
      return kernels.eventdevPark(address) === 0 || waitLater(timeoutMs);
    },
  };
}
