import { beforeAll, expect, test } from 'vitest';
import { someOf } from '../support/effort.ts';
import { compileTraced } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { interleaving } from './support/interleave.ts';
import { ORDER_FAULTS } from './support/planted.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['dma'], pausable: true });
});

test.each([false, true])(
  'silent %s: whatever the order of accesses, operations come back done, once, in order',
  (silent) => {
    expect(interleaving(module, { silent }).explore(100)).toBeGreaterThan(100 * 80);
  },
);

test.each(someOf(ORDER_FAULTS, 3).map((fault) => [fault.what, fault] as const))(
  'it is found when %s',
  async (_, { silent = false, mutations }) => {
    const planted = await compileTraced({ folders: ['dma'], pausable: true, mutations });
    expectFound(
      explorePlanted(interleaving(planted, { silent }), 300),
      /bytes are not there|came back|positions|sleeps, and there is work|no end/,
    );
  },
);
