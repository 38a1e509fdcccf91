import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import { clone } from '../memory/chain.kernel.ts';
import { SLOT_LENGTH, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import { share } from '../memory/pool.kernel.ts';
import { frameAddress } from '../packet/headers.kernel.ts';
import { ETHERNET_BYTES, ROUTES_ROUTER_MAC, VLAN_BYTES } from '../packet/layout.ts';
import { add, countDrop } from '../telemetry/counters.kernel.ts';
import {
  COUNTER_COPIES,
  COUNTER_FLOODED,
  DROP_NO_PORT,
  DROP_POOL_EMPTY,
  DROP_RESERVED,
  DROP_RUNT,
  DROP_SAME_PORT,
  DROP_STORM,
  DROP_VLAN,
} from '../telemetry/layout.ts';
import {
  cacheOf,
  countersOf,
  drop,
  emit,
  isMember,
  makeWritable,
  mirror,
  popTag,
  portEntry,
  pushTag,
} from './emit.kernel.ts';
import {
  PATH_FORM,
  PATH_LCORE,
  PATH_MEMBERS,
  PATH_OTHER_MEMBERS,
  PATH_STORMS,
  PATH_SWITCH,
  PORT_LEARN,
  PORT_MIRROR_RX,
  PORT_PVID,
  PORT_STATE,
  PORT_STORM,
  PORT_UP,
  STORM_COUNT,
  STORM_SHIFT,
  STORM_WINDOW,
  STORM_WINDOW_SHIFT,
  SWITCH_FORWARD_RESERVED,
  SWITCH_PORTS,
  SWITCH_ROUTES,
} from './layout.ts';
import { learn, loadMac, lookupMac, macKey } from './mac.kernel.ts';
import { route } from './route.kernel.ts';
import { hasRules, steer } from './steer.kernel.ts';

const TAGGED_BYTES: u32 = ETHERNET_BYTES + VLAN_BYTES;
/** Ethertypes as loaded by a little-endian load: 0x8100 (802.1Q) and 0x88a8 (802.1ad). */
const ETHERTYPE_8021Q: u32 = 0x0081;
const ETHERTYPE_8021AD: u32 = 0xa888;
/** 01:80:c2:00:00:00 as loaded; its last byte's low four bits vary (IEEE 802.1Q-2018, table 8-1). */
const RESERVED_MAC: u64 = 0x0000c28001;
const RESERVED_MASK: u64 = 0xf0ffffffffff;

/** True when the frame, at least 14 bytes long, starts with a VLAN tag. */
export function isTagged(frame: u32, length: u32): bool {
  const type: u32 = load<u16>(frame, 12);
  return length >= TAGGED_BYTES && (type === ETHERTYPE_8021Q || type === ETHERTYPE_8021AD);
}

/**
 * The VLAN that the packet belongs to on its way in, or -1 when its port does not carry that one.
 * A tag with VLAN 0 only carries a priority: the frame belongs where untagged ones do.
 */
function classify(entry: u32, frame: u32, tagged: bool): i32 {
  const vid: u32 = tagged ? <u32>bswap<u16>(load<u16>(frame, 14)) & 0xfff : 0;
  const vlan = vid === 0 ? load<u32>(entry, PORT_PVID) : vid;
  return isMember(entry, vlan) ? <i32>vlan : -1;
}

/** True when one more flooded frame from `port` is within its limit. */
function withinStormLimit(path: u32, port: u32, limit: u32): bool {
  const lcore = load<u32>(path, PATH_LCORE);
  const now = <u64>load<u32>(lcore, LCORE_SECONDS) * 1000000000 + load<u32>(lcore, LCORE_NANOSECONDS);
  const window = now >>> STORM_WINDOW_SHIFT;
  const storm = load<u32>(path, PATH_STORMS) + (port << STORM_SHIFT);
  if (load<u64>(storm, STORM_WINDOW) !== window) {
    store<u64>(storm, window, STORM_WINDOW);
    store<u32>(storm, 0, STORM_COUNT);
  }
  const count = load<u32>(storm, STORM_COUNT);
  if (count >= limit) return false;
  store<u32>(storm, count + 1, STORM_COUNT);
  return true;
}

/** Gives a writable packet a tag, or takes its tag away. */
function changeForm(slot: u32, tagged: bool, vlan: u32): void {
  if (tagged) pushTag(slot, vlan);
  else popTag(slot);
}

/** Hands the packet at `slot` to the `n` ports in the bytes at `list`. All share its buffers. */
function emitToAll(path: u32, slot: u32, list: u32, n: u32): void {
  if (n > 1) share(slot, n - 1);
  for (let i: u32 = 0; i < n; i++) emit(path, slot, load<u8>(list + i));
}

/** Sends the packet to every other port of its VLAN. All share its buffers; where tags differ, one copy serves the rest. */
function flood(path: u32, slot: u32, from: u32, vlan: u32, tagged: bool): void {
  const counters = countersOf(path, from);
  const ports = load<u32>(load<u32>(path, PATH_SWITCH), SWITCH_PORTS);
  let asIs: u32 = 0;
  let changed: u32 = 0;
  // Listed once: a port that the control thread takes away meanwhile would otherwise be counted and not served.
  for (let port: u32 = 0; port < ports; port++) {
    if (port === from || !isUsable(path, port, vlan)) continue;
    const wantsTag = vlan !== load<u32>(portEntry(path, port), PORT_PVID);
    if (wantsTag === tagged) store<u8>(path + asIs++, <u8>port, PATH_MEMBERS);
    else store<u8>(path + changed++, <u8>port, PATH_OTHER_MEMBERS);
  }
  if (asIs + changed === 0) {
    drop(path, slot, from, DROP_NO_PORT);
    return;
  }
  const limit = load<u32>(portEntry(path, from), PORT_STORM);
  if (limit !== 0 && !withinStormLimit(path, from, limit)) {
    drop(path, slot, from, DROP_STORM);
    return;
  }
  add(counters + COUNTER_FLOODED, 1);
  add(counters + COUNTER_COPIES, asIs + changed - 1);
  if (changed > 0) {
    const other = path + PATH_FORM;
    if (asIs === 0) {
      if (makeWritable(path, slot) === 0) {
        countDrop(counters, DROP_POOL_EMPTY, changed - 1);
        return;
      }
      v128.store(other, v128.load(slot));
    } else if (clone(cacheOf(path), slot, other) === 0) {
      countDrop(counters, DROP_POOL_EMPTY, changed);
      changed = 0;
    }
    if (changed > 0) {
      changeForm(other, !tagged, vlan);
      emitToAll(path, other, path + PATH_OTHER_MEMBERS, changed);
    }
  }
  if (asIs > 0) emitToAll(path, slot, path + PATH_MEMBERS, asIs);
}

/** Sends the packet through `port`, tagged or not as that port wants it. */
export function sendTo(path: u32, slot: u32, port: u32, vlan: u32, tagged: bool): void {
  const wantsTag = vlan !== load<u32>(portEntry(path, port), PORT_PVID);
  if (wantsTag !== tagged) {
    if (makeWritable(path, slot) === 0) return;
    changeForm(slot, wantsTag, vlan);
  }
  emit(path, slot, port);
}

/** Switches one packet that came from port `from`. `fresh` is 0 when a steering rule already sent it here. */
function forwardOne(path: u32, sw: u32, seconds: u32, slot: u32, from: u32, fresh: u32): void {
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  const entry = portEntry(path, from);
  if (fresh !== 0) {
    const list = entry + PORT_MIRROR_RX;
    if (load<u32>(list) !== 0xffffffff) mirror(path, slot, list);
    if (length < ETHERNET_BYTES) {
      drop(path, slot, from, DROP_RUNT);
      return;
    }
    if (hasRules(sw) && steer(path, slot, from)) return;
  }
  let frame = frameAddress(slot);
  let tagged = isTagged(frame, length);
  const vlan = classify(entry, frame, tagged);
  if (vlan < 0) {
    drop(path, slot, from, DROP_VLAN);
    return;
  }
  if (tagged && vlan !== 0 && (load<u16>(frame, 14) & 0xff0f) === 0) {
    // A priority tag becomes a full one, so that one rule covers every tagged frame from here on.
    if (makeWritable(path, slot) === 0) return;
    frame = frameAddress(slot);
    store<u16>(frame, load<u16>(frame, 14) | bswap<u16>(<u16>vlan), 14);
  } else if (vlan === 0) {
    tagged = false;
  }

  const source = loadMac(frame + 6);
  if (load<u32>(entry, PORT_LEARN) !== 0 && (source & 1) === 0)
    learn(path, sw, seconds, macKey(source, <u32>vlan), from);
  const destination = loadMac(frame);
  if (destination & 1) {
    if ((destination & RESERVED_MASK) === RESERVED_MAC && load<u32>(sw, SWITCH_FORWARD_RESERVED) === 0) {
      drop(path, slot, from, DROP_RESERVED);
    } else {
      flood(path, slot, from, <u32>vlan, tagged);
    }
    return;
  }
  if (destination === load<u64>(sw + SWITCH_ROUTES, ROUTES_ROUTER_MAC) && destination !== 0) {
    // With a priority tag in no VLAN it is not `tagged`, but its IP header lies behind the tag all the same.
    route(path, slot, from, isTagged(frame, length));
    return;
  }
  const to = lookupMac(sw, seconds, macKey(destination, <u32>vlan));
  if (to < 0 || !isUsable(path, <u32>to, <u32>vlan)) flood(path, slot, from, <u32>vlan, tagged);
  else if (<u32>to === from) drop(path, slot, from, DROP_SAME_PORT);
  else sendTo(path, slot, <u32>to, <u32>vlan, tagged);
}

/** True when a known port is there and still carries the VLAN. */
function isUsable(path: u32, port: u32, vlan: u32): bool {
  const entry = portEntry(path, port);
  return load<u32>(entry, PORT_STATE) === PORT_UP && isMember(entry, vlan);
}

/**
 * Switches `n` packets at `slots`: each ends in outputs of `path`, or is dropped and counted. Every slot says which
 * port it came from. `fresh`: 1 when they just came in, 0 when a steering rule of another lcore sent them.
 */
export function forward(path: u32, slots: u32, n: u32, fresh: u32): void {
  const sw = load<u32>(path, PATH_SWITCH);
  const seconds = load<u32>(load<u32>(path, PATH_LCORE), LCORE_SECONDS);
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    forwardOne(path, sw, seconds, slot, load<u8>(slot, SLOT_PORT), fresh);
  }
}
