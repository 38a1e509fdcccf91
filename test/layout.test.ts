import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { ASC_ARGUMENTS } from '../scripts/build.mjs';

const folder = mkdtempSync(join(tmpdir(), 'ringway-layout-'));
afterAll(() => rmSync(folder, { recursive: true }));

const layouts = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => /(^|[/\\-])layout\.ts$/.test(path))
  .sort();

/** Every number that a layout exports, as JavaScript sees it. */
async function constantsOf(path: string): Promise<[string, number][]> {
  const module = await import(pathToFileURL(resolve('build', path.replace(/\.ts$/, '.js'))).href);
  return Object.entries(module).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
}

test('both compilers give every layout constant the same value, below 2^31', async () => {
  expect(layouts.length).toBeGreaterThan(1);
  const imports: string[] = [];
  const names: string[] = [];
  const expected: number[] = [];
  for (const [index, path] of layouts.entries()) {
    imports.push(`import * as layout${index} from '${relative(folder, resolve('src', path))}';`);
    for (const [name, value] of await constantsOf(path)) {
      names.push(`export const c${names.length}: u32 = layout${index}.${name};`);
      expected.push(value);
      expect(Number.isInteger(value) && value >= 0 && value < 2 ** 31, `${path} ${name} = ${value}`).toBe(true);
    }
  }
  // asc takes absolute imports for packages, and files outside its base not at all.
  const entry = join(folder, 'entry.ts');
  writeFileSync(entry, [...imports, ...names].join('\n'));
  const asc = join(dirname(createRequire(import.meta.url).resolve('assemblyscript/package.json')), 'bin/asc.js');
  execFileSync(process.execPath, [asc, entry, '--baseDir', '/', '-o', join(folder, 'entry.wasm'), ...ASC_ARGUMENTS], {
    stdio: 'pipe',
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(join(folder, 'entry.wasm'))), {
    env: { memory },
  });
  const got = expected.map((_, index) => (exports[`c${index}`] as WebAssembly.Global).value >>> 0);
  expect(got).toEqual(expected);
});

/** Bytes of each word that some source reads or writes: the least, since neighbours may be written together. */
function wordWidths(): Map<string, number> {
  const widths = new Map<string, number>();
  const see = (name: string | undefined, bytes: number): void => {
    if (name !== undefined) widths.set(name, Math.min(bytes, widths.get(name) ?? bytes));
  };
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
  for (const path of sources) {
    const text = readFileSync(join('src', path), 'utf8');
    // The offset is the last of two arguments of a load, of three of a store.
    for (const pattern of [
      /\bload<[uif](8|16|32|64)>\([^;]*?, ([A-Z][A-Z0-9_]+)\)/g,
      /\b(?:store|add|sub|cmpxchg|xchg)<[uif](8|16|32|64)>\([^;]*?, [^;]*?, ([A-Z][A-Z0-9_]+)\)/g,
    ]) {
      for (const [, bits, name] of text.matchAll(pattern)) see(name, Number(bits) / 8);
    }
    for (const [, name, shift] of text.matchAll(/\+ ([A-Z][A-Z0-9_]+)\) >>> ([123])/g)) see(name, 2 ** Number(shift));
  }
  return widths;
}

/**
 * The structure that the word `name` is part of: the longest of its prefixes for which the layout says a size
 * (`PREFIX_BYTES` or `PREFIX_SHIFT`), else its first.
 */
function structureOf(name: string, names: ReadonlySet<string>): string {
  const parts = name.split('_');
  for (let length = parts.length - 1; length > 1; length--) {
    const prefix = parts.slice(0, length).join('_');
    if (names.has(`${prefix}_BYTES`) || names.has(`${prefix}_SHIFT`)) return prefix;
  }
  return parts[0] ?? name;
}

test.each(layouts)('%s: words of one structure do not overlap', async (path) => {
  const widths = wordWidths();
  const constants = await constantsOf(path);
  const names = new Set(constants.map(([name]) => name));
  const words = constants
    .filter(([name]) => widths.has(name))
    .map(([name, at]) => ({ name, structure: structureOf(name, names), at, end: at + (widths.get(name) ?? 0) }))
    .sort((a, b) => a.at - b.at);
  const overlaps = words.flatMap((word, index) =>
    words
      .slice(index + 1)
      .filter((other) => other.structure === word.structure && other.at < word.end)
      .map((other) => `${word.name} (${word.at} to ${word.end}) and ${other.name} (${other.at})`),
  );
  expect(overlaps).toEqual([]);
});

test('the widths of words are found in kernels and in TypeScript', () => {
  const widths = wordWidths();
  const known = ['SPSC_HEAD', 'POOL_HEAD', 'SLOT_FLAGS', 'BUFFER_LENGTH', 'ARENA_PAGES'];
  expect(known.map((name) => widths.get(name))).toEqual([4, 8, 1, 2, 4]);
});
