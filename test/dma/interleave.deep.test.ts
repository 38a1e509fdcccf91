// The tests of the fast suite, with full counts, and longer ones.
import './interleave.test.ts';
import { expect, test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { interleaving } from './support/interleave.ts';

test.each([false, true])('silent %s: 20,000 schedules, access by access', async (silent) => {
  const module = await compileTraced({ folders: ['dma'], pausable: true });
  expect(interleaving(module, { silent }).explore(20_000)).toBeGreaterThan(20_000 * 80);
});
