import { beforeAll, expect, test } from 'vitest';
import { effort, someOf } from '../support/effort.ts';
import { compileTraced } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { INTERLEAVED, interleaving } from './support/interleave.ts';
import { LAP_FAULTS, ORDER_FAULTS } from './support/planted.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['virtio'], pausable: true });
});

test.each(INTERLEAVED)('%j: whatever the order of accesses, chains come and go whole', (options) => {
  // Each chain needs over ten accesses to what is shared.
  expect(interleaving(options, module).explore(effort(20, 60))).toBeGreaterThan(effort(20, 60) * 80);
});

const SIZES = { split: 4, packed: 3 } as const;

test.each(someOf(ORDER_FAULTS, 8).map((fault) => [fault.layout, fault.what, fault] as const))(
  '%s: it is found when %s',
  async (layout, _, { mutations }) => {
    const planted = await compileTraced({ folders: ['virtio'], pausable: true, mutations });
    const simulation = interleaving({ layout, size: SIZES[layout], eventIdx: true }, planted);
    expectFound(explorePlanted(simulation, 200), /took what|broken|came back|both sleep|unreachable/);
  },
);

test.each(someOf(LAP_FAULTS, 3).map((fault) => [fault.layout, fault.what, fault] as const))(
  '%s: it is found when %s',
  async (layout, _, { mutations }) => {
    const planted = await compileTraced({ folders: ['virtio'], pausable: true, mutations });
    expect(() => interleaving({ layout, size: SIZES[layout] }, planted).explore(1)).toThrow(/seed 0/);
  },
);
