/** True for 1, 2, 4 … 2^31. */
export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= 0x80000000 && (value & (value - 1)) === 0;
}

/** The smallest power of two that is at least `value`. `value`: 1 to 2^31. */
export function nextPowerOfTwo(value: number): number {
  return value <= 1 ? 1 : 2 ** (32 - Math.clz32(value - 1));
}

/** `value` rounded up to a multiple of `align`, a power of two. Works past 2^31, where `&` would not. */
export function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
