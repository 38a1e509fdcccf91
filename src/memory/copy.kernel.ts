/**
 * Up to here vector moves beat memory.copy, which is a call out of WebAssembly: 64 bytes in 2–3 ns instead of 8. A frame
 * of 1,500 bytes takes as long either way, but its lines are then fetched beside those of the next frame.
 */
const VECTORS_MAX: u32 = 2048;

/** Up to here `copyFrame` copies without a call. */
const SHORT_MAX: u32 = 64;

/**
 * `copyBytes` for loops over a burst: a short frame, from 16 bytes on, is its two ends, which may overlap, without a loop or a
 * call. A store to a line that another core has waits in a queue of some 50, and such lines are fetched side by side as long
 * as few stores lie between them: the spills of a call are stores too. Small enough to be inlined.
 */
export function copyFrame(target: u32, source: u32, n: u32): void {
  if (n - 16 > SHORT_MAX - 16) {
    copyBytes(target, source, n);
    return;
  }
  const from = source + n - 32;
  const to = target + n - 32;
  v128.store(target, v128.load(source));
  if (n > 32) {
    v128.store(target, v128.load(source, 16), 16);
    v128.store(to, v128.load(from));
  }
  v128.store(to, v128.load(from, 16), 16);
}

/** Copies fewer than 16 bytes: two ends that overlap, or byte by byte. A header, or what a buffer had no room for. */
function copyEnds(target: u32, source: u32, n: u32): void {
  if (n >= 8) {
    const last = load<u64>(source + n - 8);
    store<u64>(target, load<u64>(source));
    store<u64>(target + n - 8, last);
  } else if (n >= 4) {
    const last = load<u32>(source + n - 4);
    store<u32>(target, load<u32>(source));
    store<u32>(target + n - 4, last);
  } else {
    for (let i: u32 = 0; i < n; i++) store<u8>(target + i, load<u8>(source + i));
  }
}

/** Copies `n` bytes; the ranges do not overlap. For frames. */
export function copyBytes(target: u32, source: u32, n: u32): void {
  if (n < 16) {
    copyEnds(target, source, n);
    return;
  }
  if (n > VECTORS_MAX) {
    memory.copy(target, source, n);
    return;
  }
  // Whole lines, whole vectors, then the last 16 bytes once more or for the first time: no branch on what is left.
  const last = n - 16;
  let at: u32 = 0;
  for (; at + 64 <= last; at += 64) {
    const a = v128.load(source + at);
    const b = v128.load(source + at, 16);
    const c = v128.load(source + at, 32);
    const d = v128.load(source + at, 48);
    v128.store(target + at, a);
    v128.store(target + at, b, 16);
    v128.store(target + at, c, 32);
    v128.store(target + at, d, 48);
  }
  for (; at < last; at += 16) v128.store(target + at, v128.load(source + at));
  v128.store(target + last, v128.load(source + last));
}
