import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringway-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function conformance(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [resolve('dist/cli/main.js'), 'conformance', 'bpf', directory, ...args],
    { encoding: 'utf8' },
  );
  return { code: status, out: stdout, err: stderr };
}

const put = (name: string, text: string): void => writeFileSync(join(directory, `${name}.data`), text);

test('a table of the groups and engines, and 0 when all is well', () => {
  put('add', '-- asm\nmov %r0, 2\nadd %r0, %r2\nexit\n-- mem\n01 02\n-- result\n0x4\n');
  put('divide', '-- asm\nmov32 %r0, 7\ndiv32 %r0, 2\nexit\n-- result\n0x3\n');
  const { code, out, err } = conformance();
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toMatch(/^group +interpreter +jit +checked$/m);
  expect(out).toMatch(/^divmul32 +1 of 1 +1 of 1 +1 of 1$/m);
  expect(out).toMatch(/^all +2 of 2 +2 of 2 +2 of 2$/m);
});

test('a test that fails is named, and 1', () => {
  put('wrong', '-- asm\nmov %r0, 2\nexit\n-- result\n0x3\n');
  expect(conformance('--engine', 'interpreter')).toMatchObject({
    code: 1,
    out: expect.stringContaining('interpreter: wrong: r0 is 0x2, must be 0x3\n'),
  });
  const { code, out } = conformance('--engine', 'jit', '--json');
  expect(code).toBe(1);
  expect(JSON.parse(out)).toEqual({
    jit: [{ test: 'wrong', group: 'base64', passed: false, why: 'r0 is 0x2, must be 0x3' }],
  });
});

test('what cannot be run at all is said', () => {
  expect(conformance('--engine', 'spark')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--engine spark: there are interpreter, jit, checked/),
  });
  expect(conformance()).toMatchObject({ code: 1, err: expect.stringContaining('no file *.data') });
  put('odd', '-- asm\nfrob %r0\n-- result\n0\n');
  expect(conformance()).toMatchObject({ code: 1, err: expect.stringContaining('line 2, "frob %r0"') });
});
