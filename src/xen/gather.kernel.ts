// Packets out of a ring's slots: of requests at the backend, of responses at the frontend.

import { NETRING_TAKE, PACKET_SLOTS_FATAL } from './layout.ts';
import {
  GATHER_PACKETS,
  GATHER_PACKETS_MAX,
  GATHER_PACKETS_USED,
  GATHER_PIECES,
  GATHER_PIECES_USED,
  PACKET_PIECE,
  PACKET_PIECES,
  PACKET_SHIFT,
  PACKET_SIZE,
  PIECE_SHIFT,
} from './queue-layout.ts';
import { latch, unconsumed } from './ring.kernel.ts';
import { takeRxPacket } from './rx-packet.kernel.ts';
import { takeTxPacket } from './tx-packet.kernel.ts';

/** Makes a packet's 64 bytes zero: memory.fill is a call out of WebAssembly, and took a quarter of a gathering's time. */
function clear(packet: u32): void {
  const zero = i64x2.splat(0);
  v128.store(packet, zero);
  v128.store(packet, zero, 16);
  v128.store(packet, zero, 32);
  v128.store(packet, zero, 48);
}

function gatherPackets(ring: u32, gather: u32, max: u32, pieces: u32, credit: u32, ofRequests: bool): u32 {
  assert(max <= GATHER_PACKETS_MAX);
  let available = unconsumed(ring);
  let packets: u32 = 0;
  let used: u32 = 0;
  // The copy of a slot lies behind the counts.
  const scratch = gather + 16;
  while (available > 0 && packets < max && used + PACKET_SLOTS_FATAL <= pieces) {
    if (credit !== 0 && load<i32>(credit) <= 0) break;
    const packet = gather + GATHER_PACKETS + (packets << PACKET_SHIFT);
    const first = gather + GATHER_PIECES + (used << PIECE_SHIFT);
    const before = load<u32>(ring, NETRING_TAKE);
    clear(packet);
    store<u32>(packet, used, PACKET_PIECE);
    const code = ofRequests
      ? takeTxPacket(ring, packet, first, available, scratch)
      : takeRxPacket(ring, packet, first, available, scratch);
    if (code !== 0) {
      latch(ring, code);
      break;
    }
    available -= load<u32>(ring, NETRING_TAKE) - before;
    used += load<u32>(packet, PACKET_PIECES);
    if (credit !== 0) store<i32>(credit, load<i32>(credit) - load<i32>(packet, PACKET_SIZE));
    packets++;
  }
  store<u32>(gather, packets, GATHER_PACKETS_USED);
  store<u32>(gather, used, GATHER_PIECES_USED);
  return packets;
}

/**
 * Takes up to `max` (32 at most) packets of requests from `ring` into `gather`, `pieces` pieces in all at most. A packet that
 * breaks a rule of the protocol breaks the ring, and is not among them; one that is only wrong is, as PACKET_BAD. None is taken when
 * the i32 at `credit` is not above 0, and each is as many bytes less there; 0 when nothing limits them. Returns how many.
 */
export function txGather(ring: u32, gather: u32, max: u32, pieces: u32, credit: u32): u32 {
  return gatherPackets(ring, gather, max, pieces, credit, true);
}

/**
 * The same with responses. A packet's extra information stands in the slots behind its first piece's. Returns how many.
 */
export function rxGather(ring: u32, gather: u32, max: u32, pieces: u32): u32 {
  return gatherPackets(ring, gather, max, pieces, 0, false);
}
