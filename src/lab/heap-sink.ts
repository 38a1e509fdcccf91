// A port module of the memory bench: frees what it gets, and prints how the heap of its lcore's thread grew meanwhile.
import { writeSync } from 'node:fs';
import type { PoolKernels } from '../memory/pool.ts';
import type { PortModule } from '../ports/module.ts';
import { RingwayError } from '../util/errors.ts';

/** Bytes of live objects in this thread's heap. */
function liveBytes(): number {
  if (globalThis.gc === undefined) throw new RingwayError('UNSUPPORTED', 'heap sink: run node with --expose-gc');
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

const heapSink: PortModule = {
  attach({ arena, cache }, options) {
    /** Packets after which everything is compiled. */
    const warmUp = options.warmUp as number;
    const { poolFree } = arena.kernels<PoolKernels>();
    let seen = 0;
    let before = 0;
    return {
      rxBurst: () => 0,
      txBurst(slots, count) {
        poolFree(cache, slots, count);
        if (seen < warmUp && seen + count >= warmUp) before = liveBytes();
        seen += count;
        return count;
      },
      info: () => ({ done: false }),
      // Past the thread's own stream, which its end may cut off.
      close: () => void writeSync(1, `${JSON.stringify({ before, after: liveBytes() })}\n`),
    };
  },
};

export default heapSink;
