import { SLOT_BUFFER, SLOT_SHIFT } from '../memory/layout.ts';
import { alloc } from '../memory/pool.kernel.ts';
import { WIRE_HEAD, WIRE_MASK, WIRE_SLOTS } from './layout.ts';

/**
 * What a network interface's driver does to receive: takes up to `max` packets from a ring of descriptors, whose buffers
 * hold frames already, and posts a buffer of the pool in the place of each. Returns how many; fewer when the pool is empty.
 */
export function wireReceive(wire: u32, cache: u32, slots: u32, max: u32): u32 {
  const mask = load<u32>(wire, WIRE_MASK);
  const head = load<u32>(wire, WIRE_HEAD);
  const n = alloc(cache, slots, max);
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const buffer = load<u32>(slot, SLOT_BUFFER);
    const descriptor = wire + WIRE_SLOTS + (((head + i) & mask) << SLOT_SHIFT);
    v128.store(slot, v128.load(descriptor));
    store<u32>(descriptor, buffer, SLOT_BUFFER);
  }
  store<u32>(wire, head + n, WIRE_HEAD);
  return n;
}
