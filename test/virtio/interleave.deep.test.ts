// The tests of the fast suite, with full counts, and longer ones.
import './interleave.test.ts';
import { expect, test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { INTERLEAVED, interleaving } from './support/interleave.ts';

test.each(INTERLEAVED)('%j: 20,000 schedules, access by access', async (options) => {
  const module = await compileTraced({ folders: ['virtio'], pausable: true });
  expect(interleaving(options, module).explore(20_000)).toBeGreaterThan(20_000 * 80);
});
