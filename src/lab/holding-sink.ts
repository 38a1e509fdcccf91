// A port module of the forward bench: takes everything, and keeps the last packets so that their buffers are not reused.
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { PortModule } from '../ports/module.ts';
import { createSpscRing } from '../ring/ring.ts';
import { nextPowerOfTwo } from '../util/bits.ts';

const BURST_MAX = 32;

const holdingSink: PortModule = {
  attach({ arena, cache, index }, options) {
    const hold = options.hold as number;
    const name = `sink ${index}`;
    const ring = createSpscRing(arena, { name, slots: nextPowerOfTwo(hold + BURST_MAX) });
    const burst = arena.allocate(`${name} burst`, BURST_MAX << SLOT_SHIFT);
    const { poolFree } = arena.kernels<PoolKernels>();
    let held = 0;
    return {
      rxBurst: () => 0,
      txBurst(slots, count) {
        held += ring.push(slots, count);
        if (held > hold) {
          const n = ring.pop(burst, held - hold);
          poolFree(cache, burst, n);
          held -= n;
        }
        return count;
      },
      info: () => ({ done: false }),
      close() {},
    };
  },
};

export default holdingSink;
