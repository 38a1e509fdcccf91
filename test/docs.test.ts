import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { sysAvailable } from '#dist/sys/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-docs-'));
afterAll(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'node_modules'));
symlinkSync(resolve('.'), join(folder, 'node_modules', 'ringway'));

const node = (...args: string[]): string => execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 });
const pages = ['README.md', 'CHANGELOG.md', ...readdirSync('docs').map((name) => join('docs', name))].filter((path) =>
  path.endsWith('.md'),
);

/** The examples of a page that begin with their file name, and what the page says that each prints. */
function examplesOf(page: string): { name: string; code: string; prints: string | undefined }[] {
  const blocks = readFileSync(page, 'utf8').matchAll(
    /^```js\n\/\/ (\S+\.mjs)\n([\s\S]*?)^```\n(?:\n[^\n]*prints:\n\n((?: {4}.*\n)+))?/gm,
  );
  return Array.from(blocks, ([, name = '', code = '', prints]) => ({
    name,
    code,
    prints: prints?.replace(/^ {4}/gm, ''),
  }));
}

const examples = examplesOf('docs/eventdev.md');
for (const { name, code } of examples) writeFileSync(join(folder, name), code);

const printing = examples.filter(({ prints }) => prints !== undefined);
const isShared = (code: string): boolean => code.includes('shared: true');

test.each(printing.filter(({ code }) => !isShared(code)))(
  'docs/eventdev.md: $name prints what the page says',
  ({ name, prints }) => {
    expect(node(join(folder, name))).toBe(prints);
  },
);

test.skipIf(!sysAvailable())('docs/eventdev.md: two processes print what the page says', () => {
  const shared = printing.filter(({ code }) => isShared(code));
  expect(shared.map(({ name }) => name)).toEqual(['first.mjs']);
  for (const { name, prints } of shared) expect(node(join(folder, name))).toBe(prints);
});

test('no example of docs/eventdev.md is left out', () => {
  expect(examples.map(({ name }) => name)).toEqual([
    'one.mjs',
    'worker.mjs',
    'main.mjs',
    'ordered.mjs',
    'links.mjs',
    'second.mjs',
    'first.mjs',
  ]);
});

const readmeCode = (what: string): string =>
  Array.from(readFileSync('README.md', 'utf8').matchAll(/^```js\n([\s\S]*?)^```/gm), ([, code = '']) => code).find(
    (code) => code.includes(what),
  ) ?? '';

test('the example of an event device in README.md runs', () => {
  writeFileSync(join(folder, 'readme.mjs'), readmeCode('createEventDevice'));
  expect(node(join(folder, 'readme.mjs'))).toBe('1 event of flow 7\n');
});

test('the example of a pool in README.md runs', () => {
  mkdirSync(join(folder, 'pool'));
  writeFileSync(join(folder, 'pool/worker.mjs'), 'export default async ({ account, cents }) => account + cents;');
  writeFileSync(join(folder, 'pool/main.mjs'), readmeCode('KeyedPool'));
  expect(node(join(folder, 'pool/main.mjs'))).toBe('-13\n');
});

test('what pages link to is there', () => {
  const missing = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  );
  expect(missing).toEqual([]);
});

test('a plot of loads is a small, well-formed picture whose lines lie in it', () => {
  node('scripts/plot-balance.mjs', folder, 'slow-start');
  const svg = readFileSync(join(folder, 'eventdev-slow-start.svg'), 'utf8');
  expect(svg.length).toBeLessThan(60_000);
  const open: string[] = [];
  for (const [, close, name = '', empty] of svg.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (close) expect(open.pop()).toBe(name);
    else if (!empty) open.push(name);
  }
  expect(open).toEqual([]);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  const [width = 0, height = 0] = (svg.match(/viewBox="0 0 (\d+) (\d+)"/) ?? []).slice(1).map(Number);
  const lines = Array.from(svg.matchAll(/points="([^"]*)"/g), ([, points = '']) => points.split(' '));
  // Two loads, and the flows moved.
  expect(lines.map((points) => points.length > 200)).toEqual([true, true, true]);
  for (const point of lines.flat()) {
    const [x = -1, y = -1] = point.split(',').map(Number);
    expect(x >= 0 && x <= width && y >= 0 && y <= height, point).toBe(true);
  }
});
