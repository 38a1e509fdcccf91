import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { fuzz } from './support/fuzz.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));

test.skipIf(!sysAvailable())(
  'frontends that send anything stop nobody, and leave nothing behind',
  { timeout: 60_000 },
  async () => {
    const seed = Number(process.env.RINGWAY_SEED ?? 1);
    const { served, refused } = await fuzz(folder, seed, 80);
    expect(served).toBeGreaterThan(2);
    expect(refused).toBeGreaterThan(10);
  },
);
