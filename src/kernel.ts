import { fill as memoryFill, frameLength as memoryFrameLength, gather as memoryGather } from './memory/chain.kernel.ts';
import { alloc as poolAlloc, flush as poolFlush, free as poolFree, share as poolShare } from './memory/pool.kernel.ts';
import { captureLoad as packetCaptureLoad, pcapAppend as packetPcapAppend } from './packet/capture.kernel.ts';
import { checksum as packetChecksum } from './packet/checksum.kernel.ts';
import { flowHash as packetFlowHash, toeplitz as packetToeplitz } from './packet/flow.kernel.ts';
import { headers as packetHeaders } from './packet/headers.kernel.ts';
import { pop as ringMpscPop, push as ringMpscPush } from './ring/mpsc.kernel.ts';
import { pop as ringSpscPop, push as ringSpscPush } from './ring/spsc.kernel.ts';

export {
  memoryFill,
  memoryFrameLength,
  memoryGather,
  packetCaptureLoad,
  packetChecksum,
  packetFlowHash,
  packetHeaders,
  packetPcapAppend,
  packetToeplitz,
  poolAlloc,
  poolFlush,
  poolFree,
  poolShare,
  ringMpscPop,
  ringMpscPush,
  ringSpscPop,
  ringSpscPush,
};
