import { expect, test } from 'vitest';
import { MODES } from './support/rig.ts';
import { searchVifHostile } from './support/vif-hostile.ts';

test.each(MODES)(
  '%s: whoever writes into rings, grants, pages and xenstore latches an end, and nothing is lost',
  async (mode) => {
    const { packets, changes, faults } = await searchVifHostile(mode, 0, 20, 3000);
    expect(packets).toBeGreaterThan(1000);
    expect(changes).toBeGreaterThan(50);
    expect(faults.size).toBeGreaterThan(4);
  },
);
