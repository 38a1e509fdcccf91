// What the test build of the kernels exports beside `kernel.ts`: the steps that the simulator interleaves, and those of
// the switch that tests call from several threads.

import { beginMigration as eventdevBeginMigration } from './eventdev/move.kernel.ts';
import { flowHash as eventdevFlowHash } from './eventdev/output.kernel.ts';
import {
  recycleAdvance as poolRecycleAdvance,
  recycleClaim as poolRecycleClaim,
  recyclePublish as poolRecyclePublish,
  recycleRead as poolRecycleRead,
  recycleRun as poolRecycleRun,
  recycleTail as poolRecycleTail,
  recycleTake as poolRecycleTake,
  recycleWrite as poolRecycleWrite,
} from './memory/recycle.kernel.ts';
import {
  popClaim as ringMpscPopClaim,
  popPublish as ringMpscPopPublish,
  popRead as ringMpscPopRead,
  pushHead as ringMpscPushHead,
  pushPublish as ringMpscPushPublish,
  pushRoom as ringMpscPushRoom,
  pushTake as ringMpscPushTake,
  pushWrite as ringMpscPushWrite,
} from './ring/mpsc.kernel.ts';
import {
  popClaim as ringSpscPopClaim,
  popPublish as ringSpscPopPublish,
  popRead as ringSpscPopRead,
  pushClaim as ringSpscPushClaim,
  pushPublish as ringSpscPushPublish,
  pushWrite as ringSpscPushWrite,
} from './ring/spsc.kernel.ts';
import { learn as switchLearn, lookupMac as switchLookup } from './switch/mac.kernel.ts';
import { publish as virtioPackedPublish, writeUsed as virtioPackedWriteUsed } from './virtio/packed.kernel.ts';
import { writeAvailable as virtioPackedWriteAvailable } from './virtio/packed-driver.kernel.ts';
import { putBack as virtioPutBack } from './virtio/side.kernel.ts';
import { publish as virtioSplitPublish, writeUsed as virtioSplitWriteUsed } from './virtio/split.kernel.ts';
import { writeAvailable as virtioSplitWriteAvailable } from './virtio/split-driver.kernel.ts';

export {
  eventdevBeginMigration,
  eventdevFlowHash,
  poolRecycleAdvance,
  poolRecycleClaim,
  poolRecyclePublish,
  poolRecycleRead,
  poolRecycleRun,
  poolRecycleTail,
  poolRecycleTake,
  poolRecycleWrite,
  ringMpscPopClaim,
  ringMpscPopPublish,
  ringMpscPopRead,
  ringMpscPushHead,
  ringMpscPushPublish,
  ringMpscPushRoom,
  ringMpscPushTake,
  ringMpscPushWrite,
  ringSpscPopClaim,
  ringSpscPopPublish,
  ringSpscPopRead,
  ringSpscPushClaim,
  ringSpscPushPublish,
  ringSpscPushWrite,
  switchLearn,
  switchLookup,
  virtioPackedPublish,
  virtioPackedWriteAvailable,
  virtioPackedWriteUsed,
  virtioPutBack,
  virtioSplitPublish,
  virtioSplitWriteAvailable,
  virtioSplitWriteUsed,
};
