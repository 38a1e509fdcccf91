import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'ringway-xdp-'));
afterAll(() => rmSync(folder, { recursive: true }));

const sources = readdirSync('examples/xdp').filter((name) => name.endsWith('.c'));

/** Where Debian has the headers that linux/bpf.h includes. */
const INCLUDE = '-I/usr/include/x86_64-linux-gnu';

test('the C sources compile, and the tests beside them pass with what comes out', () => {
  expect(sources.length).toBe(8);
  for (const source of sources) {
    const object = join(folder, source.replace(/c$/, 'o'));
    const args = [
      '-O2',
      '-g',
      '-Wall',
      '-Werror',
      '-target',
      'bpf',
      INCLUDE,
      '-c',
      join('examples/xdp', source),
      '-o',
      object,
    ];
    execFileSync('clang', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  }
  const tests = readdirSync('examples/xdp').filter((name) => name.endsWith('.test.mjs'));
  const out = execFileSync(process.execPath, ['--test', ...tests.map((name) => join('examples/xdp', name))], {
    env: { ...process.env, XDP_OBJECTS: folder },
    encoding: 'utf8',
    timeout: 120_000,
  });
  expect(out).toMatch(/^# fail 0$/m);
  expect(Number(/^# pass (\d+)$/m.exec(out)?.[1])).toBeGreaterThan(18);
});
