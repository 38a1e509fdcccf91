import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, expect, test, vi } from 'vitest';
import { addBench } from '#build/cli/bench.js';

// A lock of its own: these runs may disturb a bench, but need not refuse to start beside one.
const folder = mkdtempSync(join(tmpdir(), 'ringway-bench-'));
vi.stubEnv('XDG_RUNTIME_DIR', folder);
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

async function run(...args: string[]): Promise<string> {
  const program = new Command('ringway').exitOverride();
  addBench(program);
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  await program.parseAsync(['bench', ...args], { from: 'user' });
  const printed = log.mock.calls.map(([text]) => text).join('\n');
  log.mockRestore();
  return printed;
}

test('rows are printed as JSON, and the lock is given back', async () => {
  const rows = JSON.parse(await run('pool', '--json'));
  expect(
    rows.map(({ name, unit, state }: { name: string; unit: string; state: string }) => [name, unit, state]),
  ).toEqual([
    ['pool, through the cache', 'ns/buffer', 'one core'],
    ['pool, through the ring', 'ns/buffer', 'one core'],
  ]);
  for (const { value, p50, p99, p999 } of rows) {
    expect(value).toBeGreaterThan(0);
    expect(p50).toBeLessThanOrEqual(p99);
    expect(p99).toBeLessThanOrEqual(p999);
  }
  expect(readdirSync(folder)).toEqual([]);
});

test('a name that is none is refused with those there are', async () => {
  await expect(run('pols')).rejects.toThrow(
    'bench: no "pols"; there are: ring, pool, tso, gro, block, forward, replay, memory, virtqueue, vhost, pvp',
  );
});
