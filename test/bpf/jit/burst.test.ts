import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { compileProgram } from '#build/bpf/jit/compile.js';
import * as layout from '#build/bpf/layout.js';
import { BASES } from '../../support/arena.ts';
import { definition, Rig } from './support.ts';

const packets = (n: number): Uint8Array[] =>
  Array.from({ length: n }, (_, index) => Uint8Array.from({ length: 60 + index }, (_, at) => (at === 0 ? index : at)));

test.each(BASES)('each packet of a burst gets its own verdict (regions above %i)', (base) => {
  for (const checked of [false, true]) {
    const rig = new Rig(base);
    rig.load(packets(32));
    // The first byte modulo 4.
    const text = 'ldxw %r2, [%r1+0]\nldxb %r0, [%r2+0]\nand %r0, 3\nexit';
    rig.compile(rig.program(text), checked).burst(rig.context, rig.slots, 32, rig.verdicts);
    for (let index = 0; index < 32; index++) expect(rig.verdict(index)[0]).toBe(index % 4);
  }
});

test('an empty burst touches nothing', () => {
  const rig = new Rig();
  rig.compile(rig.program('mov %r0, 2\nexit'), true).burst(rig.context, rig.slots, 0, rig.verdicts);
  expect(rig.verdict(0)).toEqual([0, 0, 0, 0]);
});

test.each(BASES)(
  'packets that are moved stay in their slots, and the next one is not moved (regions above %i)',
  (base) => {
    for (const checked of [false, true]) {
      const rig = new Rig(base);
      const given = packets(4);
      rig.load(given);
      // Packets with an odd first byte lose four bytes in front; then what is there is marked.
      const text = `mov %r6, %r1
      ldxw %r2, [%r6+0]
      ldxb %r3, [%r2+0]
      and %r3, 1
      jeq %r3, 0, end
      mov %r1, %r6
      mov %r2, 4
      call 44
      jne %r0, 0, end
      ldxw %r2, [%r6+0]
      stb [%r2+0], 0xee
      ldxw %r3, [%r6+4]
      stb [%r3-1], 0xdd
      end: mov %r0, 2
      exit`;
      rig.compile(rig.program(text), checked).burst(rig.context, rig.slots, 4, rig.verdicts);
      for (const [index, packet] of given.entries()) {
        const expected = index % 2 === 0 ? packet : Uint8Array.from(packet.subarray(4));
        if (index % 2 === 1) {
          expected[0] = 0xee;
          expected[expected.length - 1] = 0xdd;
        }
        expect(rig.packet(index)).toEqual(expected);
        expect(rig.verdict(index)[0]).toBe(layout.XDP_PASS);
      }
    }
  },
);

test('a redirect names its target in the verdict of its own packet', () => {
  const rig = new Rig();
  const devices = definition('devices', layout.KIND_DEVMAP, { valueBytes: 4 });
  const text = `ldxw %r2, [%r1+0]\nldxb %r2, [%r2+0]\nlddw %r1, map 0\nmov %r3, 1\ncall 51\nexit`;
  const given = rig.program(text, [devices]);
  given.maps[0]?.set(1, 7);
  rig.load(packets(3));
  rig.compile(given, true).burst(rig.context, rig.slots, 3, rig.verdicts);
  expect(rig.verdict(0)[0]).toBe(layout.XDP_DROP);
  expect(rig.verdict(1)).toEqual([layout.XDP_REDIRECT, layout.KIND_DEVMAP, 7, 0]);
  expect(rig.verdict(2)[0]).toBe(layout.XDP_DROP);
});

test('a redirect without a target has not that of the packet before', () => {
  const rig = new Rig();
  const text = `ldxw %r2, [%r1+0]\nldxb %r6, [%r2+0]\nmov %r0, 4\njne %r6, 0, out\nmov %r1, 7\nmov %r2, 0\ncall 23\nout: exit`;
  rig.load(packets(2));
  rig.compile(rig.program(text), true).burst(rig.context, rig.slots, 2, rig.verdicts);
  expect(rig.verdict(0)).toEqual([layout.XDP_REDIRECT, 0, 7, 0]);
  expect(rig.verdict(1)).toEqual([layout.XDP_REDIRECT, 0, 0, 0]);
});

test('registers and tail calls start anew with each packet', () => {
  const rig = new Rig();
  // An unverified program reads r7 before it writes it.
  rig.load(packets(3));
  const text = 'mov %r0, %r7\nadd %r0, 2\nmov %r7, 40\nexit';
  rig.compile(rig.program(text), true).burst(rig.context, rig.slots, 3, rig.verdicts);
  expect([0, 1, 2].map((index) => rig.verdict(index)[0])).toEqual([2, 2, 2]);

  const programs = definition('programs', layout.KIND_PROG_ARRAY, { valueBytes: 4 });
  const self = rig.program('mov %r0, 1\nlddw %r2, map 0\nmov %r3, 0\ncall 12\nexit', [programs]);
  self.maps[0]?.set(0, 1);
  const instance = rig.compile(self, true);
  rig.table.set(1, instance.main);
  instance.burst(rig.context, rig.slots, 3, rig.verdicts);
  expect(rig.word(layout.CTX_TAIL_CALLS)).toBe(layout.TAIL_CALLS_MAX);
  expect([0, 1, 2].map((index) => rig.verdict(index)[0])).toEqual([1, 1, 1]);
});

test('functions have their own names, and the lines that they begin at', () => {
  const rig = new Rig();
  const program = {
    ...programOf(assemble('call local f\nexit\nf: mov %r0, 2\nexit'), 'filter'),
    lines: [
      { pc: 0, file: 'filter.c', line: 12, column: 1, text: '' },
      { pc: 2, file: 'filter.c', line: 5, column: 1, text: '' },
    ],
  };
  const module = compileProgram(rig.arena, program, { maps: [], checked: false });
  const names = Buffer.from(WebAssembly.Module.customSections(module, 'name')[0] ?? new ArrayBuffer(0)).toString(
    'latin1',
  );
  expect(names).toContain('filter filter.c:12');
  expect(names).toContain('function_2 filter.c:5');
  expect(names).toContain('filter.burst');
});
