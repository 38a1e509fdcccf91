import { fail } from './maps/key.kernel.ts';
import { ERRNO_INVAL } from './maps/layout.ts';

/** Folds a sum of ones' complement to 32 bits. */
function fold(sum: u64): u64 {
  const once = (sum & 0xffffffff) + (sum >> 32);
  return (once & 0xffffffff) + (once >> 32);
}

/** The sum of the words at `address`, in ones' complement; `flip` 0xffffffff takes each away instead. */
function sumWords(address: u32, bytes: u32, flip: u32): u64 {
  let sum: u64 = 0;
  for (let at: u32 = 0; at < bytes; at += 4) sum += load<u32>(address + at) ^ flip;
  return fold(sum);
}

/**
 * bpf_csum_diff: what `seed` becomes when the bytes at `from` leave what it sums up, and those at `to` come in (RFC 1624,
 * RFC 1071). A sum of 16 bits, as Linux 6.13 and later give on all machines. -EINVAL when a size is no multiple of 4.
 */
export function csumDiff(_ctx: u32, from: u32, fromBytes: u32, to: u32, toBytes: u32, seed: u32): i64 {
  if ((fromBytes | toBytes) & 3) return fail(ERRNO_INVAL);
  const sum = fold(<u64>seed + sumWords(from, fromBytes, 0xffffffff) + sumWords(to, toBytes, 0));
  const half = (sum & 0xffff) + (sum >> 16);
  return (half & 0xffff) + (half >> 16);
}
