// Packets that an XDP program sends past the switch: to ports, and to other lcores.

import { SLOT_EVENT, SLOT_FLAG_XDP, SLOT_FLAGS, SLOT_FLOW, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import { DROP_XDP_REDIRECT } from '../telemetry/layout.ts';
import { appendToLcore, drop, emitAll, portEntry } from './emit.kernel.ts';
import { PATH_SWITCH, PORT_STATE, PORT_UP, SWITCH_PORTS } from './layout.ts';

/** Sends `n` packets through the ports whose numbers are in SLOT_EVENT; drops those for a port that is not there. */
export function redirect(path: u32, slots: u32, n: u32): void {
  const ports = load<u32>(load<u32>(path, PATH_SWITCH), SWITCH_PORTS);
  for (let i: u32 = 0; i < n; ) {
    const slot = slots + (i << SLOT_SHIFT);
    const port: u32 = load<u16>(slot, SLOT_EVENT);
    if (port >= ports || load<u32>(portEntry(path, port), PORT_STATE) !== PORT_UP) {
      drop(path, slot, load<u8>(slot, SLOT_PORT), DROP_XDP_REDIRECT);
      i++;
      continue;
    }
    // Most of a burst goes the same way.
    let end = i + 1;
    while (end < n && load<u16>(slots + (end << SLOT_SHIFT), SLOT_EVENT) === <u16>port) end++;
    emitAll(path, slot, end - i, port);
    i = end;
  }
}

/**
 * Hands `n` packets to the lcores whose numbers are in SLOT_FLOW. Those for lcore `self` are moved to the front; returns
 * how many.
 */
export function cross(path: u32, slots: u32, n: u32, self: u32): u32 {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const lcore = load<u32>(slot, SLOT_FLOW);
    store<u32>(slot, 0, SLOT_FLOW);
    if (lcore === self) v128.store(slots + (kept++ << SLOT_SHIFT), v128.load(slot));
    else appendToLcore(path, slot, lcore);
  }
  return kept;
}

/**
 * Takes the packets that an XDP program sent here out of the `n` at `slots`: they go to `target`, the others to the front.
 * Returns how many went.
 */
export function arrived(slots: u32, n: u32, target: u32): u32 {
  let taken: u32 = 0;
  let kept: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const flags: u32 = load<u8>(slot, SLOT_FLAGS);
    if ((flags & SLOT_FLAG_XDP) === 0) {
      v128.store(slots + (kept++ << SLOT_SHIFT), v128.load(slot));
      continue;
    }
    store<u8>(slot, <u8>(flags & ~SLOT_FLAG_XDP), SLOT_FLAGS);
    v128.store(target + (taken++ << SLOT_SHIFT), v128.load(slot));
  }
  return taken;
}
