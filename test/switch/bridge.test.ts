import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BASES } from '../support/arena.ts';
import { bridgeCase, runBridge } from './support/bridge-case.ts';

test.each(BASES)('frames go exactly where a simple bridge sends them (regions above %i)', (base) => {
  fc.assert(
    fc.property(bridgeCase, (given) => {
      runBridge(given, base);
      expect(given.bursts.length).toBeGreaterThan(0);
    }),
    { numRuns: 12 },
  );
});
