/** Folds a sum of ones' complement to 32 bits: 0 only when it is of zeroes alone. */
function fold(sum: u64): u32 {
  const once = (sum & 0xffffffff) + (sum >> 32);
  return <u32>((once & 0xffffffff) + (once >> 32));
}

/** `sum` and the words at `address`, in ones' complement; bytes behind the last whole word are the start of one more. */
function add(address: u32, bytes: u32, sum: u32): u32 {
  let total = <u64>sum;
  const whole = bytes & ~3;
  for (let at: u32 = 0; at < whole; at += 4) total += load<u32>(address + at);
  for (let at = whole; at < bytes; at++) total += (<u64>load<u8>(address + at)) << (8 * (at & 3));
  return fold(total);
}

/**
 * bpf_csum_diff: what `seed` becomes when the bytes at `from` leave what it sums up, and those at `to` come in (RFC 1624,
 * RFC 1071). A sum of 16 bits, as Linux 6.13 and later give on all machines; of the two zeroes it is the same one.
 */
export function csumDiff(_ctx: u32, from: u32, fromBytes: u32, to: u32, toBytes: u32, seed: u32): i64 {
  let sum = toBytes === 0 ? seed : add(to, toBytes, seed);
  if (fromBytes !== 0) {
    // To take away is to add the complement, which Linux does in two ways that differ in the sign of 0.
    sum = toBytes === 0 ? ~add(from, fromBytes, ~seed) : fold(<u64>sum + <u64>~add(from, fromBytes, 0));
  }
  return (sum + ((sum << 16) | (sum >> 16))) >> 16;
}
