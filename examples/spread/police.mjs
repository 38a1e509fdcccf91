/*
 * A stage that polices flows: each may send `rate` packets a second, `burst` of them at once; the others go no further.
 *
 * What is known of the flows lies in the stage's memory, which all workers share. A flow is at one worker at a time, so that
 * nobody else writes to its place meanwhile, and the worker that the flow moves to goes on with what it finds there.
 */
const SLOT_BYTES = 16;
/** Word of a slot that has the flow's hash. */
const FLOW_WORD = 2;
/** Of a flow: packets that it may send now, and when that was counted, in seconds; f32 and f64. */
const FLOW_BYTES = 16;
const TOKENS_WORD = 0;
const SEEN_DOUBLE = 1;

export default function police({ arena, memory }, { rate, burst }) {
  const { u8, u32 } = arena;
  const places = memory.bytes / FLOW_BYTES;
  const tokens = new Float32Array(u8.buffer, memory.address, memory.bytes / 4);
  const seen = new Float64Array(u8.buffer, memory.address, memory.bytes / 8);
  const dropped = new Uint8Array(32 * SLOT_BYTES);

  /** True when the flow may send a packet now. */
  function mayPass(flow, now) {
    const place = flow % places;
    const at = place * 4 + TOKENS_WORD;
    const seenAt = place * 2 + SEEN_DOUBLE;
    const left = seen[seenAt] === 0 ? burst : Math.min(burst, tokens[at] + (now - seen[seenAt]) * rate);
    seen[seenAt] = now;
    tokens[at] = left < 1 ? left : left - 1;
    return left >= 1;
  }

  return {
    handle(slots, count) {
      const now = Date.now() / 1000;
      let kept = 0;
      let drops = 0;
      for (let i = 0; i < count; i++) {
        const slot = slots + i * SLOT_BYTES;
        if (mayPass(u32[slot / 4 + FLOW_WORD], now)) {
          u8.copyWithin(slots + kept * SLOT_BYTES, slot, slot + SLOT_BYTES);
          kept++;
        } else {
          dropped.set(u8.subarray(slot, slot + SLOT_BYTES), drops * SLOT_BYTES);
          drops++;
        }
      }
      // Whoever goes on comes first; the rest are dropped.
      u8.set(dropped.subarray(0, drops * SLOT_BYTES), slots + kept * SLOT_BYTES);
      return kept;
    },
  };
}
