import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createArena } from 'ringway/memory';
import { expect, test } from 'vitest';
import { guardWindow, requireSys, surviveTruncation, sysAvailable } from '#build/sys/index.js';

const child = fileURLToPath(new URL('../support/truncate.mjs', import.meta.url));
const handled = sysAvailable() && process.arch === 'x64';
if (!handled) console.warn('skipped: there is no handler of SIGBUS here');

/** What a process of its own says that touches, in this way, a window of which a page is left. */
function touch(kind: string): { answer: unknown; signal: string | null } {
  const { stdout, stderr, signal } = spawnSync(process.execPath, [child, kind], { encoding: 'utf8' });
  if (signal === null && stdout === '') throw new Error(stderr);
  return { answer: stdout === '' ? undefined : JSON.parse(stdout), signal };
}

/** How, and what is read then. The window behind it is full of sevens. */
const ACCESSES: readonly (readonly [kind: string, seen: number, left: number])[] = [
  ['load', 0, 0],
  ['store', 9, 0],
  ['fill', 3, 3],
  ['copyWithin', 7, 7],
  ['Atomics.add', 5, 0],
  ['kernel load', 0, 0],
  ['kernel store', 6, 0],
  ['kernel vector', 7, 0],
  ['kernel copy from', 7, 0],
  ['kernel copy to', 7, 7],
  ['kernel atomic', 4, 0],
];

test.skipIf(!handled).each(ACCESSES)('a window whose file is truncated is survived: %s', (kind, seen, gone) => {
  expect(touch(kind)).toEqual({ answer: { seen, flags: [1, 0], other: 7, gone }, signal: null });
});

test.skipIf(!handled)('a worker survives it, under the handler of the main thread', () => {
  const support = { supported: false, reason: 'only the main thread installs the handler' };
  const answer = { seen: [0, support], flags: [1, 0], other: 7, gone: 0 };
  expect(touch('worker')).toEqual({ answer, signal: null });
});

test.skipIf(!handled)('each window has its own flag', () => {
  expect(touch('two at once')).toEqual({ answer: { seen: 0, flags: [1, 1], other: 0, gone: 0 }, signal: null });
});

test.skipIf(!handled).each(['unguarded', 'released', 'sent'])('every other SIGBUS kills as ever: %s', (kind) => {
  expect(touch(kind)).toEqual({ answer: undefined, signal: 'SIGBUS' });
});

test.skipIf(!handled)('places that are none, and too many windows, are refused', () => {
  const { memory } = createArena({ bytes: 1 << 20 }).handle;
  expect(surviveTruncation()).toEqual({ supported: true });
  expect(() => guardWindow(memory, 1 << 30, 4096, 65536)).toThrow(/4096 bytes at 1073741824 do not lie in/);
  expect(() => guardWindow(memory, 131072, 0, 65536)).toThrow(/0 bytes at 131072 do not lie in/);
  expect(() => guardWindow(memory, 131072, 4096, 131072)).toThrow(/flag at 131072, .*outside 131072 to 135168/);
  expect(() => guardWindow(memory, 131072, 4096, 65537)).toThrow(/flag at 65537, must be a multiple of 4/);
  const one = (): (() => void) => guardWindow(memory, 131072, 4096, 65536);
  const releases = Array.from({ length: 256 }, one);
  expect(one).toThrow(expect.objectContaining({ code: 'BUSY' }));
  for (const release of releases) release();
  const again = [one()];
  // Not again: the entry is another window's.
  releases[0]?.();
  again.push(...Array.from({ length: 255 }, one));
  expect(one).toThrow(/256 windows/);
  // Other tests of this process need them.
  for (const release of again) release();
});

test.skipIf(!sysAvailable())('a file is described: its size, its pages, and whether it keeps its size', () => {
  const sys = requireSys('the test');
  for (const seal of [true, false]) {
    const fd = sys.memfdCreate('ringway-test', 8192, { seal });
    expect(sys.describeFile(fd)).toEqual({ bytes: 8192, pageBytes: 4096, keepsSize: seal });
    sys.closeFd(fd);
  }
  const folder = mkdtempSync(join(tmpdir(), 'ringway-file-'));
  writeFileSync(join(folder, 'file'), 'abc');
  const fd = openSync(join(folder, 'file'), 'r');
  expect(sys.describeFile(fd)).toEqual({ bytes: 3, pageBytes: 4096, keepsSize: false });
  closeSync(fd);
  rmSync(folder, { recursive: true });
  expect(() => sys.describeFile(99_999)).toThrow(/descriptor 99999 is not an open file/);
});
