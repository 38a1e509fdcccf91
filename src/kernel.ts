import { ping as labPing, pong as labPong } from './lab/ping.kernel.ts';
import { fill as memoryFill, frameLength as memoryFrameLength, gather as memoryGather } from './memory/chain.kernel.ts';
import { alloc as poolAlloc, flush as poolFlush, free as poolFree, share as poolShare } from './memory/pool.kernel.ts';
import { pop as ringMpscPop, push as ringMpscPush } from './ring/mpsc.kernel.ts';
import { pop as ringSpscPop, push as ringSpscPush } from './ring/spsc.kernel.ts';

export {
  labPing,
  labPong,
  memoryFill,
  memoryFrameLength,
  memoryGather,
  poolAlloc,
  poolFlush,
  poolFree,
  poolShare,
  ringMpscPop,
  ringMpscPush,
  ringSpscPop,
  ringSpscPush,
};
