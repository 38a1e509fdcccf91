import { expect, test } from 'vitest';
import { effort } from '../support/effort.ts';
import { MODES } from '../xen/support/rig.ts';
import { type HostileEngine, searchVifHostile } from '../xen/support/vif-hostile.ts';
import { asyncBacks } from './support/async-vif.ts';

let copied = 0;

/** An engine that does some copies between two calls of an end, or fails at one. */
function makeEngine(): HostileEngine {
  const { attachBack, back, run, fail } = asyncBacks({ threshold: 64, descriptors: 32 });
  return {
    attachBack,
    work(random) {
      if (random.below(8) === 0) fail();
      else copied += run(random.below(32));
      back().to.copies.settle();
    },
    drain: () => back().drain(),
  };
}

test.each(MODES)(
  '%s: whoever writes into rings, grants, pages and xenstore while an engine copies latches an end, and nothing is lost',
  async (mode) => {
    copied = 0;
    const { packets, faults } = await searchVifHostile(mode, 0, effort(12, 60), effort(2500, 20_000), makeEngine);
    expect(packets).toBeGreaterThan(500);
    expect(copied).toBeGreaterThan(500);
    expect(faults.size).toBeGreaterThan(4);
  },
);
