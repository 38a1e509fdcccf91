import type { Arena } from '../memory/arena.ts';
import { SLOT_EVENT, SLOT_FLOW } from '../memory/layout.ts';
import {
  EVENT_OP_MASK,
  EVENT_OP_SHIFT,
  EVENT_QUEUE_MASK,
  EVENT_TAG_MASK,
  EVENT_TAG_SHIFT,
  OP_FORWARD,
  OP_NEW,
  OP_RELEASE,
} from './layout.ts';

/**
 * What an enqueue does with an event: `NEW` takes it in, for a credit; `FORWARD` sends on one that was dequeued; `RELEASE`
 * says that one is finished.
 */
export const EVENT_OP = {
  NEW: OP_NEW as number,
  FORWARD: OP_FORWARD as number,
  RELEASE: OP_RELEASE as number,
} as const;

/** Where an event goes, or came from. The first eight bytes of its slot are the application's. */
export interface Event {
  /** 0 to 15. */
  readonly queue: number;
  /** 0 to 2^32 - 1: events of an atomic queue that have the same are processed one at a time and in order. */
  readonly flow: number;
  /** One of `EVENT_OP`. */
  readonly op: number;
  /** 0 to 1,023, the application's; 0 by default. A parallel queue overwrites it. */
  readonly tag?: number;
}

/** Writes the event part of the slot at `slot`. Bits over what a field has are cut off. */
export function writeEvent(arena: Arena, slot: number, { queue, flow, op, tag = 0 }: Event): void {
  arena.u32[(slot + SLOT_FLOW) >>> 2] = flow;
  arena.u16[(slot + SLOT_EVENT) >>> 1] =
    (queue & EVENT_QUEUE_MASK) | ((op & EVENT_OP_MASK) << EVENT_OP_SHIFT) | ((tag & EVENT_TAG_MASK) << EVENT_TAG_SHIFT);
}

/** Reads it. */
export function readEvent(arena: Arena, slot: number): Required<Event> {
  const word = arena.u16[(slot + SLOT_EVENT) >>> 1] ?? 0;
  return {
    queue: word & EVENT_QUEUE_MASK,
    flow: arena.u32[(slot + SLOT_FLOW) >>> 2] ?? 0,
    op: (word >>> EVENT_OP_SHIFT) & EVENT_OP_MASK,
    tag: word >>> EVENT_TAG_SHIFT,
  };
}
