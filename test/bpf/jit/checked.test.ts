import { expect, test } from 'vitest';
import * as layout from '#build/bpf/layout.js';
import { definition, Rig } from './support.ts';

const packet = Uint8Array.from({ length: 64 }, (_, index) => index);
const ARRAY = definition('array', layout.KIND_ARRAY);
const RODATA = definition('rodata', layout.KIND_ARRAY, { flags: layout.MAP_FLAG_RDONLY_PROG, maxEntries: 1 });
const data = 'ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\n';
const value = (index: number): string =>
  `stw [%r10-4], ${index}\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map 0\ncall 1\n`;

/** What a checked program may not do, and at which instruction it ends. */
const faults: Record<string, [text: string, kind: number, maps?: (typeof ARRAY)[]]> = {
  'reads behind the packet': [`${data}ldxb %r0, [%r3+0]\nexit`, layout.FAULT_MEMORY],
  'reads across its end': [`${data}ldxdw %r0, [%r3-7]\nexit`, layout.FAULT_MEMORY],
  'reads before it': [`${data}ldxb %r0, [%r2-1]\nexit`, layout.FAULT_MEMORY],
  'writes to the context': ['stw [%r1+0], 1\nexit', layout.FAULT_MEMORY],
  'reads words of the context that are none of its business': ['ldxw %r0, [%r1+48]\nexit', layout.FAULT_MEMORY],
  'reads half of them': ['ldxdw %r0, [%r1+20]\nexit', layout.FAULT_MEMORY],
  'reads above the stack': ['ldxdw %r0, [%r10+3584]\nexit', layout.FAULT_MEMORY],
  'reads below it': ['ldxdw %r0, [%r10-520]\nexit', layout.FAULT_MEMORY],
  'reads address 0': ['mov %r1, 0\nldxb %r0, [%r1+0]\nexit', layout.FAULT_MEMORY],
  'reads an address that wraps to one of its own': [
    `${data}lddw %r4, 0x100000000\nadd %r2, %r4\nldxb %r0, [%r2+0]\nexit`,
    layout.FAULT_MEMORY,
  ],
  'takes a look-up that found nothing': [`${value(9)}ldxdw %r0, [%r0+0]\nexit`, layout.FAULT_MEMORY, [ARRAY]],
  'reads behind the last value of a map': [`${value(3)}ldxdw %r0, [%r0+8]\nexit`, layout.FAULT_MEMORY, [ARRAY]],
  'writes to a map that is read only': [`${value(0)}stdw [%r0+0], 1\nexit`, layout.FAULT_MEMORY, [RODATA]],
  'writes to read-only data at a known place': [
    'lddw %r1, value 0 + 0\nstdw [%r1+0], 1\nexit',
    layout.FAULT_MEMORY,
    [RODATA],
  ],
  'reads behind the data of a section': [
    'lddw %r1, value 0 + 4\nldxdw %r0, [%r1+0]\nexit',
    layout.FAULT_MEMORY,
    [RODATA],
  ],
  'adds to an odd address': [`${data}mov %r4, 1\nlock add [%r2+1], %r4\nexit`, layout.FAULT_ALIGNMENT],
  'looks up in something that is no map': [
    'mov %r2, %r10\nadd %r2, -4\nstw [%r10-4], 0\nmov %r1, 4096\ncall 1\nexit',
    layout.FAULT_MAP,
  ],
  'passes a key that is not there': ['mov %r2, 64\nlddw %r1, map 0\ncall 2\nexit', layout.FAULT_MEMORY, [ARRAY]],
  'passes memory that is longer than there is': [
    'mov %r1, %r10\nadd %r1, -8\nmov %r2, 5000\nmov %r3, 0\nmov %r4, 0\nmov %r5, 0\ncall 28\nexit',
    layout.FAULT_MEMORY,
  ],
  'passes another context': ['add %r1, 8\nmov %r2, 0\ncall 44\nexit', layout.FAULT_MEMORY],
  'calls a helper that there is not': ['mov %r1, 999\ncall %r1\nexit', layout.FAULT_HELPER],
  'runs for ever': ['l: ja l\nexit', layout.FAULT_FUEL],
};

test.each(Object.entries(faults))('a checked program that %s is ended', (_, [text, kind, maps = []]) => {
  const rig = new Rig();
  const given = rig.program(text, maps);
  rig.place(packet);
  const before = rig.arena.u8.slice();
  expect(rig.compile(given, true).run(rig.context, BigInt(rig.context), 0n)).toBe(0n);
  expect(rig.word(layout.CTX_FAULT)).toBe(kind);
  expect(rig.word(layout.CTX_FAULT_PC)).toBeLessThan(given.program.code.length);
  // Nothing changed but the context's own words and its stack.
  const after = rig.arena.u8.slice();
  for (const memory of [before, after]) memory.fill(0, rig.context, rig.context + layout.CTX_BYTES);
  expect(Buffer.compare(before, after)).toBe(0);
});

test('what a checked program may do, it does', () => {
  const rig = new Rig();
  const text = `${data}mov %r6, %r2\nldxb %r7, [%r6+63]\nstb [%r6+0], 0xaa\n${value(3)}mov %r4, 5\nlock add [%r0+0], %r4
    ldxdw %r0, [%r0+0]\nadd %r0, %r7\nexit`;
  const given = rig.program(text, [ARRAY]);
  rig.place(packet);
  expect(rig.compile(given, true).run(rig.context, BigInt(rig.context), 0n)).toBe(68n);
  expect(rig.word(layout.CTX_FAULT)).toBe(0);
  expect(given.maps[0]?.get(3)).toBe(5n);
});

test('a pointer on the stack is believed only as long as nobody can have overwritten it', () => {
  const rig = new Rig();
  // The context's address is put away, overwritten through an address that is not known, and taken back.
  const text = `stxdw [%r10-8], %r1
    mov %r2, %r10
    mov %r3, 8
    neg %r3
    add %r2, %r3
    mov %r4, 4096
    stxdw [%r2+0], %r4
    ldxdw %r1, [%r10-8]
    ldxw %r0, [%r1+0]
    exit`;
  rig.place(packet);
  expect(rig.compile(rig.program(text), true).run(rig.context, BigInt(rig.context), 0n)).toBe(0n);
  expect(rig.word(layout.CTX_FAULT)).toBe(layout.FAULT_MEMORY);
  expect(rig.word(layout.CTX_FAULT_PC)).toBe(8);
});

test('a fault in a function ends the program, and the next packet is not concerned', () => {
  const rig = new Rig();
  const text = `ldxw %r2, [%r1+0]\nldxb %r6, [%r2+0]\nmov %r1, %r6\ncall local f\nmov %r0, 2\nexit
    f: jne %r1, 1, fine\nmov %r3, 0\nldxb %r0, [%r3+0]\nfine: mov %r0, 0\nexit`;
  const instance = rig.compile(rig.program(text), true);
  rig.load([0, 1, 2].map((first) => Uint8Array.from(packet).fill(first, 0, 1)));
  instance.burst(rig.context, rig.slots, 3, rig.verdicts);
  expect(rig.verdict(0)[0]).toBe(layout.XDP_PASS);
  expect(rig.verdict(1).slice(0, 3)).toEqual([layout.XDP_ABORTED, layout.FAULT_MEMORY, 8]);
  expect(rig.verdict(2)[0]).toBe(layout.XDP_PASS);
});

test('a tail call that would need more stack than there is ends the program', () => {
  const rig = new Rig();
  const deep = (levels: number): string =>
    `${Array.from(
      { length: levels },
      (_, level) => `${level === 0 ? '' : `f${level}: `}call local f${level + 1}\nexit`,
    ).join('\n')}\nf${levels}: mov %r0, 2\nexit`;
  const programs = definition('programs', layout.KIND_PROG_ARRAY, { valueBytes: 4 });
  rig.table.set(1, rig.compile(rig.program(deep(7)), true).main);
  rig.place(packet);
  const text =
    'mov %r6, %r1\ncall local f\nexit\nf: mov %r1, %r6\nlddw %r2, map 0\nmov %r3, 0\ncall 12\nmov %r0, 1\nexit';
  const inner = rig.program(text, [programs]);
  inner.maps[0]?.set(0, 1);
  rig.compile(inner, true).run(rig.context, BigInt(rig.context), 0n);
  // r6 of the caller is not its callee's: the context that it passes is 0.
  expect(rig.word(layout.CTX_FAULT)).toBe(layout.FAULT_MEMORY);
  rig.place(packet);
  const right = rig.program('call local f\nexit\nf: lddw %r2, map 0\nmov %r3, 0\ncall 12\nmov %r0, 1\nexit', [
    programs,
  ]);
  right.maps[0]?.set(0, 1);
  expect(rig.compile(right, true).run(rig.context, BigInt(rig.context), 0n)).toBe(0n);
  expect(rig.word(layout.CTX_FAULT)).toBe(layout.FAULT_STACK);
});
