import {
  CTX_BYTES,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_MD_BYTES,
  CTX_RANGE_COUNT,
  CTX_RANGES,
  CTX_STACK,
  RANGE_ADDRESS,
  RANGE_BYTES,
  RANGE_MAP,
  RANGE_SHIFT,
  RANGE_WRITABLE,
} from './layout.ts';

/** True when the `bytes` bytes at `address` lie in those from `start` to `end`. No sum wraps. */
function isInside(address: u64, bytes: u64, start: u64, end: u64): bool {
  return address >= start && address <= end && bytes <= end - address;
}

/**
 * 1 when a program may read (`writable` 0) or write (1) all of the `bytes` bytes at `address`: they lie in the packet, the
 * stack, the words of struct xdp_md (to read only), or in one range of CTX_RANGES.
 */
export function reach(ctx: u32, address: u64, bytes: u64, writable: u32): u32 {
  if (isInside(address, bytes, load<u32>(ctx, CTX_DATA_META), load<u32>(ctx, CTX_DATA_END))) return 1;
  const base = <u64>ctx;
  if (isInside(address, bytes, base + CTX_STACK, base + CTX_BYTES)) return 1;
  if (writable === 0 && isInside(address, bytes, base, base + CTX_MD_BYTES)) return 1;
  let range = load<u32>(ctx, CTX_RANGES);
  for (let left = load<u32>(ctx, CTX_RANGE_COUNT); left !== 0; left--) {
    const start = <u64>load<u32>(range, RANGE_ADDRESS);
    if (isInside(address, bytes, start, start + load<u32>(range, RANGE_BYTES))) {
      if (writable === 0 || load<u32>(range, RANGE_WRITABLE) !== 0) return 1;
    }
    range += 1 << RANGE_SHIFT;
  }
  return 0;
}

/** 1 when `map` is the address of one of the program's maps. */
export function reachMap(ctx: u32, map: u64): u32 {
  let range = load<u32>(ctx, CTX_RANGES);
  for (let left = load<u32>(ctx, CTX_RANGE_COUNT); left !== 0; left--) {
    if (<u64>load<u32>(range, RANGE_MAP) === map) return 1;
    range += 1 << RANGE_SHIFT;
  }
  return 0;
}
