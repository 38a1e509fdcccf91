import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { conformanceGround } from '#build/bpf/conformance.js';
import { interpret } from '#build/bpf/interpreter.js';
import { reachable } from '#build/bpf/object/reach.js';
import { Random } from '#build/util/random.js';

/** Which instructions can run, as a row of 0 and 1. */
const reach = (source: string): string => {
  const code = assemble(source);
  return [...reachable(code, 0, code.length)].join('');
};

test.each([
  ['a check that fails', 'mov %r1, 0\njeq %r1, 0, +1\nmov %r0, 1\nexit', '1101'],
  ['a check that holds', 'mov %r1, 1\njeq %r1, 0, +1\nmov %r0, 1\nexit', '1111'],
  ['an unknown value', 'jeq %r1, 0, +1\nmov %r0, 1\nexit', '111'],
  ['a constant of 64 bits', 'lddw %r1, 0\njne %r1, 0, +1\nexit\nmov %r0, 1\nexit', '101100'],
  ['arithmetic with constants', 'mov %r1, 1\nlsh %r1, 32\nrsh %r1, 32\njne %r1, 1, +1\nexit\nexit', '111110'],
  ['the lower half only', 'lddw %r1, 0x100000000\njeq32 %r1, 0, +1\nexit\nexit', '10101'],
  ['signs', 'mov %r1, -1\njslt %r1, 0, +1\nexit\nexit', '1101'],
  ['a register', 'mov %r1, 4\nmov %r2, 5\njgt %r2, %r1, +1\nexit\nexit', '11101'],
  ['a value from memory', 'mov %r1, 0\nldxw %r1, [%r10-4]\njeq %r1, 0, +1\nexit\nexit', '11111'],
  ['what a helper gives', 'mov %r0, 0\ncall 7\njeq %r0, 0, +1\nexit\nexit', '11111'],
  ['what a helper leaves alone', 'mov %r6, 0\ncall 7\njeq %r6, 0, +1\nexit\nexit', '11101'],
  ['what an atomic operation fetches', 'mov %r1, 0\nlock fetch add [%r10-8], %r1\njeq %r1, 0, +1\nexit\nexit', '11111'],
  ['two constants that meet', 'mov %r1, 0\njeq %r2, 0, +1\nmov %r1, 1\njeq %r1, 0, +1\nmov %r0, 1\nexit', '111111'],
  [
    'the same constant on both ways',
    'mov %r1, 0\njeq %r2, 0, +1\nmov %r1, 0\njeq %r1, 0, +1\nmov %r0, 1\nexit',
    '111101',
  ],
  ['a loop that counts', 'mov %r1, 0\nadd %r1, 1\njne %r1, 5, -2\nexit', '1111'],
  ['a jump over code', 'ja +1\nmov %r0, 1\nexit', '101'],
  ['jumps out of the function', 'jeq %r1, 0, +100\nja -50\nexit', '110'],
])('%s', (_, source, expected) => {
  expect(reach(source)).toBe(expected);
});

const REGISTERS = 6;
const OPERATIONS = ['add', 'sub', 'mul', 'or', 'and', 'xor', 'lsh', 'rsh', 'arsh', 'mov', 'div', 'mod'];
const JUMPS = ['jeq', 'jne', 'jgt', 'jge', 'jlt', 'jle', 'jset', 'jsgt', 'jsge', 'jslt', 'jsle'];
const NUMBERS = [0, 1, 2, -1, 7, 31, 32, 63, 0x7fffffff, -0x80000000];

function randomSource(random: Random): string {
  const lines = Array.from({ length: REGISTERS }, (_, n) => `mov %r${n}, ${NUMBERS[random.below(NUMBERS.length)]}`);
  const count = 5 + random.below(25);
  const width = (): string => (random.below(2) === 0 ? '' : '32');
  const operand = (): string =>
    random.below(2) === 0 ? `%r${random.below(REGISTERS)}` : `${NUMBERS[random.below(NUMBERS.length)]}`;
  for (let index = 0; index < count; index++) {
    const register = `%r${random.below(REGISTERS)}`;
    if (random.below(3) === 0) {
      const distance = random.below(Math.min(6, count - index)) - (random.below(8) === 0 ? Math.min(index, 4) : 0);
      lines.push(
        `${JUMPS[random.below(JUMPS.length)]}${width()} ${register}, ${operand()}, ${distance < 0 ? '' : '+'}${distance}`,
      );
    } else if (random.below(8) === 0) lines.push(`neg${width()} ${register}`);
    else lines.push(`${OPERATIONS[random.below(OPERATIONS.length)]}${width()} ${register}, ${operand()}`);
  }
  return [...lines, 'exit'].join('\n');
}

test('whatever runs was said to be able to: 3,000 programs at random', () => {
  const seed = Number(process.env.RINGWAY_SEED ?? 3);
  const random = new Random(seed);
  const { arena, context } = conformanceGround();
  let dead = 0;
  for (let number = 0; number < 3_000; number++) {
    const source = randomSource(random);
    const code = assemble(source);
    const reached = reachable(code, 0, code.length);
    dead += reached.filter((each) => each === 0).length;
    const ran = new Set<number>();
    const onStep = ({ pc }: { pc: number }): void => {
      ran.add(pc);
    };
    interpret({ program: programOf(code), maps: [], arena, context, checked: true, fuel: 500, onStep });
    const missed = [...ran].filter((pc) => reached[pc] !== 1);
    expect(missed, `seed ${seed}, program ${number}:\n${source}`).toEqual([]);
  }
  // Else it said so of all.
  expect(dead).toBeGreaterThan(1_000);
});
