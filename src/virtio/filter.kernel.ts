import { SLOT_BUFFER, SLOT_LENGTH, SLOT_OFFSET, SLOT_SHIFT } from '../memory/layout.ts';
import {
  NET_CONTROL_F_ALLMULTI,
  NET_CONTROL_F_ALLUNI,
  NET_CONTROL_F_MULTICAST_OVERFLOW,
  NET_CONTROL_F_NOBCAST,
  NET_CONTROL_F_NOMULTI,
  NET_CONTROL_F_NOUNI,
  NET_CONTROL_F_PROMISC,
  NET_CONTROL_F_UNICAST_OVERFLOW,
  NET_CONTROL_F_VLAN,
  NET_CONTROL_FLAGS,
  NET_CONTROL_MAC,
  NET_CONTROL_MULTICAST,
  NET_CONTROL_MULTICAST_COUNT,
  NET_CONTROL_UNICAST,
  NET_CONTROL_UNICAST_COUNT,
  NET_CONTROL_VLANS,
  NET_MACS_MAX,
} from './layout.ts';

const ETHERNET_BYTES: u32 = 14;
const VLAN_FRAME_BYTES: u32 = 18;
/** 0x8100 as a u16 of the frame reads (IEEE 802.1Q). */
const TPID_LITTLE_ENDIAN: u32 = 0x0081;
/** The 48 bits of an address in the u64 that starts with it; all are set in the broadcast address. */
const MAC_MASK: u64 = 0xffffffffffff;

function isListed(table: u32, count: u32, mac: u64): bool {
  const end = table + (min(count, NET_MACS_MAX) << 3);
  for (let at = table; at < end; at += 8) if (load<u64>(at) === mac) return true;
  return false;
}

/** True when the frame has no VLAN tag, a tag for no VLAN (priority alone), or that of a VLAN that was added (5.1.6.5.3). */
function isVlanWanted(state: u32, frame: u32, length: u32): bool {
  if (load<u16>(frame, 12) !== TPID_LITTLE_ENDIAN) return true;
  if (length < VLAN_FRAME_BYTES) return false;
  const vlan = ((<u32>load<u8>(frame, 14) & 15) << 8) | load<u8>(frame, 15);
  return vlan === 0 || ((load<u8>(state + (vlan >> 3), NET_CONTROL_VLANS) >> (vlan & 7)) & 1) !== 0;
}

/** Whether a frame of 14 bytes or more is for the driver, which is not promiscuous (5.1.6.5.1.1, 5.1.6.5.2.1). */
function isWanted(state: u32, flags: u32, frame: u32, length: u32): bool {
  if (flags & NET_CONTROL_F_VLAN && !isVlanWanted(state, frame, length)) return false;
  const mac = load<u64>(frame) & MAC_MASK;
  if (mac === MAC_MASK) return !(flags & NET_CONTROL_F_NOBCAST);
  if (mac & 1) {
    if (flags & NET_CONTROL_F_NOMULTI) return false;
    if (flags & (NET_CONTROL_F_ALLMULTI | NET_CONTROL_F_MULTICAST_OVERFLOW)) return true;
    return isListed(state + NET_CONTROL_MULTICAST, load<u32>(state, NET_CONTROL_MULTICAST_COUNT), mac);
  }
  if (flags & NET_CONTROL_F_NOUNI) return false;
  if (flags & (NET_CONTROL_F_ALLUNI | NET_CONTROL_F_UNICAST_OVERFLOW)) return true;
  if (mac === load<u64>(state, NET_CONTROL_MAC)) return true;
  return isListed(state + NET_CONTROL_UNICAST, load<u32>(state, NET_CONTROL_UNICAST_COUNT), mac);
}

/**
 * Sorts the `n` packets at `slots` by whether the driver that set the network device `state` wants them: those first, in
 * their order, the others behind, for the caller to free and count. Returns how many are wanted. A promiscuous driver
 * wants all, whatever else it set (5.1.6.5.1.1); nobody wants a packet whose first buffer has no whole Ethernet header.
 */
export function filter(state: u32, slots: u32, n: u32): u32 {
  const flags = load<u32>(state, NET_CONTROL_FLAGS);
  if (flags & NET_CONTROL_F_PROMISC) return n;
  let wanted: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const length = <u32>load<u16>(slot, SLOT_LENGTH);
    const frame = load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
    if (length < ETHERNET_BYTES || !isWanted(state, flags, frame, length)) continue;
    if (wanted < i) {
      const target = slots + (wanted << SLOT_SHIFT);
      const refused = v128.load(target);
      v128.store(target, v128.load(slot));
      v128.store(slot, refused);
    }
    wanted++;
  }
  return wanted;
}
