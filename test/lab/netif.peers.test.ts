import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { namespacesUnavailable } from '../support/netns.ts';
import { endPrograms, Program } from '../support/program.ts';

const reason = namespacesUnavailable();
if (reason !== undefined) console.warn(`netif.peers.test.ts is skipped: ${reason}`);
const on = test.skipIf(reason !== undefined);

// Its temporary files, and its lock, so that other benches may run.
const folder = mkdtempSync(join(tmpdir(), 'bench-netif-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(endPrograms);

const MAIN = resolve('dist/cli/main.js');
const ip = (...args: string[]): string => execFileSync('ip', ['netns', ...args], { encoding: 'utf8' });

function startBench(...args: string[]): Program {
  const environment = [`XDG_RUNTIME_DIR=${folder}`, `TMPDIR=${folder}`];
  return new Program('bench', 'env', [...environment, process.execPath, MAIN, 'bench', 'netif', ...args]);
}

on.each(['SIGINT', 'SIGTERM'] as const)(
  'after %s nothing is left of a bench: no namespace, no program in it, no folder',
  async (signal) => {
    const bench = startBench();
    const name = `ringway-netif-${bench.child.pid}`;
    const pids = await bench.until('two programs in its namespace', 30_000, () => {
      const found = ip('list').includes(name) ? ip('pids', name).split('\n').filter(Boolean) : [];
      return found.length >= 2 ? found.map(Number) : undefined;
    });
    bench.child.kill(signal);
    await bench.ended;
    expect(bench.child.signalCode).toBe(signal);
    expect(ip('list')).not.toContain(name);
    expect(readdirSync(folder).filter((file) => file.startsWith('ringway-netif-'))).toEqual([]);
    // A signal is sent at once and acts soon.
    for (const pid of pids) {
      await expect.poll(() => readdirSync('/proc').includes(String(pid)), { timeout: 5000 }).toBe(false);
    }
  },
  60_000,
);

on(
  'every kind of port has a rate at which a program drops, and says what bounds it',
  async () => {
    const bench = startBench('--json');
    await bench.ended;
    const rows = JSON.parse(bench.text) as { name: string; value: number | null; note: string }[];
    const drops = rows.filter(({ name }) => name.startsWith('XDP_DROP at '));
    expect(drops.map(({ name }) => name.slice('XDP_DROP at '.length))).toEqual([
      'af-xdp',
      'af-xdp, in the kernel',
      'af-packet',
      'a tap',
      'a guest',
      'vhost-user',
      'xen-netback',
      'xen-netfront',
    ]);
    expect(rows.filter(({ value }) => !(Number(value) > 0))).toEqual([]);
    for (const { note } of drops) expect(note).toMatch(/^bound by (who sends|the receiver): .*busy \d+ %$/);
  },
  180_000,
);
