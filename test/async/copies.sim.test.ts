import { expect, test } from 'vitest';
import { someOf } from '../support/effort.ts';
import { compileTraced } from '../support/kernels.ts';
import { explorePlanted } from '../support/planted.ts';
import { copies } from './support/copies.ts';
import { COPY_FAULTS } from './support/planted.ts';

test.each(['split', 'packed'] as const)(
  '%s: whatever engines, lcores, guest and control thread do, frames arrive once, whole, in order',
  (layout) => {
    expect(copies({ layout }).explore(100)).toBeGreaterThan(100 * 50);
    expect(copies({ layout, inOrder: true }).explore(40)).toBeGreaterThan(40 * 50);
  },
);

test.each(someOf(COPY_FAULTS, 3).map(({ what, mutation }) => [what, mutation] as const))(
  'it is found when %s',
  async (_, mutation) => {
    const module = await compileTraced({
      folders: ['async', 'dma', 'memory', 'ring', 'virtio'],
      mutations: [mutation],
    });
    const { reason, failed } = explorePlanted(copies({ layout: 'packed', module }), 60);
    expect(reason).toMatch(/not what it was|in the place of|no end|missing|unreachable/);
    expect(failed).toBeGreaterThan(0);
  },
);
