import { SLOT_SHIFT } from '../memory/layout.ts';
import { mpscRingBytes } from '../ring/ring.ts';
import { alignUp, nextPowerOfTwo } from '../util/bits.ts';
import { CREDITS_MAX, EVDEV_BYTES, EVOUTPUT_SHIFT, EVPORT_OUTPUTS, SAMPLE_EVENTS } from './layout.ts';
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
  readonly portBytes: number;
  readonly tableBytes: number;
}

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
  return {
    credits,
    lanes,
    ringSlots,
    controlSlots,
    paused,
    stash,
    rings: levels.map((_, level) => ring + ringBytes * level),
    control,
    // Output buffers are aligned to their size.
    portBytes: alignUp(control + mpscRingBytes(controlSlots), 1 << EVOUTPUT_SHIFT),
    tableBytes: queues.length << flowHashBits,
  };
}

/** Bytes that a device's regions take in an arena, alignment and guards included. */
export function eventDeviceBytes(options: EventDeviceOptions): number {
  const checked = checkOptions(options);
  const { portBytes, tableBytes } = sizesOf(checked);
  return EVDEV_BYTES + tableBytes + portBytes * checked.ports.length + 2 * 256 + (1 << EVOUTPUT_SHIFT);
}
