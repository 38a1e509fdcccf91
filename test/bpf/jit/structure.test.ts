import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { graphOf } from '#build/bpf/jit/graph.js';
import { Rig } from './support.ts';

const graphs: Record<string, { text: string; r0: bigint; reducible?: boolean }> = {
  'a loop': { text: 'mov %r0, 0\nmov %r1, 10\nl: add %r0, %r1\nsub %r1, 1\njne %r1, 0, l\nexit', r0: 55n },
  'a loop that is left in its middle': {
    text: 'mov %r0, 0\nl: add %r0, 3\njgt %r0, 20, out\nja l\nout: exit',
    r0: 21n,
  },
  'loops within loops': {
    text: `mov %r0, 0\nmov %r1, 4\nouter: mov %r2, 5\ninner: add %r0, 1\nsub %r2, 1\njne %r2, 0, inner
      sub %r1, 1\njne %r1, 0, outer\nexit`,
    r0: 20n,
  },
  'a loop that goes on in two places': {
    text: `mov %r0, 0\nmov %r1, 0\nl: add %r1, 1\njgt %r1, 9, out\nmov %r2, %r1\nand %r2, 1\njeq %r2, 0, l
      add %r0, %r1\nja l\nout: exit`,
    r0: 25n,
  },
  'ways that meet again': {
    text: `mov %r0, 0\nmov %r1, 3\njeq %r1, 1, one\njeq %r1, 2, two\nadd %r0, 4\nja end\none: add %r0, 1\nja both
      two: add %r0, 2\nboth: add %r0, 8\nend: add %r0, 16\nexit`,
    r0: 20n,
  },
  'a loop with two entries': {
    text: `mov %r0, 0\nmov %r1, 6\nmov %r2, 1\njeq %r2, 1, second\nfirst: add %r0, 1\nsub %r1, 1
      second: add %r0, 10\njne %r1, 0, first\nexit`,
    r0: 76n,
    reducible: false,
  },
  'a branch whose both ways are one': { text: 'mov %r0, 7\njeq %r0, 7, next\nnext: add %r0, 1\nexit', r0: 8n },
  'code that nobody reaches': { text: 'mov %r0, 1\nja end\nmov %r0, 2\nend: exit\nmov %r0, 3\nexit', r0: 1n },
  'a function in a loop': {
    text: `mov %r6, 0\nmov %r7, 5\nl: mov %r1, %r7\ncall local square\nadd %r6, %r0\nsub %r7, 1\njne %r7, 0, l
      mov %r0, %r6\nexit\nsquare: mov %r0, %r1\nmul %r0, %r1\nexit`,
    r0: 55n,
  },
};

test.each(Object.entries(graphs))('%s', (_, { text, r0, reducible = true }) => {
  const code = assemble(text);
  const program = programOf(code);
  expect(graphOf(code, program.functions[0] ?? { name: '', start: 0, end: 0 }).isReducible).toBe(reducible);
  expect(new Rig().everywhere(text)).toEqual([r0, r0, r0, r0]);
});

test('programs as deep as they are long are compiled without recursion', () => {
  const steps = 8_000;
  const lines = Array.from(
    { length: steps },
    (_, step) => `jeq %r1, ${step}, n${step}\nadd %r0, 1\nn${step}: add %r0, 1`,
  );
  const text = ['mov %r0, 0', 'mov %r1, 5', ...lines, 'exit'].join('\n');
  const rig = new Rig();
  const expected = BigInt(2 * steps - 1);
  for (const checked of [false, true]) {
    expect(rig.compile(rig.program(text), checked).run(rig.context, 0n, 0n)).toBe(expected);
  }
});

test('what a loop costs bounds it', () => {
  const rig = new Rig();
  const endless = rig.program('l: mov %r0, 1\nja l\nexit');
  expect(rig.compile(endless, true, 1000).run(rig.context, 0n, 0n)).toBe(0n);
  const long = rig.program('mov %r0, 1000\nl: sub %r0, 1\njne %r0, 0, l\nmov %r0, 9\nexit');
  expect(rig.compile(long, true, 1990).run(rig.context, 0n, 0n)).toBe(0n);
  expect(rig.compile(long, true, 2010).run(rig.context, 0n, 0n)).toBe(9n);
});
