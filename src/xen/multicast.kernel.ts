// Multicast addresses that a frontend wants (feature-multicast-control): each of its queues tells, and whoever sends to it looks.

import { frameAddress } from '../packet/headers.kernel.ts';
import { EXTRA_TYPE_MCAST_ADD, EXTRA_TYPE_MCAST_DEL } from './layout.ts';
import { MCAST_MAX, PACKET_EXTRA_TYPES, PACKET_MCAST_ADD, PACKET_MCAST_DEL, VIFQ_MCAST } from './queue-layout.ts';

/** Of a word: it holds an address, the first byte in the lowest bits. */
const USED: u64 = 1 << 48;
const BROADCAST: u64 = 0xffffffffffff;

/** The address at `at`, six bytes. */
function addressAt(at: u32): u64 {
  return <u64>load<u32>(at) | ((<u64>load<u16>(at + 4)) << 32);
}

function has(table: u32, address: u64): bool {
  for (let i: u32 = 0; i < MCAST_MAX; i++) if (atomic.load<u64>(table + (i << 3)) === (address | USED)) return true;
  return false;
}

function add(table: u32, address: u64): bool {
  if (has(table, address)) return true;
  for (let i: u32 = 0; i < MCAST_MAX; i++) {
    if (atomic.cmpxchg<u64>(table + (i << 3), 0, address | USED) === 0) return true;
  }
  return false;
}

/** Two queues may have added one address at once: all of it goes. */
function remove(table: u32, address: u64): void {
  for (let i: u32 = 0; i < MCAST_MAX; i++) atomic.cmpxchg<u64>(table + (i << 3), address | USED, 0);
}

/** Does what the extra information of `packet` says of multicast addresses. Returns false when there is no room for one more. */
export function tellMulticast(queue: u32, packet: u32): bool {
  const table = load<u32>(queue, VIFQ_MCAST);
  const types = load<u32>(packet, PACKET_EXTRA_TYPES);
  if (types & (1 << EXTRA_TYPE_MCAST_DEL)) remove(table, addressAt(packet + PACKET_MCAST_DEL));
  return (types & (1 << EXTRA_TYPE_MCAST_ADD)) === 0 || add(table, addressAt(packet + PACKET_MCAST_ADD));
}

/** True when the frontend, which says what it wants, wants the packet at `slot`: what is not multicast, or broadcast, it always does. */
export function wantsMulticast(queue: u32, slot: u32): bool {
  const table = load<u32>(queue, VIFQ_MCAST);
  const address = addressAt(frameAddress(slot));
  return (address & 1) === 0 || address === BROADCAST || has(table, address);
}
