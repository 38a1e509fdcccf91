import { expect, test } from 'vitest';
import { COPIES_CASES, checkCopies } from '#build/lab/copies-bench.js';

/** Packets of each case, a multiple of 32; `RINGWAY_PACKETS` has another number. `ringway bench copies` sends 10^8. */
const PACKETS = Number(process.env.RINGWAY_PACKETS ?? 48_000);

test.each(COPIES_CASES)(
  'copies arrive whole and in order: $integration, $assignment, $layout, in order $inOrder',
  async (one) => {
    const { packets, offloaded, copied, failed } = await checkCopies(one, PACKETS);
    expect(offloaded + copied).toBeGreaterThanOrEqual(2 * packets);
    expect(failed).toBeGreaterThan(0);
  },
);
