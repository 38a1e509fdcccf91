/** Bytes summed before the lanes are emptied: a lane takes two u16 a step, less 0x8000 each, and 2^14 steps fit an i32. */
const BLOCK_BYTES: u32 = 1 << 18;

/** Adds the carries of a ones' complement sum back in, until 16 bits are left. */
function fold(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return <u32>((sum & 0xffff) + (sum >> 16));
}

/**
 * The u16 of `vector`, each less 0x8000, added by twos. Machines multiply signed words and add the products in one instruction, and have
 * none that adds words without a sign: with it a sum takes three instructions for 16 bytes, not four.
 */
function pairs(vector: v128): v128 {
  return i32x4.dot_i16x8_s(v128.xor(vector, i16x8.splat(-0x8000)), i16x8.splat(1));
}

/** The sum of the u16 of `length` bytes, a multiple of 16, whose `pairs` were added up in `even` and `odd`. */
function sumLanes(even: v128, odd: v128, length: u32): u64 {
  const lanes = i32x4.add(even, odd);
  let sum: i64 = i32x4.extract_lane(lanes, 0);
  sum += i32x4.extract_lane(lanes, 1);
  sum += i32x4.extract_lane(lanes, 2);
  sum += i32x4.extract_lane(lanes, 3);
  return <u64>(sum + ((<i64>length) << 14));
}

/** Sum of the u16 of `length` bytes, a multiple of 16 up to BLOCK_BYTES, in the memory's byte order. */
function sumBlock(address: u32, length: u32): u64 {
  const end = address + length;
  let even = i32x4.splat(0);
  let odd = i32x4.splat(0);
  // Two sums, since one alone would wait for itself at each step.
  for (; address + 16 < end; address += 32) {
    even = i32x4.add(even, pairs(v128.load(address)));
    odd = i32x4.add(odd, pairs(v128.load(address, 16)));
  }
  if (address < end) even = i32x4.add(even, pairs(v128.load(address)));
  return sumLanes(even, odd, length);
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

/** The sum of the addresses of the IP header at `ip` and of the protocol, for TCP's and UDP's pseudo header. */
export function addressSum(ip: u32, isV4: bool, protocol: u32): u32 {
  if (!isV4) return checksum(ip + 8, 32, protocol);
  const addresses = fold(<u64>load<u32>(ip, 12) + load<u32>(ip, 16));
  return fold(<u64>bswap<u16>(<u16>addresses) + protocol);
}

/** Whether the checksum of the IPv4 header at `ip`, which has no options, is right: a sum of all ones is one in any byte order. */
export function isIpv4SumRight(ip: u32): bool {
  const rest: u64 = load<u32>(ip, 16);
  return fold(<u64>load<u32>(ip) + load<u32>(ip, 4) + load<u32>(ip, 8) + load<u32>(ip, 12) + rest) === 0xffff;
}

/** The sum of a part that starts at an odd place, from its sum as if it started at an even one: RFC 1071, 2 (B). */
export function oddSum(sum: u32): u32 {
  return bswap<u16>(<u16>sum);
}

/**
 * Copies `length` (0 to BLOCK_BYTES) bytes from `source` to `target`, which do not overlap, and returns their sum as
 * `checksum` does: each byte is loaded once.
 */
export function copyChecksum(target: u32, source: u32, length: u32): u32 {
  const end = source + (length & 0xfffffff0);
  let even = i32x4.splat(0);
  let odd = i32x4.splat(0);
  for (; source + 16 < end; source += 32) {
    const first = v128.load(source);
    const second = v128.load(source, 16);
    v128.store(target, first);
    v128.store(target, second, 16);
    even = i32x4.add(even, pairs(first));
    odd = i32x4.add(odd, pairs(second));
    target += 32;
  }
  if (source < end) {
    const last = v128.load(source);
    v128.store(target, last);
    even = i32x4.add(even, pairs(last));
    source += 16;
    target += 16;
  }
  let sum = sumLanes(even, odd, length & 0xfffffff0);
  for (let left = length & 15; left > 0; ) {
    if (left >= 2) {
      const word = load<u16>(source);
      store<u16>(target, word);
      sum += word;
      source += 2;
      target += 2;
      left -= 2;
    } else {
      const byte = load<u8>(source);
      store<u8>(target, byte);
      sum += byte;
      left = 0;
    }
  }
  return bswap<u16>(<u16>fold(sum));
}
