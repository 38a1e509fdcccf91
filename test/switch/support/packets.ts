import fc from 'fast-check';

/** Bytes of an IP address, with few different values, so that prefixes and addresses meet. */
export const addressBytes = (length: 4 | 16): fc.Arbitrary<Uint8Array> =>
  fc
    .array(fc.constantFrom(0, 1, 10, 127, 128, 255), { minLength: length, maxLength: length })
    .map((bytes) => Uint8Array.from(bytes));

/** `bytes` with everything behind its first `length` bits cleared. */
export function masked(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, index) => byte & (0xff00 >>> Math.min(8, Math.max(0, length - index * 8))));
}

/** True when the first `length` bits of both are equal: bit by bit. */
export function sameBits(a: Uint8Array, b: Uint8Array, length: number): boolean {
  for (let bit = 0; bit < length; bit++) {
    const mask = 0x80 >>> (bit & 7);
    if (((a[bit >>> 3] ?? 0) & mask) !== ((b[bit >>> 3] ?? 0) & mask)) return false;
  }
  return true;
}
