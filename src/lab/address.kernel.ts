import { translate } from '../virtio/translate.kernel.ts';

/** Translates the `n` guest addresses (u64 each) at `addresses`, of `length` bytes each. Returns something of all of them. */
export function checked(regions: u32, addresses: u32, n: u32, length: u32): u32 {
  let all: u32 = 0;
  for (let i: u32 = 0; i < n; i++) all ^= translate(regions, load<u64>(addresses + (i << 3)), length);
  return all;
}

/** The same without looking whether they lie anywhere: `offset` is added to each. */
export function unchecked(offset: u32, addresses: u32, n: u32, length: u32): u32 {
  let all: u32 = 0;
  for (let i: u32 = 0; i < n; i++) all ^= <u32>load<u64>(addresses + (i << 3)) + offset + (length >> 31);
  return all;
}
