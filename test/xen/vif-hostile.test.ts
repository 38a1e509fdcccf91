import { expect, test } from 'vitest';
import { MODES } from './support/rig.ts';
import { runVifHostile } from './support/vif-hostile.ts';

test.each(MODES)(
  '%s: whoever writes into rings, grants and pages latches an end, and nothing is lost',
  async (mode) => {
    const faults = new Set<string>();
    for (let seed = 0; seed < 8; seed++) for (const fault of await runVifHostile(mode, seed, 60)) faults.add(fault);
    expect(faults.size).toBeGreaterThan(2);
  },
);
