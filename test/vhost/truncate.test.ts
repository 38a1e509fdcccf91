import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { surviveTruncation, sysAvailable } from '#build/sys/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-truncate-'));
afterAll(() => rmSync(folder, { recursive: true }));

const isPossible = sysAvailable() && surviveTruncation().supported;

// In a child, since it would not survive a mistake.
test.skipIf(!isPossible)('a frontend that truncates its memory is sent away, and nobody else notices', () => {
  const script = 'test/support/truncate-guest.mjs';
  const out = execFileSync(process.execPath, [script, join(folder, 'vm.sock')], { encoding: 'utf8', timeout: 30_000 });
  const { fault, moved } = JSON.parse(out.trim().split('\n').at(-1) ?? '') as { fault: string; moved: number };
  expect(fault).toBe('port vm: the frontend truncated memory that it shares');
  expect(moved).toBeGreaterThan(1000);
});
