import { readFileSync } from 'node:fs';
import { main as compile } from 'assemblyscript/asc';
import { expect, test } from 'vitest';
import { ASC_ARGUMENTS } from '../scripts/build.mjs';
import { checkKernel } from '../scripts/check-kernel.mjs';

/** What is wrong with the kernel that asc makes of `source`, compiled as the real ones are. */
async function problemsOf(source: string): Promise<string[]> {
  let kernel = new Uint8Array();
  const { error, stderr } = await compile(['entry.ts', '--outFile', 'entry.wasm', ...ASC_ARGUMENTS], {
    readFile: (name) => (name === 'entry.ts' ? source : null),
    writeFile(name, contents) {
      if (name === 'entry.wasm') kernel = contents as Uint8Array<ArrayBuffer>;
    },
    listFiles: () => [],
  });
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
  return checkKernel(kernel, [source]);
}

const SOUND = 'function add(a: u32, b: u32): u32 { return load<u32>(a) + b; }';

test('a sound kernel passes', async () => {
  expect(await problemsOf(`${SOUND}\nexport { add };`)).toEqual([]);
});

test.each([
  ['a string', `function f(): string { return 'text'; }\nexport { f };`, /data section/],
  [
    'an array literal',
    'function f(i: u32): u32 { const a: StaticArray<u32> = [1, 2, 3]; return a[i]; }\nexport { f };',
    /data section/,
  ],
  ['a mutable global', 'let n: u32 = 0;\nfunction f(): u32 { return n++; }\nexport { f };', /mutable global/],
  [
    'a throw',
    `function f(a: u32): u32 { if (a === 0) throw new Error('zero'); return a; }\nexport { f };`,
    /imports env\.abort/,
  ],
  [
    'a foreign import',
    `@external('env', 'now') declare function now(): u32;\nfunction f(): u32 { return now(); }\nexport { f };`,
    /imports env\.now; only env\.memory/,
  ],
  [
    'code outside functions',
    'const first = load<u32>(8);\nfunction f(): u32 { return first; }\nexport { f };',
    /start section/,
  ],
])('%s is refused', async (_, source, expected) => {
  expect((await problemsOf(source)).join('; ')).toMatch(expected);
});

test('two exports of one name, and one that is missing, are refused', () => {
  const bytes = readFileSync('build/kernel.wasm');
  expect(checkKernel(bytes, ['export { ringSpscPush, poolFree };', 'export {\n  poolFree,\n};'])).toEqual([
    'exports twice: poolFree',
  ]);
  expect(checkKernel(bytes, ['export { ringSpscPush, absent };'])).toEqual(['does not export absent']);
});

test.each(['kernel.wasm', 'kernel.debug.wasm'])('%s is sound', (file) => {
  const sources = file === 'kernel.wasm' ? ['kernel.ts'] : ['kernel.ts', 'kernel.debug.ts'];
  expect(
    checkKernel(
      readFileSync(`build/${file}`),
      sources.map((name) => readFileSync(`src/${name}`, 'utf8')),
    ),
  ).toEqual([]);
});
