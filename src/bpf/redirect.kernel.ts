import {
  CTX_REDIRECT_FLAGS,
  CTX_REDIRECT_KEY,
  CTX_REDIRECT_KIND,
  CTX_REDIRECT_MAP,
  CTX_REDIRECT_PROGRAM,
  CTX_REDIRECT_TARGET,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_XSKMAP,
  MAP_KIND,
  MAP_VALUE_BYTES,
  XDP_ABORTED,
  XDP_REDIRECT,
} from './layout.ts';
import { arrayValue, hashValue } from './maps/map.kernel.ts';

/** BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS (Linux include/uapi/linux/bpf.h). */
const BROADCAST: u64 = 8;
const EXCLUDE_INGRESS: u64 = 16;
/** Lower bits of the flags: what to answer when there is no entry (Linux include/linux/filter.h, __bpf_xdp_redirect_map). */
const ACTION_MASK: u64 = 3;

function say(ctx: u32, kind: u32, target: u32, program: u32, map: u32, key: u32, flags: u32): void {
  store<u32>(ctx, kind, CTX_REDIRECT_KIND);
  store<u32>(ctx, target, CTX_REDIRECT_TARGET);
  store<u32>(ctx, program, CTX_REDIRECT_PROGRAM);
  store<u32>(ctx, map, CTX_REDIRECT_MAP);
  store<u32>(ctx, key, CTX_REDIRECT_KEY);
  store<u32>(ctx, flags, CTX_REDIRECT_FLAGS);
}

/** bpf_redirect: to the interface `ifindex`. XDP_REDIRECT; XDP_ABORTED when there are flags. */
export function redirect(ctx: u32, ifindex: u32, flags: u64): i64 {
  if (flags !== 0) return XDP_ABORTED;
  say(ctx, 0, ifindex, 0, 0, 0, 0);
  return XDP_REDIRECT;
}

/**
 * bpf_redirect_map: to what lies under `key` in a DEVMAP, DEVMAP_HASH, CPUMAP or XSKMAP, or to all of a device map.
 * XDP_REDIRECT; the lower two bits of the flags when nothing lies there; XDP_ABORTED on unknown flags and other maps.
 */
export function redirectMap(ctx: u32, map: u32, key: u64, flags: u64): i64 {
  const kind = load<u32>(map, MAP_KIND);
  const isDevice = kind === KIND_DEVMAP || kind === KIND_DEVMAP_HASH;
  if (!isDevice && kind !== KIND_CPUMAP && kind !== KIND_XSKMAP) return XDP_ABORTED;
  if (flags & ~(ACTION_MASK | (isDevice ? BROADCAST | EXCLUDE_INGRESS : 0))) return XDP_ABORTED;
  const index = <u32>key;
  // A hash wants its key in memory.
  store<u32>(ctx, index, CTX_REDIRECT_KEY);
  const value = kind === KIND_DEVMAP_HASH ? hashValue(map, ctx + CTX_REDIRECT_KEY) : arrayValue(map, index);
  // A value of 8 bytes is written and read whole: interface or queue size, and the program to run there.
  const isWide = load<u32>(map, MAP_VALUE_BYTES) >= 8;
  const words: u64 = value === 0 ? 0 : isWide ? atomic.load<u64>(value) : atomic.load<u32>(value);
  const first = <u32>words;
  if (flags & BROADCAST) {
    say(ctx, kind, 0, 0, map, index, <u32>(flags & (BROADCAST | EXCLUDE_INGRESS)));
    return XDP_REDIRECT;
  }
  if (first === 0) {
    say(ctx, 0, 0, 0, 0, 0, 0);
    return flags & ACTION_MASK;
  }
  say(ctx, kind, kind === KIND_CPUMAP ? index : first, <u32>(words >> 32), map, index, 0);
  return XDP_REDIRECT;
}
