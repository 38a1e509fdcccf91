import { LCORE_CACHE, LCORE_COUNTERS } from '../lcore/layout.ts';
import { clone, moveStart } from '../memory/chain.kernel.ts';
import { BUFFER_DATA_MIN, SLOT_FLAG_SHARED, SLOT_FLAGS, SLOT_OFFSET, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import { free, share } from '../memory/pool.kernel.ts';
import { frameAddress } from '../packet/headers.kernel.ts';
import { add, countDrop } from '../telemetry/counters.kernel.ts';
import {
  COUNTER_COPIES,
  COUNTER_SHIFT,
  DROP_LCORE_FULL,
  DROP_POOL_EMPTY,
  DROP_TX_FULL,
  PORT_NONE,
} from '../telemetry/layout.ts';
import {
  MIRRORS_MAX,
  OUTPUT_BYTES,
  OUTPUT_COUNT,
  OUTPUT_SIZE,
  OUTPUT_SLOTS,
  PATH_COPY,
  PATH_LCORE,
  PATH_OUTPUTS,
  PATH_SWITCH,
  PORT_ENTRY_SHIFT,
  PORT_MIRROR_TX,
  PORT_STATE,
  PORT_UP,
  PORT_VLANS,
  SWITCH_PORT_TABLE,
  SWITCH_PORTS,
} from './layout.ts';

/** 802.1Q's tag protocol identifier, as stored from a little-endian register. */
const TPID_8021Q: u16 = 0x0081;
const TAG_BYTES: u16 = 4;

/** Address of the entry of `port` in the port table. */
export function portEntry(path: u32, port: u32): u32 {
  return load<u32>(load<u32>(path, PATH_SWITCH), SWITCH_PORT_TABLE) + (port << PORT_ENTRY_SHIFT);
}

/** Address of this lcore's counters of `port`. */
export function countersOf(path: u32, port: u32): u32 {
  return load<u32>(load<u32>(path, PATH_LCORE), LCORE_COUNTERS) + (port << COUNTER_SHIFT);
}

/** Address of this lcore's buffer cache. */
export function cacheOf(path: u32): u32 {
  return load<u32>(load<u32>(path, PATH_LCORE), LCORE_CACHE);
}

/** True when `port` carries `vlan`; 0 stands for untagged frames in no VLAN. */
export function isMember(entry: u32, vlan: u32): bool {
  return (load<u8>(entry + (vlan >>> 3), PORT_VLANS) & (1 << (vlan & 7))) !== 0;
}

/** Drops the packet at `slot` for `reason`, on the account of `port`. */
export function drop(path: u32, slot: u32, port: u32, reason: u32): void {
  countDrop(countersOf(path, port), reason, 1);
  free(cacheOf(path), slot, 1);
}

/** Appends the packet at `slot` to output `output`; drops it for `reason` when that is full. */
export function append(path: u32, slot: u32, output: u32, account: u32, reason: u32): void {
  const address = load<u32>(path, PATH_OUTPUTS) + output * OUTPUT_BYTES;
  const n = load<u32>(address, OUTPUT_COUNT);
  if (n === OUTPUT_SIZE) {
    drop(path, slot, account, reason);
    return;
  }
  v128.store(address + OUTPUT_SLOTS + (n << SLOT_SHIFT), v128.load(slot));
  store<u32>(address, n + 1, OUTPUT_COUNT);
}

/** Hands the packet over to another lcore, its port still being the one it came from. */
export function appendToLcore(path: u32, slot: u32, lcore: u32): void {
  const ports = load<u32>(load<u32>(path, PATH_SWITCH), SWITCH_PORTS);
  append(path, slot, ports + lcore, load<u8>(slot, SLOT_PORT), DROP_LCORE_FULL);
}

/** Sends copies of the packet at `slot` to the ports named in the four bytes at `list`. They share its buffers. */
export function mirror(path: u32, slot: u32, list: u32): void {
  for (let i: u32 = 0; i < MIRRORS_MAX; i++) {
    const target: u32 = load<u8>(list + i);
    if (target === PORT_NONE || load<u32>(portEntry(path, target), PORT_STATE) !== PORT_UP) continue;
    const copy = path + PATH_COPY;
    share(slot, 1);
    v128.store(copy, v128.load(slot));
    add(countersOf(path, load<u8>(slot, SLOT_PORT)) + COUNTER_COPIES, 1);
    append(path, copy, target, target, DROP_TX_FULL);
  }
}

/** Sends the packet at `slot` through `port`, as it is. */
export function emit(path: u32, slot: u32, port: u32): void {
  const list = portEntry(path, port) + PORT_MIRROR_TX;
  if (load<u32>(list) !== 0xffffffff) mirror(path, slot, list);
  append(path, slot, port, port, DROP_TX_FULL);
}

/** As `emit`, of `n` packets at `slots`. */
export function emitAll(path: u32, slots: u32, n: u32, port: u32): void {
  const list = portEntry(path, port) + PORT_MIRROR_TX;
  const address = load<u32>(path, PATH_OUTPUTS) + port * OUTPUT_BYTES;
  const waiting = load<u32>(address, OUTPUT_COUNT);
  if (load<u32>(list) !== 0xffffffff || waiting + n > OUTPUT_SIZE) {
    for (let i: u32 = 0; i < n; i++) emit(path, slots + (i << SLOT_SHIFT), port);
    return;
  }
  const target = address + OUTPUT_SLOTS + (waiting << SLOT_SHIFT);
  for (let at: u32 = 0; at < n << SLOT_SHIFT; at += 1 << SLOT_SHIFT) v128.store(target + at, v128.load(slots + at));
  store<u32>(address, waiting + n, OUTPUT_COUNT);
}

/**
 * Makes the packet at `slot` one that may be written and has room for a VLAN tag in front: a copy takes its place when
 * others hold its buffers. Returns 0 when there is no buffer for that; the packet is dropped then.
 */
export function makeWritable(path: u32, slot: u32): u32 {
  const hasRoom = load<u16>(slot, SLOT_OFFSET) >= BUFFER_DATA_MIN + TAG_BYTES;
  if (hasRoom && (load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_SHARED) === 0) return 1;
  const copy = path + PATH_COPY;
  if (clone(cacheOf(path), slot, copy) === 0) {
    drop(path, slot, load<u8>(slot, SLOT_PORT), DROP_POOL_EMPTY);
    return 0;
  }
  free(cacheOf(path), slot, 1);
  v128.store(slot, v128.load(copy));
  return 1;
}

/** Removes the outer VLAN tag of a writable frame of at least 18 bytes. */
export function popTag(slot: u32): void {
  const frame = frameAddress(slot);
  const low = load<u64>(frame);
  const high = load<u32>(frame, 8);
  store<u64>(frame, low, 4);
  store<u32>(frame, high, 12);
  moveStart(slot, 4);
}

/** Puts an 802.1Q tag with VLAN `vlan` and priority 0 into a writable frame. */
export function pushTag(slot: u32, vlan: u32): void {
  const frame = frameAddress(slot);
  const low = load<u64>(frame);
  const high = load<u32>(frame, 8);
  store<u64>(frame - 4, low);
  store<u32>(frame + 4, high);
  store<u16>(frame + 8, TPID_8021Q);
  store<u16>(frame + 10, bswap<u16>(<u16>vlan));
  moveStart(slot, -4);
}
