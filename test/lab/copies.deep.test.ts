import { expect, test } from 'vitest';
import { COPIES_CASES, checkCopies } from '#build/lab/copies-bench.js';

/** Packets of each case, a multiple of 64; `RINGWAY_PACKETS` has another number. `ringway bench copies` sends 10^8. */
const PACKETS = Number(process.env.RINGWAY_PACKETS ?? 96_000);

test.each(COPIES_CASES)(
  'copies arrive whole and in order: $integration, $assignment, $layout, in order $inOrder',
  async (one) => {
    const { packets, offloaded, copied, failed, full } = await checkCopies(one, PACKETS);
    expect(offloaded + copied).toBeGreaterThanOrEqual(packets);
    expect(failed).toBeGreaterThan(0);
    expect(full).toBeGreaterThan(0);
  },
);
