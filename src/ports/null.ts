import type { PoolKernels } from '../memory/pool.ts';
import { OFFLOAD_ANY } from '../packet/layout.ts';
import type { PortType } from './port.ts';

/** A port that receives nothing and takes everything. */
export const nullPort: PortType = {
  bytes: () => 0,
  create: () => ({ data: undefined, rxQueues: 0, pausable: false, finite: false }),
  attach({ arena, cache }) {
    const { poolFree } = arena.kernels<PoolKernels>();
    return {
      offloads: OFFLOAD_ANY,
      rxBurst: () => 0,
      txBurst(slots, count) {
        poolFree(cache, slots, count);
        return count;
      },
      info: () => ({ done: false }),
      rest: () => Number.POSITIVE_INFINITY,
      eager: true,
      close() {},
    };
  },
};
