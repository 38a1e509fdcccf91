import type { Arena } from '../memory/arena.ts';
import { NETRING_SIZE } from '../xen/layout.ts';
import { MOVES_BYTES, MOVES_LEAST, VIFQ_ASYNC, VIFQ_MOVES, VIFQ_RING } from '../xen/queue-layout.ts';
import type { VifEnter, VifReceiver, VifSender, VifTake } from '../xen/vif-queue.ts';
import { ASYNC_TAIL } from './layout.ts';
import { type AsyncQueueOptions, attachCopies, type CopyQueue, createCopies, type QueueCopies } from './queue.ts';

/** Bytes of the arena that such a queue takes more than `asyncQueueBytes`. */
export const ASYNC_VIF_BYTES = MOVES_BYTES + 64;

interface AsyncVifKernels {
  asyncVifDrop(queue: number): number;
  asyncVifEnter(queue: number, slots: number, count: number): void;
  asyncVifReceive(queue: number, slots: number, max: number): number;
  asyncVifSettle(queue: number): number;
}

/**
 * Makes what a backend of a Xen device keeps of copies under way to or from its frontend; `netq` of `options` is the address of that
 * direction's state. Whoever serves it from then on must be one that `attachAsyncVif` or `attachAsyncVifReceiver` made.
 * @returns its address.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createAsyncVif(arena: Arena, options: AsyncQueueOptions): number {
  const { u32 } = arena;
  const { name, netq, threshold } = options;
  const size = u32[((u32[(netq + VIFQ_RING) >>> 2] ?? 0) + NETRING_SIZE) >>> 2] ?? 0;
  const address = createCopies(arena, options, size);
  const moves = arena.allocate(`${name} moves`, MOVES_BYTES);
  u32[(moves + MOVES_LEAST) >>> 2] = threshold;
  u32[(netq + VIFQ_MOVES) >>> 2] = moves;
  u32[(netq + VIFQ_ASYNC) >>> 2] = address;
  return address;
}

/** Address of what is kept of copies in the direction at `vifq`; 0 when nobody but the CPU copies. */
export function asyncVifOf(arena: Arena, vifq: number): number {
  return arena.u32[(vifq + VIFQ_ASYNC) >>> 2] ?? 0;
}

/** What `attachVifSender` is to do with packets of the queue at `address`. */
export function enterVif(arena: Arena, address: number): VifEnter {
  const { asyncVifEnter } = arena.kernels<AsyncVifKernels>();
  return (slots, count) => asyncVifEnter(address, slots, count);
}

/** What `attachVifReceiver` is to do with what it gathered from the queue at `address`. */
export function takeVif(arena: Arena, address: number): VifTake {
  const { asyncVifReceive } = arena.kernels<AsyncVifKernels>();
  return (slots, max) => asyncVifReceive(address, slots, max);
}

/** `settle` by `kernel`, after which `notify` is called when requests were answered. */
function settler(arena: Arena, address: number, kernel: (queue: number) => number, notify: () => void): () => number {
  const tailAt = (address + ASYNC_TAIL) >>> 2;
  return () => {
    const tail = arena.u32[tailAt];
    const n = kernel(address);
    if (arena.u32[tailAt] !== tail) notify();
    return n;
  };
}

/** Serves the queue at `address` from this thread; `sender` enters packets by `enterVif`. */
export function attachAsyncVif(arena: Arena, address: number, sender: VifSender): CopyQueue {
  const { asyncVifSettle } = arena.kernels<AsyncVifKernels>();
  const settle = settler(arena, address, asyncVifSettle, sender.notify);
  const { inFlight, use } = attachCopies(arena, address);
  return { inFlight, use, settle, send: sender.send };
}

/** The copies of the queue at `address`, on the thread whose `receiver` takes packets by `takeVif`. */
export function attachAsyncVifReceiver(arena: Arena, address: number, receiver: VifReceiver): QueueCopies {
  const { asyncVifDrop } = arena.kernels<AsyncVifKernels>();
  const { inFlight, use } = attachCopies(arena, address);
  return { inFlight, use, settle: settler(arena, address, asyncVifDrop, receiver.notify) };
}
