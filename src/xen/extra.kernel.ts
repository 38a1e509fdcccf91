import {
  EXTRA_BYTES,
  EXTRA_F_MORE,
  EXTRA_FLAGS,
  EXTRA_TYPE,
  EXTRA_TYPE_GSO,
  EXTRA_TYPE_HASH,
  EXTRA_TYPE_MAX,
  EXTRA_TYPE_MCAST_ADD,
  EXTRA_TYPE_MCAST_DEL,
  EXTRA_TYPE_XDP,
  GSOINFO_SIZE,
  GSOINFO_TYPE,
  GSOINFO_TYPE_TCPV4,
  GSOINFO_TYPE_TCPV6,
  HASHINFO_ALGORITHM,
  HASHINFO_TYPE,
  HASHINFO_VALUE,
  MCASTINFO_MAC,
  NETRING_BROKEN_EXTRA,
  NETRING_BROKEN_GSO,
  NETRING_BROKEN_SHORT,
  NETRING_TAKE,
  XDPINFO_HEADROOM,
} from './layout.ts';
import {
  PACKET_EXTRA_TYPES,
  PACKET_EXTRAS,
  PACKET_GSO_SIZE,
  PACKET_GSO_TYPE,
  PACKET_HASH_ALGORITHM,
  PACKET_HASH_TYPE,
  PACKET_HASH_VALUE,
  PACKET_MCAST_ADD,
  PACKET_MCAST_DEL,
  PACKET_XDP_HEADROOM,
} from './queue-layout.ts';
import { copySlot, slotAt } from './ring.kernel.ts';

/** Keeps what the copy at `extra` says. Returns 0 or a NETRING_BROKEN_…. */
function read(packet: u32, extra: u32): u32 {
  const type = <u32>load<u8>(extra, EXTRA_TYPE);
  if (type === 0 || type >= EXTRA_TYPE_MAX) return NETRING_BROKEN_EXTRA;
  store<u32>(packet, load<u32>(packet, PACKET_EXTRA_TYPES) | (1 << type), PACKET_EXTRA_TYPES);
  if (type === EXTRA_TYPE_GSO) {
    const size = load<u16>(extra, GSOINFO_SIZE);
    const gso = <u32>load<u8>(extra, GSOINFO_TYPE);
    if (size === 0 || (gso !== GSOINFO_TYPE_TCPV4 && gso !== GSOINFO_TYPE_TCPV6)) return NETRING_BROKEN_GSO;
    store<u16>(packet, size, PACKET_GSO_SIZE);
    store<u16>(packet, <u16>gso, PACKET_GSO_TYPE);
  } else if (type === EXTRA_TYPE_MCAST_ADD || type === EXTRA_TYPE_MCAST_DEL) {
    const to = packet + (type === EXTRA_TYPE_MCAST_ADD ? PACKET_MCAST_ADD : PACKET_MCAST_DEL);
    store<u16>(to, load<u16>(extra, MCASTINFO_MAC));
    store<u32>(to + 2, load<u32>(extra + 2, MCASTINFO_MAC));
  } else if (type === EXTRA_TYPE_HASH) {
    store<u8>(packet, load<u8>(extra, HASHINFO_TYPE), PACKET_HASH_TYPE);
    store<u8>(packet, load<u8>(extra, HASHINFO_ALGORITHM), PACKET_HASH_ALGORITHM);
    store<u32>(packet, load<u32>(extra, HASHINFO_VALUE), PACKET_HASH_VALUE);
  } else {
    assert(type === EXTRA_TYPE_XDP);
    store<u16>(packet, load<u16>(extra, XDPINFO_HEADROOM), PACKET_XDP_HEADROOM);
  }
  return 0;
}

/**
 * Takes the extra information that begins at NETRING_TAKE, of `available` slots; `scratch` has 8 bytes for a copy of each. Of one
 * type the last counts. Returns 0 or a NETRING_BROKEN_….
 */
export function takeExtras(ring: u32, packet: u32, available: u32, scratch: u32): u32 {
  const from = load<u32>(ring, NETRING_TAKE);
  for (let i: u32 = 0; i < available; i++) {
    // Each type is wanted once: who sends more only makes work.
    if (i === EXTRA_TYPE_MAX - 1) return NETRING_BROKEN_EXTRA;
    copySlot(scratch, slotAt(ring, from + i), EXTRA_BYTES);
    const code = read(packet, scratch);
    if (code !== 0) return code;
    if (load<u8>(scratch, EXTRA_FLAGS) & <u8>EXTRA_F_MORE) continue;
    store<u16>(packet, <u16>(i + 1), PACKET_EXTRAS);
    store<u32>(ring, from + i + 1, NETRING_TAKE);
    return 0;
  }
  return NETRING_BROKEN_SHORT;
}
