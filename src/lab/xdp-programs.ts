import { assemble, programOf } from '../bpf/assemble.ts';
import { KIND_ARRAY, KIND_DEVMAP, KIND_HASH } from '../bpf/layout.ts';
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

/** Mixes the words of a packet of 64 bytes into a number, five rounds: 280 instructions without a branch. */
export const MIX = `${bounds(64)}
  mov %r0, 17
${Array.from({ length: 40 }, (_, step) => {
  const word = (step % 16) * 4;
  return `  ldxw %r5, [%r2+${word}]
  mul %r5, 0x2c1b3c6d
  xor %r0, %r5
  mov %r6, %r0
  rsh %r6, 13
  xor %r0, %r6
  add32 %r0, 0x5bd1e995`;
}).join('\n')}
  and %r0, 1
  add %r0, 1
  exit
short:
  mov %r0, 1
  exit`;

/** Sums up a packet of 64 bytes, half-word by half-word, ten times, in loops: some 1,700 instructions. */
export const SUM = `${bounds(64)}
  mov %r0, 0
  mov %r7, 10
outer:
  mov %r6, 0
loop:
  mov %r5, %r2
  add %r5, %r6
  ldxh %r8, [%r5+0]
  add %r0, %r8
  add %r6, 2
  jlt %r6, 64, loop
  sub %r7, 1
  jne %r7, 0, outer
  mov %r5, %r0
  rsh %r5, 16
  add %r0, %r5
  and %r0, 1
  add %r0, 1
  exit
short:
  mov %r0, 1
  exit`;

/** Compares a port number with 100 others, none of which it is, and counts on the stack: 420 instructions, 100 branches. */
export const COMPARE = `${bounds(64)}
  stdw [%r10-8], 0
  ldxh %r5, [%r2+36]
${Array.from({ length: 100 }, (_, step) => `  ldxdw %r6, [%r10-8]\n  add %r6, ${step}\n  stxdw [%r10-8], %r6\n  jeq %r5, ${20000 + step}, short`).join('\n')}
  ldxdw %r0, [%r10-8]
  and %r0, 1
  add %r0, 1
  exit
short:
  mov %r0, 1
  exit`;

/** Looks a packet's words up in a hash and counts in an array, eight times each: some 220 instructions, 16 calls. */
export const LOOKUPS = `${bounds(64)}
  mov %r6, %r2
  mov %r7, 0
${Array.from(
  { length: 8 },
  (_, step) => `  ldxw %r1, [%r6+${26 + step}]
  stxw [%r10-8], %r1
  mov %r2, %r10
  add %r2, -8
  lddw %r1, map 0
  call 1
  jeq %r0, 0, none${step}
  ldxdw %r1, [%r0+0]
  add %r7, %r1
none${step}:
  stw [%r10-4], ${step}
  mov %r2, %r10
  add %r2, -4
  lddw %r1, map 1
  call 1
  jeq %r0, 0, short
  ldxdw %r1, [%r0+0]
  add %r1, 1
  stxdw [%r0+0], %r1
  ldxw %r8, [%r6+${step}]
  add %r7, %r8
  mov %r8, %r7
  lsh %r8, 3
  xor %r7, %r8
  rsh %r8, 5
  add %r7, %r8`,
).join('\n')}
  mov %r0, %r7
  and %r0, 1
  add %r0, 1
  exit
short:
  mov %r0, 1
  exit`;

/** The maps of LOOKUPS. */
export const TABLES: readonly MapDefinition[] = [
  { name: 'hash', kind: KIND_HASH, keyBytes: 4, valueBytes: 8, maxEntries: 1024, flags: 0, pinned: false },
  { name: 'array', kind: KIND_ARRAY, keyBytes: 4, valueBytes: 8, maxEntries: 8, flags: 0, pinned: false },
];
