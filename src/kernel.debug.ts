// What the test build of the kernels exports beside `kernel.ts`: the steps that the simulator interleaves.

import {
  recycleClaim as poolRecycleClaim,
  recyclePublish as poolRecyclePublish,
  recycleTake as poolRecycleTake,
  recycleWrite as poolRecycleWrite,
} from './memory/recycle.kernel.ts';
import {
  popClaim as ringMpscPopClaim,
  popPublish as ringMpscPopPublish,
  popRead as ringMpscPopRead,
  pushPublish as ringMpscPushPublish,
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
import { mpscPushClaim as ringMpscPushClaim } from './ring/steps.kernel.ts';

export {
  poolRecycleClaim,
  poolRecyclePublish,
  poolRecycleTake,
  poolRecycleWrite,
  ringMpscPopClaim,
  ringMpscPopPublish,
  ringMpscPopRead,
  ringMpscPushClaim,
  ringMpscPushPublish,
  ringMpscPushWrite,
  ringSpscPopClaim,
  ringSpscPopPublish,
  ringSpscPopRead,
  ringSpscPushClaim,
  ringSpscPushPublish,
  ringSpscPushWrite,
};
