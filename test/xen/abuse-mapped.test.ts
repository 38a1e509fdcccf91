import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { BACK_CASES } from './support/abuse-back.ts';
import { FRONT_CASES } from './support/abuse-front.ts';

const cases = [...BACK_CASES, ...FRONT_CASES].map(({ name }) => name);

describe.skipIf(!sysAvailable())('with real mappings, in a process that would not survive a mistake', () => {
  // Beside the modules that it imports.
  const folder = mkdtempSync(resolve('build/abuse-'));
  const child = join(folder, 'abuse-child.mjs');
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [child, ...args], { encoding: 'utf8', timeout: 60_000 });
  const results = new Map<string, string | undefined>();
  let ended: ReturnType<typeof run>;

  beforeAll(async () => {
    const bundle = await rolldown({
      input: resolve('test/xen/support/abuse-child.ts'),
      platform: 'node',
      external: [/^node:/, /^#build\//, /^ringway\//],
    });
    await bundle.write({
      file: child,
      paths: (id) => (id.startsWith('ringway/') ? id.replace(/^ringway\/(.*)$/, '#build/$1/index.js') : id),
    });
    ended = run();
    for (const line of ended.stdout.split('\n').filter((text) => text.startsWith('{'))) {
      const { name, error } = JSON.parse(line) as { name: string; error?: string };
      results.set(name, error);
    }
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  test('it ends well', () => {
    expect(ended).toMatchObject({ status: 0, signal: null, stderr: '' });
    expect(ended.stdout).toMatch(/end\n$/);
  });

  test.each(cases)('%s', (name) => {
    expect(results.has(name)).toBe(true);
    expect(results.get(name)).toBeUndefined();
  });

  test('a page that was taken back kills who touches it', () => {
    expect(run('revoked')).toMatchObject({ signal: 'SIGSEGV', stdout: 'mapped\n' });
  });
});
