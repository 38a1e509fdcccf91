import { beforeAll, expect, test } from 'vitest';
import { effort, someOf } from '../support/effort.ts';
import { compileTraced, type Mutation } from '../support/kernels.ts';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { interleaving } from './support/interleave.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['xen'], pausable: true });
});

test('whatever the order of accesses, requests and answers come whole, and nobody sleeps for ever', () => {
  expect(interleaving(module).explore(effort(40, 400))).toBeGreaterThan(effort(40, 400) * 60);
});

const ring = (from: string, to: string): Mutation[] => [{ file: 'xen/ring.kernel.ts', from, to }];

const FAULTS: readonly [string, Mutation[]][] = [
  [
    'the index is published before the slots are written',
    ring(
      'for (let i: u32 = 0; i < n; i++) copySlot(slotAt(ring, from + i), source + i * bytes, bytes);\n  publish(ring, n);',
      'publish(ring, n);\n  for (let i: u32 = 0; i < n; i++) copySlot(slotAt(ring, from + i), source + i * bytes, bytes);',
    ),
  ],
  ['nobody looks again after asking for an event', ring('return unconsumed(ring) !== 0 ? 1 : 0;', 'return 0;')],
  [
    'the event is asked for one too late',
    ring(
      'atomic.store<u32>(word, load<u32>(ring, NETRING_TAKE) + 1);',
      'atomic.store<u32>(word, load<u32>(ring, NETRING_TAKE) + 2);',
    ),
  ],
  [
    'the peer is told only of the last that was given',
    ring(
      'return load<u32>(ring, NETRING_GIVE) - event < given ? 1 : 0;',
      'return load<u32>(ring, NETRING_GIVE) === event ? 1 : 0;',
    ),
  ],
];

test.each(someOf(FAULTS, 3))('it is found when %s', async (_, mutations) => {
  const planted = await compileTraced({ folders: ['xen'], pausable: true, mutations });
  expectFound(explorePlanted(interleaving(planted), 200), /took what|broken|both sleep|no end/);
});
