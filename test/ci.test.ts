import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringway-ci-'));
  writeFileSync(join(folder, 'allowed'), '# why\nneeds a NIC\tno NIC in a container\n');
});
afterEach(() => rmSync(folder, { recursive: true }));

function report(name: string, tests: Record<string, string>, status = 'passed'): void {
  const assertionResults = Object.entries(tests).map(([fullName, result]) => ({ fullName, status: result }));
  writeFileSync(
    join(folder, `${name}.json`),
    JSON.stringify({ testResults: [{ name: 'a.test.ts', status, message: 'broken', assertionResults }] }),
  );
}

function count(steps: string): { code: number | null; lines: string[] } {
  writeFileSync(join(folder, 'steps'), steps);
  const args = ['.ci/count.mjs', join(folder, 'allowed'), folder, 'fast'];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { code: status, lines: stdout.trim().split('\n') };
}

test('what passed and what may be skipped is counted', () => {
  report('fast', { one: 'passed', two: 'passed', 'needs a NIC': 'skipped' });
  expect(count('lint\t0\nfast\t0\n')).toEqual({ code: 0, lines: ['2 passed, 0 failed, 1 skipped'] });
});

test('a skip that is not listed is refused', () => {
  report('fast', { one: 'passed', lazy: 'pending' });
  const { code, lines } = count('fast\t0\n');
  expect([code, lines.at(-1)]).toEqual([1, '1 passed, 0 failed, 1 skipped']);
  expect(lines[0]).toMatch(/not in .*: fast: lazy/);
});

test('a failed test counts once, whatever its step exits with', () => {
  report('fast', { one: 'passed', two: 'failed' }, 'failed');
  expect(count('fast\t1\n')).toEqual({ code: 1, lines: ['failed: fast: two', '1 passed, 1 failed, 0 skipped'] });
});

test('a file that does not load, a step that fails and a report that is missing count', () => {
  report('deep', {}, 'failed');
  expect(count('deep\t1\nlint\t1\nfast\t0\n')).toEqual({
    code: 1,
    lines: [
      'failed: deep: a.test.ts: broken',
      'failed: step lint exited with 1',
      'failed: step fast left no report',
      '0 passed, 3 failed, 0 skipped',
    ],
  });
});
