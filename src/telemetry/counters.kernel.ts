import { frameLength } from '../memory/chain.kernel.ts';
import { SLOT_FLAG_CHAINED, SLOT_FLAGS, SLOT_LENGTH, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import { COUNTER_DROPS, COUNTER_RX_BYTES, COUNTER_RX_PACKETS, COUNTER_TX_BYTES, COUNTER_TX_PACKETS } from './layout.ts';

/** Adds `n` to the u64 counter at `address`. Its lcore is its only writer. */
export function add(address: u32, n: u32): void {
  store<u64>(address, load<u64>(address) + n);
}

/** Counts `n` packets dropped for `reason` in the counters of a port at `counters`. */
export function countDrop(counters: u32, reason: u32, n: u32): void {
  add(counters + COUNTER_DROPS + (reason << 3), n);
}

/** Bytes of `n` frames at `slots`. */
export function burstBytes(slots: u32, n: u32): u32 {
  let bytes: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    bytes += load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED ? frameLength(slot) : <u32>load<u16>(slot, SLOT_LENGTH);
  }
  return bytes;
}

/** Counts `n` packets at `slots` as received by port `port`, and notes in each slot where it came from. */
export function countRx(counters: u32, slots: u32, n: u32, port: u32): void {
  for (let i: u32 = 0; i < n; i++) store<u8>(slots + (i << SLOT_SHIFT), <u8>port, SLOT_PORT);
  add(counters + COUNTER_RX_PACKETS, n);
  add(counters + COUNTER_RX_BYTES, burstBytes(slots, n));
}

/** Counts `n` sent packets of `bytes` bytes: measured before sending, since they are gone afterwards. */
export function countTx(counters: u32, n: u32, bytes: u32): void {
  add(counters + COUNTER_TX_PACKETS, n);
  add(counters + COUNTER_TX_BYTES, bytes);
}
