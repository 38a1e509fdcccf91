import { SLOT_SHIFT } from '../memory/layout.ts';

/** Copies `n` slots, 16 bytes each. Ranges do not overlap. */
export function copySlots(target: u32, source: u32, n: u32): void {
  const end = source + (n << SLOT_SHIFT);
  // Four at a time: a short memory.copy costs a call out of WebAssembly, more than a burst's moves.
  while (source + 48 < end) {
    const a = v128.load(source);
    const b = v128.load(source, 16);
    const c = v128.load(source, 32);
    const d = v128.load(source, 48);
    v128.store(target, a);
    v128.store(target, b, 16);
    v128.store(target, c, 32);
    v128.store(target, d, 48);
    source += 64;
    target += 64;
  }
  while (source < end) {
    v128.store(target, v128.load(source));
    source += 16;
    target += 16;
  }
}

/** Copies `n` slots at `source` to the ring places that start at `index`. */
export function copySlotsIn(slots: u32, size: u32, index: u32, source: u32, n: u32): void {
  const at = index & (size - 1);
  const first = min(n, size - at);
  copySlots(slots + (at << SLOT_SHIFT), source, first);
  if (first < n) copySlots(slots, source + (first << SLOT_SHIFT), n - first);
}

/** Copies `n` slots from the ring places that start at `index` to `target`. */
export function copySlotsOut(slots: u32, size: u32, index: u32, target: u32, n: u32): void {
  const at = index & (size - 1);
  const first = min(n, size - at);
  copySlots(target, slots + (at << SLOT_SHIFT), first);
  if (first < n) copySlots(target + (first << SLOT_SHIFT), slots, n - first);
}
