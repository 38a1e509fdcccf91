import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { takeBenchLock } from '#build/lab/bench-lock.js';
import { formatRows, rowOf } from '#build/lab/row.js';
import { median, medianNs, type Window } from '#build/lab/windows.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-lock-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a second bench is refused with the pid of the first, until that gives the lock back', () => {
  const path = join(folder, 'held');
  const release = takeBenchLock(path);
  expect(() => takeBenchLock(path)).toThrow(
    expect.objectContaining({ code: 'BUSY', message: expect.stringContaining(`process ${process.pid} is measuring`) }),
  );
  release();
  expect(existsSync(path)).toBe(false);
  takeBenchLock(path)();
});

test('the lock that a dead process left is taken over, and so is one that names nobody', async () => {
  const path = join(folder, 'stale');
  const child = spawn(process.execPath, ['-e', '0']);
  await once(child, 'exit');
  for (const left of [`${child.pid}\n`, '', 'nonsense']) {
    writeFileSync(path, left);
    takeBenchLock(path)();
  }
});

const window = (index: number, perItem: number, share = 1): Window => ({
  index,
  ns: perItem * 1000,
  items: 1000,
  share,
});

test('the median passes by windows in which a thread lost its CPU', () => {
  expect(median([5, 1, 9])).toBe(5);
  const good = [1, 2, 3, 4, 5].map((index) => window(index, 2));
  const lost = [6, 7, 8, 9, 10, 11, 12].map((index) => window(index, 50, 0.4));
  expect(medianNs([[...good, ...lost]])).toEqual({ value: 2, note: '' });
  const partner = [...good, ...lost].map(({ index }) => window(index, 1, index === 3 ? 0.5 : 1));
  expect(medianNs([[...good, ...lost], partner])).toEqual({
    value: 50,
    note: 'other programs had the CPU in all but 4 windows',
  });
  expect(medianNs([[{ index: 1, ns: 5, items: 0, share: 1 }]])).toEqual({ value: null, note: 'nothing moved' });
});

test('a row says what it is compared with, or why with nothing', () => {
  const figure = {
    name: 'ring',
    value: 3,
    unit: 'ns/slot',
    p50: 1,
    p99: 2,
    p999: 3,
    state: 'one core',
    note: '',
  } as const;
  expect(rowOf(figure, { name: 'peer', value: 2, note: '' })).toMatchObject({ peer: 'peer', peerValue: 2, ratio: 1.5 });
  const missing = rowOf({ ...figure, note: 'noisy' }, { name: 'peer', value: null, note: 'no gcc' });
  expect(missing).toMatchObject({ peerValue: null, ratio: null, note: 'noisy; no gcc' });
  expect(formatRows([missing]).split('\n')[1]).toMatch(/^ring {2}3\.00 {3}ns\/slot .*one core {2}noisy; no gcc$/);
});
