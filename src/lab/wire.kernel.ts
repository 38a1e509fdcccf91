import { SLOT_BUFFER, SLOT_SHIFT } from '../memory/layout.ts';
import { allocBuffer } from '../memory/pool.kernel.ts';
import { WIRE_HEAD, WIRE_MASK, WIRE_SLOTS } from './layout.ts';

/**
 * What a network interface's driver does to receive: takes up to `max` packets from a ring of descriptors, whose buffers
 * hold frames already, and posts a buffer of the pool in the place of each. Returns how many; fewer when the pool is empty.
 */
export function wireReceive(wire: u32, cache: u32, slots: u32, max: u32): u32 {
  const mask = load<u32>(wire, WIRE_MASK);
  const head = load<u32>(wire, WIRE_HEAD);
  let n: u32 = 0;
  for (; n < max; n++) {
    const buffer = allocBuffer(cache);
    if (buffer === 0) break;
    const descriptor = wire + WIRE_SLOTS + (((head + n) & mask) << SLOT_SHIFT);
    v128.store(slots + (n << SLOT_SHIFT), v128.load(descriptor));
    store<u32>(descriptor, buffer, SLOT_BUFFER);
  }
  store<u32>(wire, head + n, WIRE_HEAD);
  return n;
}
