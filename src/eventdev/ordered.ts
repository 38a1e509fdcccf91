import type { Arena } from '../memory/arena.ts';
import {
  EVDEV_ORDERED_RINGS,
  ORDERED_DRAIN,
  ORDERED_HEAD,
  ORDERED_MASK,
  ORDERED_PLACES,
  PLACE_DONE,
  PLACE_EVENT,
  PLACE_HELD,
  PLACE_HOLDER_SHIFT,
  PLACE_READY,
  PLACE_SHIFT,
  PLACE_STATE,
  QUEUES_MAX,
} from './layout.ts';

/** How an ordered queue stands. */
export interface OrderedStatus {
  readonly queue: number;
  /** Events in it: that wait, that applications hold, and that are finished behind one that is not. */
  readonly events: number;
  /** The port whose application holds the first of them, so that none behind it can leave; undefined when none does. */
  readonly waitsFor: number | undefined;
}

function wordOf(arena: Arena, address: number): number {
  return Atomics.load(arena.u32, address >>> 2);
}

function placeOf(arena: Arena, ring: number, index: number): number {
  return ring + ORDERED_PLACES + ((index & wordOf(arena, ring + ORDERED_MASK)) << PLACE_SHIFT);
}

/** Empties a ring of `places` places. */
export function resetOrdered(arena: Arena, ring: number, places: number): void {
  arena.u8.fill(0, ring, ring + ORDERED_PLACES + (places << PLACE_SHIFT));
  arena.u32[(ring + ORDERED_MASK) >>> 2] = places - 1;
}

/** Slots of the events that wait in a ring, for a port or to be sent on, in their order. */
export function* orderedEvents(arena: Arena, ring: number): Generator<number> {
  const head = wordOf(arena, ring + ORDERED_HEAD);
  for (let index = wordOf(arena, ring + ORDERED_DRAIN); index !== head; index = (index + 1) >>> 0) {
    const place = placeOf(arena, ring, index);
    const state = wordOf(arena, place + PLACE_STATE);
    if (state === PLACE_READY || state === PLACE_DONE) yield place + PLACE_EVENT;
  }
}

/** As `EventDevice.orderedQueues`. */
export function orderedStatus(arena: Arena, device: number): OrderedStatus[] {
  const found: OrderedStatus[] = [];
  for (let queue = 0; queue < QUEUES_MAX; queue++) {
    const ring = wordOf(arena, device + EVDEV_ORDERED_RINGS + queue * 4);
    if (ring === 0) continue;
    const first = wordOf(arena, ring + ORDERED_DRAIN);
    const state = wordOf(arena, placeOf(arena, ring, first) + PLACE_STATE);
    const isHeld = (state & ((1 << PLACE_HOLDER_SHIFT) - 1)) === PLACE_HELD;
    found.push({
      queue,
      events: (wordOf(arena, ring + ORDERED_HEAD) - first) >>> 0,
      waitsFor: isHeld ? state >>> PLACE_HOLDER_SHIFT : undefined,
    });
  }
  return found;
}
