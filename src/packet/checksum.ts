/*
 * The Internet checksum for the control plane; `checksum.kernel.ts` is the fast one. A *sum* is folded to 16 bits and
 * not complemented, so that sums of parts can be chained; a *checksum* is what a header holds: its complement.
 */

/** Adds the carries of a ones' complement sum back in. `sum`: 0 to 2^53. Returns 0 to 65535. */
function fold(sum: number): number {
  let rest = sum;
  while (rest > 0xffff) rest = Math.floor(rest / 65536) + (rest % 65536);
  return rest;
}

/**
 * Ones' complement sum (RFC 1071) of `length` bytes from index `at` and of `initial`, a sum of other parts. Only the
 * last part may have an odd length. Returns 0 to 65535; data that hold their checksum sum to 65535.
 */
export function internetSum(bytes: Uint8Array, at: number, length: number, initial = 0): number {
  let sum = initial;
  const end = at + length;
  let i = at;
  for (; i + 1 < end; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  if (i < end) sum += (bytes[i] ?? 0) * 256;
  return fold(sum);
}

/** The checksum to store for `length` bytes from index `at`, in which its own field is 0. */
export function internetChecksum(bytes: Uint8Array, at: number, length: number, initial = 0): number {
  return internetSum(bytes, at, length, initial) ^ 0xffff;
}

/**
 * Sum of the pseudo header of TCP, UDP and ICMPv6 (RFC 9293 3.1, RFC 8200 8.1), to be passed as `initial`.
 * @param addresses source and destination, as they lie in the IP header: 8 or 32 bytes.
 * @param length bytes of the upper layer's header and data.
 */
export function pseudoHeaderSum(addresses: Uint8Array, protocol: number, length: number): number {
  return internetSum(addresses, 0, addresses.length, protocol + Math.floor(length / 65536) + (length % 65536));
}

/** The checksum of a header in which the u16 `before` became `after` (RFC 1624, equation 3). */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return fold((checksum ^ 0xffff) + (before ^ 0xffff) + after) ^ 0xffff;
}

/** `updateChecksum` for a u32: an IPv4 address, a sequence number. */
export function updateChecksum32(checksum: number, before: number, after: number): number {
  const upper = updateChecksum(checksum, before >>> 16, after >>> 16);
  return updateChecksum(upper, before & 0xffff, after & 0xffff);
}
