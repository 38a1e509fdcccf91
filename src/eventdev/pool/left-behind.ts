import type { Arena } from '../../memory/arena.ts';
import { EVPORT_PENDING } from '../layout.ts';
import {
  RECORD_DONE,
  RECORD_FAILED,
  RECORD_HELD,
  RECORD_QUEUED,
  RECORD_RUNNING,
  RECORD_SEQUENCE,
  RECORD_STATE,
  RECORD_STATE_MASK,
  RECORD_WORKER_SHIFT,
  WORKER_DEQUEUED,
  WORKER_OUT,
  WORKER_OUTGOING,
} from './layout.ts';
import type { WorkerSetup } from './setup.ts';

/** What a worker that died had dequeued and not given back to the device. */
export interface LeftBehind {
  /** Slots, in order, of events whose messages have ended. */
  readonly outgoing: readonly number[];
  /** Records whose messages have not, in the order in which they were taken in. */
  readonly held: readonly number[];
}

/**
 * Finds what the last worker at a port left behind, wherever it died. Kernels are never interrupted: a thread ends between
 * two steps of JavaScript, so that the port is whole, and its count of pending events says how many there are.
 *
 *     dequeue ──▶ records marked HELD ──▶ RUNNING ──▶ in the outgoing burst ──▶ DONE ──▶ enqueue ──▶ burst marked empty
 *             │                                   │                         │                   │
 *             in the dequeued slots and QUEUED    run again                 run again           pending says it is sent
 */
export function leftBehind(arena: Arena, { id, port, places }: WorkerSetup): LeftBehind {
  const { u32 } = arena;
  const { records, stride, count } = places;
  const words = places.workers[id] as number;
  const pending = u32[(port + EVPORT_PENDING) >>> 2] as number;
  const stateOf = (record: number): number => u32[(record + RECORD_STATE) >>> 2] as number;
  const isMine = (record: number, ...states: number[]): boolean =>
    states.some((state) => stateOf(record) === (state | (id << RECORD_WORKER_SHIFT)));
  const slotsAt = (first: number, n: number): number[] => Array.from({ length: n }, (_, i) => first + i * 16);
  const recordOf = (slot: number): number => u32[slot >>> 2] as number;

  const held: number[] = [];
  for (let record = records; record < records + count * stride; record += stride) {
    if (isMine(record, RECORD_HELD, RECORD_RUNNING)) held.push(record);
  }
  const burst = slotsAt(words + WORKER_OUT, u32[(words + WORKER_OUTGOING) >>> 2] as number);
  // One is there twice when a thread died while it put such a burst in order.
  const isLater = (slot: number, i: number): boolean =>
    burst.slice(0, i).some((its) => recordOf(its) === recordOf(slot));
  const ended = burst.filter((slot, i) => isMine(recordOf(slot), RECORD_DONE, RECORD_FAILED) && !isLater(slot, i));
  const outgoing = held.length + ended.length > pending ? [] : ended;
  // Only what the last dequeue wrote can be missing, and it comes before what older ones left in the slots.
  for (const slot of slotsAt(words + WORKER_DEQUEUED, pending)) {
    if (held.length + outgoing.length >= pending) break;
    const record = recordOf(slot);
    if ((stateOf(record) & RECORD_STATE_MASK) === RECORD_QUEUED) held.push(record);
  }
  const sequenceOf = (record: number): number => {
    const at = (record + RECORD_SEQUENCE) >>> 2;
    return (u32[at] as number) + (u32[at + 1] as number) * 2 ** 32;
  };
  return { outgoing, held: held.sort((a, b) => sequenceOf(a) - sequenceOf(b)) };
}
