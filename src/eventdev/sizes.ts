import { SLOT_SHIFT } from '../memory/layout.ts';
import { mpscRingBytes } from '../ring/ring.ts';
import { alignUp, nextPowerOfTwo } from '../util/bits.ts';
import {
  CREDITS_MAX,
  EVDEV_BYTES,
  EVOUTPUT_SHIFT,
  EVPORT_OUTPUTS,
  ORDERED_PLACES,
  PLACE_SHIFT,
  SAMPLE_EVENTS,
} from './layout.ts';
import { type CheckedOptions, checkOptions, type EventDeviceOptions } from './options.ts';

/** Messages that one other port may have on their way to a port. */
const CONTROL_PER_PORT = 4;

/** Sizes of a device's parts, in bytes unless they say otherwise, that follow from its options. */
export interface Sizes {
  readonly credits: number;
  /** Event rings of all ports and levels. */
  readonly lanes: number;
  /** Places of an event ring, and of a control ring. */
  readonly ringSlots: number;
  readonly controlSlots: number;
  /** Where a port's parts begin, from its block on; its event rings by level. */
  readonly paused: number;
  readonly stash: number;
  readonly rings: readonly number[];
  readonly control: number;
  /** Its FIFO of what it sends to itself, and how large that is: 0 when there is none. */
  readonly local: number;
  readonly localBytes: number;
  readonly portBytes: number;
  readonly tableBytes: number;
  /** Places of an ordered queue's ring, and of the ring of what a port holds; bytes of either; and of all. 0 without one. */
  readonly places: number;
  readonly orderedRingBytes: number;
  readonly heldBytes: number;
  readonly orderedBytes: number;
}

/** The sizes of a device of these options. */
export function sizesOf({ ports, queues, levels, newEventsLimit, flowHashBits }: CheckedOptions): Sizes {
  const credits = Math.max(newEventsLimit, ports.length * CREDITS_MAX);
  const lanes = ports.length * levels.length;
  // Places for all events there can be, and behind the tail for the sample and for what TAIL_LAG hides.
  const ringSlots = nextPowerOfTwo(credits + SAMPLE_EVENTS);
  const controlSlots = nextPowerOfTwo(Math.max(2, (ports.length - 1) * CONTROL_PER_PORT));
  const paused = alignUp(EVPORT_OUTPUTS + (lanes << EVOUTPUT_SHIFT), 128);
  const stash = paused + (credits << SLOT_SHIFT);
  const ringBytes = alignUp(mpscRingBytes(ringSlots), 128);
  const ring = alignUp(stash + (credits << SLOT_SHIFT), 128);
  const control = ring + ringBytes * levels.length;
  const ordered = queues.filter(({ schedule }) => schedule === 'ordered').length;
  const local = alignUp(control + mpscRingBytes(controlSlots), 1 << EVOUTPUT_SHIFT);
  // As a ring's: one event less than there are slots at most, so that a full FIFO is none that is empty.
  const localSlots = levels.length > 1 || ordered > 0 ? 0 : credits + SAMPLE_EVENTS + 1;
  const localBytes = alignUp(localSlots << SLOT_SHIFT, 1 << EVOUTPUT_SHIFT);
  const places = ordered === 0 ? 0 : nextPowerOfTwo(credits);
  const orderedRingBytes = ORDERED_PLACES + (places << PLACE_SHIFT);
  const heldBytes = alignUp(places * 4, 128);
  return {
    credits,
    lanes,
    ringSlots,
    controlSlots,
    paused,
    stash,
    rings: levels.map((_, level) => ring + ringBytes * level),
    control,
    local,
    localBytes,
    // Output buffers are aligned to their size.
    portBytes: local + localBytes,
    tableBytes: queues.length << flowHashBits,
    places,
    orderedRingBytes,
    heldBytes,
    orderedBytes: ordered === 0 ? 0 : orderedRingBytes * ordered + heldBytes * ports.length,
  };
}

/** Bytes that a device's regions take in an arena, alignment and guards included. */
export function eventDeviceBytes(options: EventDeviceOptions): number {
  const checked = checkOptions(options);
  const { portBytes, tableBytes, orderedBytes } = sizesOf(checked);
  const bytes = EVDEV_BYTES + tableBytes + portBytes * checked.ports.length + orderedBytes;
  return bytes + 3 * 256 + (1 << EVOUTPUT_SHIFT);
}
