/** Bytes summed before the lanes are emptied: a lane takes two u16 a step, and 2^17 of them fit a u32. */
const BLOCK_BYTES: u32 = 1 << 18;

/** Adds the carries of a ones' complement sum back in, until 16 bits are left. */
function fold(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return <u32>((sum & 0xffff) + (sum >> 16));
}

/** The four lanes of `lanes`, added. */
function sumLanes(lanes: v128): u64 {
  let sum: u64 = <u32>i32x4.extract_lane(lanes, 0);
  sum += <u32>i32x4.extract_lane(lanes, 1);
  sum += <u32>i32x4.extract_lane(lanes, 2);
  return sum + <u32>i32x4.extract_lane(lanes, 3);
}

/** Sum of the u16 of `length` bytes, a multiple of 16 up to BLOCK_BYTES, in the memory's byte order. */
function sumBlock(address: u32, length: u32): u64 {
  const end = address + length;
  let even = i32x4.splat(0);
  let odd = i32x4.splat(0);
  // Two sums, since one alone would wait for itself at each step.
  for (; address + 16 < end; address += 32) {
    even = i32x4.add(even, i32x4.extadd_pairwise_i16x8_u(v128.load(address)));
    odd = i32x4.add(odd, i32x4.extadd_pairwise_i16x8_u(v128.load(address, 16)));
  }
  if (address < end) even = i32x4.add(even, i32x4.extadd_pairwise_i16x8_u(v128.load(address)));
  return sumLanes(even) + sumLanes(odd);
}

/**
 * Ones' complement sum (RFC 1071) of `length` bytes at `address` and of `initial`, a sum of other parts: 0 to 65535,
 * the network's byte order taken as a number's. It is not complemented, so that sums of parts can be chained; only
 * the last part may have an odd length. The checksum to store is its complement; data that hold theirs sum to 65535.
 */
export function checksum(address: u32, length: u32, initial: u32): u32 {
  // Summed in the memory's byte order, and swapped once: RFC 1071, 2 (B).
  let sum: u64 = 0;
  while (length >= 16) {
    const block = min(length, BLOCK_BYTES) & 0xfffffff0;
    sum += sumBlock(address, block);
    address += block;
    length -= block;
  }
  if (length >= 8) {
    sum += load<u32>(address);
    sum += load<u32>(address, 4);
    address += 8;
    length -= 8;
  }
  for (; length >= 2; length -= 2) {
    sum += load<u16>(address);
    address += 2;
  }
  if (length > 0) sum += load<u8>(address);
  return fold(<u64>bswap<u16>(<u16>fold(sum)) + initial);
}
