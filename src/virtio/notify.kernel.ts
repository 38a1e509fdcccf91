import {
  PVIRTQ_EVENT_SUPPRESS,
  PVIRTQ_EVENT_SUPPRESS_BYTES,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  VIRTQ_AREA_FLAGS,
  VIRTQ_AREA_IDX,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_OWN_AREA,
  VQ_OWN_EVENT,
  VQ_PEER_AREA,
  VQ_PEER_EVENT,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import { isLogged, logBytes } from './log.kernel.ts';
import { isReady } from './packed.kernel.ts';
import { hasEventIdx, isBroken, takeGiven } from './state.kernel.ts';

// Both sides ask and are asked in the same way, with their areas exchanged: 2.6.7 is 2.6.10 from the other side.

/** 1 when what was given since the last call calls for a notification, else 0. Split, both sides. */
export function splitNeedsNotify(queue: u32): u32 {
  const given = takeGiven(queue);
  if (given === 0 || isBroken(queue)) return 0;
  if (!hasEventIdx(queue)) {
    // NO_NOTIFY of the used area (2.6.10) is the same bit.
    return atomic.load<u16>(load<u32>(queue, VQ_PEER_AREA), VIRTQ_AREA_FLAGS) & <u16>VIRTQ_AVAIL_F_NO_INTERRUPT ? 0 : 1;
  }
  // 2.6.7, 2.6.10: when the entry that the event word names is among those given.
  const event = <u32>atomic.load<u16>(load<u32>(queue, VQ_PEER_EVENT));
  return ((load<u32>(queue, VQ_GIVE) - event - 1) & 0xffff) < given ? 1 : 0;
}

/**
 * Asks the peer to notify (`wanted` 1) or not to (0). Returns 1 when it is wanted and there is something to take already:
 * the peer may have looked before it was asked. Split, both sides.
 */
export function splitSetNotify(queue: u32, wanted: u32): u32 {
  let word = load<u32>(queue, VQ_OWN_AREA) + VIRTQ_AREA_FLAGS;
  const next = load<u32>(queue, VQ_TAKE);
  if (hasEventIdx(queue)) {
    word = load<u32>(queue, VQ_OWN_EVENT);
    // 2.6.7: the flags stay 0 then. The entry before the next one will not be given for another 2^16.
    atomic.store<u16>(word, <u16>(wanted ? next : next - 1));
  } else {
    atomic.store<u16>(word, <u16>(wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT));
  }
  if (isLogged(queue)) logBytes(queue, word, 2);
  if (!wanted || isBroken(queue)) return 0;
  return <u32>atomic.load<u16>(load<u32>(queue, VQ_PEER_AREA), VIRTQ_AREA_IDX) === next ? 0 : 1;
}

/** 1 when what was given since the last call calls for a notification, else 0. Packed, both sides. */
export function packedNeedsNotify(queue: u32): u32 {
  const given = takeGiven(queue);
  if (given === 0 || isBroken(queue)) return 0;
  const word = atomic.load<u32>(load<u32>(queue, VQ_PEER_AREA), PVIRTQ_EVENT_SUPPRESS);
  const flags = (word >> 16) & 3;
  if (flags === RING_EVENT_FLAGS_DISABLE) return 0;
  if (flags !== RING_EVENT_FLAGS_DESC || !hasEventIdx(queue)) return 1;
  // 2.7.10, 2.7.14: when the place named is among those given. Of the other wrap counter, it is of the lap before.
  const give = <i32>load<u32>(queue, VQ_GIVE);
  const sameLap = (word >> 15) & 1 ? load<u32>(queue, VQ_GIVE_WRAP) === 1 : load<u32>(queue, VQ_GIVE_WRAP) === 0;
  const event = <i32>(word & 0x7fff) - (sameLap ? 0 : <i32>load<u32>(queue, VQ_SIZE));
  return event < give && event >= give - <i32>given ? 1 : 0;
}

/**
 * Asks the peer to notify (`wanted` 1) or not to (0). Returns 1 when it is wanted and there is something to take already:
 * the peer may have looked before it was asked. Packed, both sides.
 */
export function packedSetNotify(queue: u32, wanted: u32): u32 {
  let word: u32 = wanted ? 0 : RING_EVENT_FLAGS_DISABLE << 16;
  if (wanted && hasEventIdx(queue)) {
    word = load<u32>(queue, VQ_TAKE) | (load<u32>(queue, VQ_TAKE_WRAP) << 15) | (RING_EVENT_FLAGS_DESC << 16);
  }
  atomic.store<u32>(load<u32>(queue, VQ_OWN_AREA), word, PVIRTQ_EVENT_SUPPRESS);
  if (isLogged(queue)) logBytes(queue, load<u32>(queue, VQ_OWN_AREA), PVIRTQ_EVENT_SUPPRESS_BYTES);
  return wanted && !isBroken(queue) && isReady(queue) ? 1 : 0;
}
