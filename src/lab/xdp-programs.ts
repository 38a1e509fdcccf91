import { assemble, programOf } from '../bpf/assemble.ts';
import { KIND_DEVMAP } from '../bpf/layout.ts';
import type { MapDefinition, Program } from '../bpf/program.ts';

/** A program of instructions as text, for XDP. */
export function programOfText(name: string, text: string, maps: readonly MapDefinition[] = []): Program {
  return programOf(assemble(text), name, maps);
}

/** Drops all without looking at it. */
export const DROP = 'mov %r0, 1\nexit';

/** Loads the packet's bounds to r2 and r3, and leaves for `short` when it has fewer than `bytes`. */
const bounds = (bytes: number): string => `
  ldxw %r2, [%r1+0]
  ldxw %r3, [%r1+4]
  mov %r4, %r2
  add %r4, ${bytes}
  jgt %r4, %r3, short`;

/** Drops all but ARP: touches the frame's first line. */
export const DROP_TOUCHED = `${bounds(14)}
  ldxh %r5, [%r2+12]
  mov %r0, 2
  jeq %r5, 0x0608, short2
short:
  mov %r0, 1
short2:
  exit`;

const SWAP = `${bounds(14)}
  ldxh %r7, [%r2+4]
  ldxw %r8, [%r2+0]
  ldxw %r4, [%r2+6]
  ldxh %r9, [%r2+10]
  stxw [%r2+0], %r4
  stxh [%r2+4], %r9
  stxw [%r2+6], %r8
  stxh [%r2+10], %r7`;

/** Swaps the MAC addresses and sends the frame back. */
export const SWAP_TX = `${SWAP}
  mov %r0, 3
  exit
short:
  mov %r0, 1
  exit`;

/** Swaps the MAC addresses and sends the frame through port 1 of a device map. */
export const SWAP_REDIRECT = `${SWAP}
  lddw %r1, map 0
  mov %r2, 0
  mov %r3, 0
  call 51
  exit
short:
  mov %r0, 1
  exit`;

/** The device map of SWAP_REDIRECT. */
export const DEVICES: MapDefinition = {
  name: 'devices',
  kind: KIND_DEVMAP,
  keyBytes: 4,
  valueBytes: 4,
  maxEntries: 8,
  flags: 0,
  pinned: false,
};
