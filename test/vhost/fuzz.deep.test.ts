import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { fuzz } from './support/fuzz.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));

test.skipIf(!sysAvailable())('5,000 frontends that send anything stop nobody', { timeout: 400_000 }, async () => {
  const seed = Number(process.env.RINGWAY_SEED ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  expect((await fuzz(folder, seed, 5000)).refused).toBeGreaterThan(1000);
});
