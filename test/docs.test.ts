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
import { sysAvailable } from '#build/sys/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-docs-'));
afterAll(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'node_modules'));
symlinkSync(resolve('.'), join(folder, 'node_modules', 'ringway'));

const node = (...args: string[]): string => execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 });
const pages = ['README.md', 'CHANGELOG.md', ...readdirSync('docs').map((name) => join('docs', name))].filter((path) =>
  path.endsWith('.md'),
);

/** An example of a page, in a file of its own. */
interface Example {
  readonly page: string;
  readonly name: string;
  readonly code: string;
  /** What the page says that it prints. */
  readonly prints: string | undefined;
}

/** The examples of a page that begin with their file name. */
function examplesOf(page: string): Example[] {
  const blocks = readFileSync(page, 'utf8').matchAll(
    /^```js\n\/\/ (\S+\.mjs)\n([\s\S]*?)^```\n(?:\n[^\n]*prints:\n\n((?: {4}.*\n)+))?/gm,
  );
  return Array.from(blocks, ([, name = '', code = '', prints]) => ({
    page,
    name,
    code,
    prints: prints?.replace(/^ {4}/gm, ''),
  }));
}

/** Pages whose examples are run, with the names of all of them. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  'docs/eventdev.md': ['one.mjs', 'worker.mjs', 'main.mjs', 'ordered.mjs', 'links.mjs', 'second.mjs', 'first.mjs'],
  'docs/xdp.md': ['drop.mjs'],
};
const examples = Object.keys(EXAMPLES).flatMap(examplesOf);
for (const { name, code } of examples) writeFileSync(join(folder, name), code);

/** Runs a file in a project that depends on ringway. */
const runIn = (directory: string, name: string): string =>
  execFileSync(process.execPath, [join(directory, name)], { cwd: folder, encoding: 'utf8', timeout: 30_000 });

const printing = examples.filter(({ prints }) => prints !== undefined);
const isShared = (code: string): boolean => code.includes('shared: true');

test.each(printing.filter(({ code }) => !isShared(code)))('$page: $name prints what the page says', (example) => {
  expect(runIn(folder, example.name)).toBe(example.prints);
});

test.skipIf(!sysAvailable())('docs/eventdev.md: two processes print what the page says', () => {
  const shared = printing.filter(({ code }) => isShared(code));
  expect(shared.map(({ name }) => name)).toEqual(['first.mjs']);
  for (const { name, prints } of shared) expect(runIn(folder, name)).toBe(prints);
});

test.each(Object.entries(EXAMPLES))('no example of %s is left out', (page, names) => {
  expect(examples.filter((example) => example.page === page).map(({ name }) => name)).toEqual(names);
});

const readmeCode = (what: string): string =>
  Array.from(readFileSync('README.md', 'utf8').matchAll(/^```js\n([\s\S]*?)^```/gm), ([, code = '']) => code).find(
    (code) => code.includes(what),
  ) ?? '';

test('the example of an event device in README.md runs', () => {
  writeFileSync(join(folder, 'readme.mjs'), readmeCode('createEventDevice'));
  expect(runIn(folder, 'readme.mjs')).toBe('1 event of flow 7\n');
});

test('the example of a pool in README.md runs', () => {
  mkdirSync(join(folder, 'pool'));
  writeFileSync(join(folder, 'pool/worker.mjs'), 'export default async ({ account, cents }) => account + cents;');
  writeFileSync(join(folder, 'pool/main.mjs'), readmeCode('KeyedPool'));
  expect(runIn(folder, 'pool/main.mjs')).toBe('-13\n');
});

test('the example of an XDP program in README.md says what it prints', () => {
  const code = readmeCode('loadXdp');
  const said = /console\.log\(.*\); \/\/ (.*)$/m.exec(code)?.[1];
  writeFileSync(join(folder, 'xdp.mjs'), code);
  expect(runIn(folder, 'xdp.mjs')).toBe(`${said}\n`);
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
