import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createArena } from 'ringway/memory';
import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import {
  CONFORMANCE_GROUPS,
  conformanceGround,
  formatConformance,
  groupOf,
  interpreterEngine,
  readConformance,
  runConformance,
  testGroup,
} from '#build/bpf/conformance.js';
import { decodeRaw, parseConformance } from '#build/bpf/conformance-file.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** The suite is kept beside the repository. */
const folder = join(root, '../shared/conformance/bpf');
const here = existsSync(folder);
if (!here) console.warn(`conformance.test.ts runs in part: there is no folder ${folder}`);

function groundWithKtime() {
  const arena = createArena({ bytes: 64 << 10 });
  const kernels = arena.kernels<Record<string, unknown>>();
  Object.defineProperty(arena, 'kernels', { value: () => ({ bpfKtime: () => 0n, ...kernels }) });
  return conformanceGround(arena);
}

test.skipIf(!here)('the interpreter passes every test of the suite', () => {
  const results = runConformance(folder, interpreterEngine(groundWithKtime()));
  expect(results.filter(({ passed }) => !passed)).toEqual([]);
  expect(results.length).toBeGreaterThan(200);
  for (const group of CONFORMANCE_GROUPS) {
    expect(
      results.some((result) => result.group === group),
      group,
    ).toBe(true);
  }
});

test.skipIf(!here)('what is assembled is what the words say, where a test has both', () => {
  const both = readConformance(folder).flatMap(({ name, code }) => {
    const raw = /^-- raw\n((?:(?!--).*\n)*)/m.exec(readFileSync(join(folder, `${name}.data`), 'utf8'))?.[1];
    return raw === undefined ? [] : [{ code, raw }];
  });
  expect(both.length).toBeGreaterThan(0);
  for (const { code, raw } of both) expect(code).toEqual(decodeRaw(raw));
});

const FILE = `# a comment
-- asm
ldxb %r0, [%r1+1] # the second
add %r0, %r2
exit
-- mem
00 05 # of three
07
-- result
0x8
`;

test('a file gives program, memory and result; raw words do as well', () => {
  const { code, memory, result } = parseConformance('sample', FILE);
  expect(code).toEqual(assemble('ldxb %r0, [%r1+1]\nadd %r0, %r2\nexit'));
  expect([...memory]).toEqual([0, 5, 7]);
  expect(result).toBe(8n);
  const raw = parseConformance('raw', '-- raw\n0x00000001000000b7\n0x95\n-- result\n-1\n');
  expect(raw.code).toEqual(assemble('mov %r0, 1\nexit'));
  expect(raw.result).toBe(2n ** 64n - 1n);
});

test('a fault is an error that says where', () => {
  const run = (text: string) => {
    const { code, memory } = parseConformance('one', text);
    return interpreterEngine().run(programOf(code), memory);
  };
  expect(run(FILE)).toBe(8n);
  expect(() => run('-- asm\nldxdw %r0, [%r0]\nexit\n-- result\n0')).toThrow('fault 1 at instruction 0, address 0x0');
});

test('wrong results, faults and programs that must be refused and are not fail, and nothing else does', () => {
  const files = {
    right: FILE,
    wrong: FILE.replace('0x8', '0x9'),
    fault: '-- asm\nldxdw %r0, [%r0]\nexit\n-- result\n0',
    refused: '-- asm\ncall 9999\nexit\n-- error\nno such helper',
    taken: '-- asm\nexit\n-- error\nsomething',
  };
  const directory = mkdtempSync(join(tmpdir(), 'ringway-'));
  try {
    expect(() => readConformance(directory)).toThrow('no file *.data');
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, `${name}.data`), text);
    const results = runConformance(directory, interpreterEngine());
    expect(results.filter(({ passed }) => passed).map(({ test }) => test)).toEqual(['refused', 'right']);
    expect(results.find(({ test }) => test === 'wrong')?.why).toBe('r0 is 0x8, must be 0x9');
    expect(results.find(({ test }) => test === 'taken')?.why).toMatch('must be refused');
  } finally {
    rmSync(directory, { recursive: true });
  }
  expect(() => readConformance(join(directory, 'gone'))).toThrow('cannot be read');
});

test.each([
  ['-- result\n0', 'neither'],
  ['-- asm\nexit\n', 'no number'],
  ['-- asm\nexit\n-- result\nnine', 'nine'],
  ['-- asm\nmov %r0, 1\nmov %r0, %r11\nexit\n-- result\n0', 'line 3'],
])('%j is refused', (text, said) => {
  expect(() => parseConformance('odd', text)).toThrow(said);
});

test.each([
  ['mov32 %r0, 1', 'base32'],
  ['ja +0', 'base32'],
  ['jeq32 %r0, 1, +0', 'base32'],
  ['ldxw %r0, [%r1]', 'base32'],
  ['be32 %r0', 'base32'],
  ['mov %r0, 1', 'base64'],
  ['jeq %r0, 1, +0', 'base64'],
  ['stdw [%r1], 1', 'base64'],
  ['le64 %r0', 'base64'],
  ['mod32 %r0, 3', 'divmul32'],
  ['mul %r0, 3', 'divmul64'],
  ['sdiv %r0, 3', 'v4'],
  ['smod32 %r0, 3', 'v4'],
  ['movsx832 %r0, %r1', 'v4'],
  ['ldxsw %r0, [%r1]', 'v4'],
  ['ja32 +0', 'v4'],
  ['bswap16 %r0', 'v4'],
  ['lock add32 [%r1], %r0', 'atomic32'],
  ['lock xchg [%r1], %r0', 'atomic64'],
  ['call %r2', 'callx'],
])('%s is in %s', (text, group) => {
  const code = assemble(text);
  expect(groupOf(code[0] as (typeof code)[0])).toBe(group);
  expect(testGroup([...assemble('mov32 %r0, 1'), ...code])).toBe(group);
});

test('the table has a line a group, and failures above it', () => {
  const text = formatConformance({
    interpreter: [
      { test: 'a', group: 'base32', passed: true, why: '' },
      { test: 'b', group: 'base32', passed: false, why: 'r0 is 0x1, must be 0x2' },
    ],
  });
  expect(text.split('\n')).toContain('interpreter: b: r0 is 0x1, must be 0x2');
  expect(text).toMatch(/^base32 +1 of 2$/m);
  expect(text).toMatch(/^all +1 of 2$/m);
  expect(text).toMatch(/^callx +-$/m);
});
