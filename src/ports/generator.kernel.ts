import { fill } from '../memory/chain.kernel.ts';
import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  SLOT_BUFFER,
  SLOT_FLOW,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { alloc } from '../memory/pool.kernel.ts';
import {
  ALIAS_OTHER,
  ALIAS_SHIFT,
  ALIAS_THRESHOLD,
  ALIAS_VALUE,
  FLOW_IP_SUM,
  FLOW_L4_OFFSET,
  FLOW_L4_SUM,
  FLOW_PROTOCOL,
  FLOW_SHIFT,
  FLOW_TEMPLATE_BYTES,
  FLOW_VERSION,
  GENERATOR_FLOW_ALIAS,
  GENERATOR_FLOW_TABLE,
  GENERATOR_FLOWS,
  GENERATOR_RANDOM,
  GENERATOR_SIZE_ALIAS,
  GENERATOR_SIZES,
  GENERATOR_ZEROES,
} from './layout.ts';

const ETHERNET_BYTES: u32 = 14;
const PROTOCOL_UDP: u32 = 17;

function storeBig16(address: u32, value: u32): void {
  store<u16>(address, bswap<u16>(<u16>value));
}

/** The Internet checksum of words that sum up to `sum` (RFC 1071). */
function checksum(sum: u32): u32 {
  const once = (sum & 0xffff) + (sum >>> 16);
  return ~(once + (once >>> 16)) & 0xffff;
}

/** Picks an entry of an alias table of `n` entries with the upper and lower half of one random number. */
function pick(table: u32, n: u32, random: u64): u32 {
  const index = <u32>(((random >>> 32) * n) >>> 32);
  const entry = table + (index << ALIAS_SHIFT);
  return <u32>random < load<u32>(entry, ALIAS_THRESHOLD) ? index : load<u32>(entry, ALIAS_OTHER);
}

/** Copies the first `bytes` of a flow's template, rounded up to 16. */
function copyTemplate(frame: u32, flow: u32, bytes: u32): void {
  for (let at: u32 = 0; at < bytes; at += 16) v128.store(frame + at, v128.load(flow + at));
}

/** Fills in what depends on the frame's length: lengths and checksums, over a payload of zeroes. */
function finish(frame: u32, flow: u32, length: u32): void {
  const l4Offset = <u32>load<u8>(flow, FLOW_L4_OFFSET);
  const l4Length = length - l4Offset;
  if (load<u8>(flow, FLOW_VERSION) === 4) {
    const total = length - ETHERNET_BYTES;
    storeBig16(frame + 16, total);
    storeBig16(frame + 24, checksum(load<u32>(flow, FLOW_IP_SUM) + total));
  } else {
    storeBig16(frame + 18, l4Length);
  }
  const sum = load<u32>(flow, FLOW_L4_SUM) + l4Length;
  if (load<u8>(flow, FLOW_PROTOCOL) === PROTOCOL_UDP) {
    storeBig16(frame + l4Offset + 4, l4Length);
    const value = checksum(sum + l4Length);
    // 0 would mean "no checksum" (RFC 768).
    storeBig16(frame + l4Offset + 6, value === 0 ? 0xffff : value);
  } else {
    storeBig16(frame + l4Offset + 16, checksum(sum));
  }
}

/** Makes up to `max` packets at `slots`. Returns how many there were buffers for. */
export function generate(state: u32, cache: u32, slots: u32, max: u32): u32 {
  const n = alloc(cache, slots, max);
  const flows = load<u32>(state, GENERATOR_FLOWS);
  const sizes = load<u32>(state, GENERATOR_SIZES);
  const flowAlias = load<u32>(state, GENERATOR_FLOW_ALIAS);
  const sizeAlias = load<u32>(state, GENERATOR_SIZE_ALIAS);
  const flowTable = load<u32>(state, GENERATOR_FLOW_TABLE);
  let random = load<u64>(state, GENERATOR_RANDOM);
  let made: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    random ^= random >>> 12;
    random ^= random << 25;
    random ^= random >>> 27;
    const draw = random * 0x2545f4914f6cdd1d;
    const flowIndex = pick(flowAlias, flows, draw);
    const flow = flowTable + (flowIndex << FLOW_SHIFT);
    // The size takes the same draw with its halves swapped, when there is a choice at all.
    const size = sizes === 1 ? 0 : pick(sizeAlias, sizes, rotl<u64>(draw * 0x9e3779b97f4a7c15, 32));
    const length = load<u32>(sizeAlias + (size << ALIAS_SHIFT), ALIAS_VALUE);

    const slot = slots + (made << SLOT_SHIFT);
    if (made !== i) v128.store(slot, v128.load(slots + (i << SLOT_SHIFT)));
    const frame = load<u32>(slot, SLOT_BUFFER) + BUFFER_HEADROOM;
    if (length > BUFFER_FRAME_MAX) {
      if (fill(cache, slot, load<u32>(state, GENERATOR_ZEROES), length) === 0) continue;
    } else {
      store<u16>(slot, <u16>length, SLOT_LENGTH);
      if (length > FLOW_TEMPLATE_BYTES) {
        memory.fill(frame + FLOW_TEMPLATE_BYTES, 0, length - FLOW_TEMPLATE_BYTES);
      }
    }
    // No further than the frame: a 60-byte one then costs one cold cache line instead of two.
    copyTemplate(frame, flow, min(length, FLOW_TEMPLATE_BYTES));
    finish(frame, flow, length);
    store<u32>(slot, flowIndex + 1, SLOT_FLOW);
    made++;
  }
  store<u64>(state, random, GENERATOR_RANDOM);
  return made;
}
