import {
  KIND_CPUMAP,
  KIND_XSKMAP,
  VERDICT_ACTION,
  VERDICT_KIND,
  VERDICT_PROGRAM,
  VERDICT_SHIFT,
  VERDICT_TARGET,
  XDP_DROP,
  XDP_PASS,
  XDP_REDIRECT,
  XDP_TX,
} from '../bpf/layout.ts';
import { clone } from '../memory/chain.kernel.ts';
import {
  SLOT_EVENT,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_SHARED,
  SLOT_FLAG_XDP,
  SLOT_FLAGS,
  SLOT_FLOW,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { free } from '../memory/pool.kernel.ts';
import { ETHERNET_BYTES } from '../packet/layout.ts';
import { add, countDrop } from '../telemetry/counters.kernel.ts';
import {
  COUNTER_XDP_PASS,
  COUNTER_XDP_REDIRECT,
  COUNTER_XDP_TX,
  DROP_POOL_EMPTY,
  DROP_RUNT,
  DROP_XDP,
  DROP_XDP_ABORTED,
  DROP_XDP_FRAGS,
  DROP_XDP_REDIRECT,
} from '../telemetry/layout.ts';
import {
  HOOK_ABORTED_ACTION,
  HOOK_ABORTED_FAULT,
  HOOK_ABORTED_PC,
  HOOK_CACHE,
  HOOK_COPY,
  HOOK_COUNTERS,
  HOOK_CROSSING,
  HOOK_CROSSING_COUNT,
  HOOK_LCORES,
  HOOK_LEAVING,
  HOOK_LEAVING_COUNT,
  HOOK_LEAVING_PROGRAMS,
  HOOK_PORT,
  HOOK_PORTS,
  HOOK_VERDICTS,
  SORTED_ABORTED,
  SORTED_CROSSING,
  SORTED_LEAVING,
  SORTED_PROGRAMS,
} from './layout.ts';

function drop(hook: u32, slot: u32, reason: u32): void {
  countDrop(load<u32>(hook, HOOK_COUNTERS), reason, 1);
  free(load<u32>(hook, HOOK_CACHE), slot, 1);
}

/** Makes the packet at `slot` one that may be written: a copy when others hold it. Returns 0 when there is no buffer. */
function own(hook: u32, slot: u32): bool {
  const cache = load<u32>(hook, HOOK_CACHE);
  const copy = hook + HOOK_COPY;
  if (clone(cache, slot, copy) === 0) return false;
  free(cache, slot, 1);
  v128.store(slot, v128.load(copy));
  return true;
}

/** What `prepare` does when some packet is not as most are. */
function prepareEach(hook: u32, slots: u32, n: u32, frags: u32): u32 {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const flags: u32 = load<u8>(slot, SLOT_FLAGS);
    if (load<u16>(slot, SLOT_LENGTH) < <u16>ETHERNET_BYTES) drop(hook, slot, DROP_RUNT);
    else if (flags & SLOT_FLAG_CHAINED && frags === 0) drop(hook, slot, DROP_XDP_FRAGS);
    else if (flags & SLOT_FLAG_SHARED && !own(hook, slot)) drop(hook, slot, DROP_POOL_EMPTY);
    else v128.store(slots + (kept++ << SLOT_SHIFT), v128.load(slot));
  }
  return kept;
}

/**
 * Leaves only packets at `slots` that a program can run on: with an Ethernet header, held by nobody else, and in one
 * buffer unless `frags` says that it takes more. Returns how many; the others are dropped and counted.
 */
export function prepare(hook: u32, slots: u32, n: u32, frags: u32): u32 {
  let flags: u32 = 0;
  let shortest: u32 = ETHERNET_BYTES;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    flags |= load<u8>(slot, SLOT_FLAGS);
    shortest = min(shortest, <u32>load<u16>(slot, SLOT_LENGTH));
  }
  if (shortest === ETHERNET_BYTES && (flags & (SLOT_FLAG_CHAINED | SLOT_FLAG_SHARED)) === 0) return n;
  return prepareEach(hook, slots, n, frags);
}

/** Puts the packet at `slot` behind those that leave through ports. Returns the SORTED_… bits for it. */
function leave(hook: u32, slot: u32, port: u32, program: u32): u32 {
  const count = load<u32>(hook, HOOK_LEAVING_COUNT);
  const target = hook + HOOK_LEAVING + (count << SLOT_SHIFT);
  // In one store: the switch reads the slot at once, which would wait for two to be done.
  v128.store(target, i16x8.replace_lane(v128.load(slot), <u8>(SLOT_EVENT >> 1), <i16>port));
  store<u32>(hook + HOOK_LEAVING_PROGRAMS + (count << 2), program);
  store<u32>(hook, count + 1, HOOK_LEAVING_COUNT);
  return program === 0 ? SORTED_LEAVING : SORTED_LEAVING | SORTED_PROGRAMS;
}

/** Puts it behind those for other lcores. */
function cross(hook: u32, slot: u32, lcore: u32, program: u32): u32 {
  const count = load<u32>(hook, HOOK_CROSSING_COUNT);
  const target = hook + HOOK_CROSSING + (count << SLOT_SHIFT);
  v128.store(target, v128.load(slot));
  store<u32>(target, lcore, SLOT_FLOW);
  store<u8>(target, load<u8>(slot, SLOT_FLAGS) | <u8>SLOT_FLAG_XDP, SLOT_FLAGS);
  store<u16>(target, <u16>program, SLOT_EVENT);
  store<u32>(hook, count + 1, HOOK_CROSSING_COUNT);
  return SORTED_CROSSING;
}

/** Where a packet goes that the program redirects. Returns the SORTED_… bits; 0 when that is not there. */
function redirect(hook: u32, slot: u32, verdict: u32): u32 {
  const kind = load<u32>(verdict, VERDICT_KIND);
  const target = load<u32>(verdict, VERDICT_TARGET);
  const program = load<u32>(verdict, VERDICT_PROGRAM);
  if (kind === KIND_CPUMAP) {
    return target < load<u32>(hook, HOOK_LCORES) ? cross(hook, slot, target, program) : 0;
  }
  // Interface indexes and sockets are numbers of ports, from 1.
  const port = target - 1;
  if (port >= load<u32>(hook, HOOK_PORTS)) return 0;
  return leave(hook, slot, port, kind === KIND_XSKMAP ? 0 : program);
}

/**
 * Does with the `n` packets at `slots` what the verdicts say. Those to go on are moved to the front; those to drop are in
 * the pool again; the rest is in the hook's lists. Returns how many go on, and SORTED_… bits.
 */
export function sort(hook: u32, slots: u32, n: u32): u32 {
  const counters = load<u32>(hook, HOOK_COUNTERS);
  const cache = load<u32>(hook, HOOK_CACHE);
  let passed: u32 = 0;
  let dropped: u32 = 0;
  /** Of the packets just before this one, how many are still to be dropped. */
  let run: u32 = 0;
  let lost: u32 = 0;
  let aborted: u32 = 0;
  let sent: u32 = 0;
  let redirected: u32 = 0;
  let sorted: u32 = 0;
  store<u32>(hook, 0, HOOK_LEAVING_COUNT);
  store<u32>(hook, 0, HOOK_CROSSING_COUNT);
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const verdict = hook + HOOK_VERDICTS + (i << VERDICT_SHIFT);
    const action = load<u32>(verdict, VERDICT_ACTION);
    if (action === XDP_DROP) {
      run++;
      continue;
    }
    // Before another packet is moved to where they are.
    if (run > 0) free(cache, slot - (run << SLOT_SHIFT), run);
    dropped += run;
    run = 0;
    if (action === XDP_PASS) {
      if (passed !== i) v128.store(slots + (passed << SLOT_SHIFT), v128.load(slot));
      passed++;
      continue;
    }
    if (action === XDP_TX) {
      sorted |= leave(hook, slot, load<u32>(hook, HOOK_PORT), 0);
      sent++;
      continue;
    }
    if (action === XDP_REDIRECT) {
      const bits = redirect(hook, slot, verdict);
      sorted |= bits;
      if (bits !== 0) {
        redirected++;
        continue;
      }
      lost++;
    } else {
      store<u32>(hook, action, HOOK_ABORTED_ACTION);
      store<u32>(hook, action === 0 ? load<u32>(verdict, VERDICT_KIND) : 0, HOOK_ABORTED_FAULT);
      store<u32>(hook, load<u32>(verdict, VERDICT_TARGET), HOOK_ABORTED_PC);
      sorted |= SORTED_ABORTED;
      aborted++;
    }
    free(cache, slot, 1);
  }
  if (run > 0) free(cache, slots + ((n - run) << SLOT_SHIFT), run);
  dropped += run;
  if (dropped > 0) countDrop(counters, DROP_XDP, dropped);
  if (lost > 0) countDrop(counters, DROP_XDP_REDIRECT, lost);
  if (aborted > 0) countDrop(counters, DROP_XDP_ABORTED, aborted);
  if (passed > 0) add(counters + COUNTER_XDP_PASS, passed);
  if (sent > 0) add(counters + COUNTER_XDP_TX, sent);
  if (redirected > 0) add(counters + COUNTER_XDP_REDIRECT, redirected);
  return passed | sorted;
}
