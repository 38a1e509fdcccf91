import { asyncDeliver, asyncReceive } from './async/receive.kernel.ts';
import { asyncSend, asyncSettle } from './async/send.kernel.ts';
import { asyncVifEnter, asyncVifSettle } from './async/vif.kernel.ts';
import { asyncVifDrop, asyncVifReceive } from './async/vif-receive.kernel.ts';
import {
  jiffies as bpfJiffies,
  ktime as bpfKtime,
  numaNode as bpfNumaNode,
  prandom as bpfPrandom,
  processorId as bpfProcessorId,
} from './bpf/basic.kernel.ts';
import { csumDiff as bpfCsumDiff } from './bpf/checksum.kernel.ts';
import { fibLookup as bpfFibLookup } from './bpf/fib.kernel.ts';
import {
  releaseLock as bpfReleaseLock,
  spinLock as bpfSpinLock,
  spinUnlock as bpfSpinUnlock,
} from './bpf/lock.kernel.ts';
import {
  count as bpfMapCount,
  erase as bpfMapErase,
  keys as bpfMapKeys,
  read as bpfMapRead,
  write as bpfMapWrite,
} from './bpf/maps/control.kernel.ts';
import { nextElement as bpfNextElement } from './bpf/maps/each.kernel.ts';
import {
  remove as bpfMapDelete,
  lookup as bpfMapLookup,
  lookupPercpu as bpfMapLookupPercpu,
  update as bpfMapUpdate,
} from './bpf/maps/map.kernel.ts';
import {
  discard as bpfRingbufDiscard,
  output as bpfRingbufOutput,
  peek as bpfRingbufPeek,
  query as bpfRingbufQuery,
  release as bpfRingbufRelease,
  reserve as bpfRingbufReserve,
  submit as bpfRingbufSubmit,
} from './bpf/maps/ringbuf.kernel.ts';
import {
  adjustHead as bpfAdjustHead,
  adjustMeta as bpfAdjustMeta,
  adjustTail as bpfAdjustTail,
  buffLen as bpfBuffLen,
  loadBytes as bpfLoadBytes,
  storeBytes as bpfStoreBytes,
} from './bpf/packet.kernel.ts';
import { perfEventOutput as bpfPerfEventOutput } from './bpf/perf.kernel.ts';
import { tracePrintk as bpfTracePrintk, traceVprintk as bpfTraceVprintk } from './bpf/printk.kernel.ts';
import { reach as bpfReach, reachMap as bpfReachMap } from './bpf/reach.kernel.ts';
import { redirect as bpfRedirect, redirectMap as bpfRedirectMap } from './bpf/redirect.kernel.ts';
import {
  burstCapacity as dmaBurstCapacity,
  copy as dmaCopy,
  copySg as dmaCopySg,
  fillWords as dmaFill,
  rollback as dmaRollback,
  submit as dmaSubmit,
} from './dma/channel.kernel.ts';
import { completed as dmaCompleted, completedStatus as dmaCompletedStatus } from './dma/completed.kernel.ts';
import {
  abort as dmaAbort,
  check as dmaCheck,
  execute as dmaExecute,
  fail as dmaFail,
  finish as dmaFinish,
  run as dmaRunEngine,
  running as dmaRunning,
} from './dma/engine.kernel.ts';
import {
  dequeueOrdered as eventdevDequeueOrdered,
  enqueueOrdered as eventdevEnqueueOrdered,
} from './eventdev/answer.kernel.ts';
import { maintain as eventdevMaintain } from './eventdev/background.kernel.ts';
import { dequeue as eventdevDequeue } from './eventdev/dequeue.kernel.ts';
import { enqueue as eventdevEnqueue } from './eventdev/enqueue.kernel.ts';
import { held as eventdevHeld } from './eventdev/held.kernel.ts';
import { dequeueLevels as eventdevDequeueLevels } from './eventdev/levels.kernel.ts';
import { park as eventdevPark, unpark as eventdevUnpark } from './eventdev/park.kernel.ts';
import { dequeueOne as eventdevDequeueOne, enqueueOne as eventdevEnqueueOne } from './eventdev/single.kernel.ts';
import { fillUdp as guestFillUdp, swap as guestSwap } from './guest/apps.kernel.ts';
import { checked as labChecked, unchecked as labUnchecked } from './lab/address.kernel.ts';
import { atomicStages as labAtomicStages, hop as labHop, work as labWork } from './lab/event-stage.kernel.ts';
import { numberedCheck as labNumberedCheck, numberedMake as labNumberedMake } from './lab/numbered.kernel.ts';
import { ping as labPing, pong as labPong } from './lab/ping.kernel.ts';
import { drive as labDrive, serve as labServe } from './lab/ring-turn.kernel.ts';
import { wireReceive as labWireReceive } from './lab/wire.kernel.ts';
import { fill as memoryFill, frameLength as memoryFrameLength, gather as memoryGather } from './memory/chain.kernel.ts';
import { alloc as poolAlloc, flush as poolFlush, free as poolFree, share as poolShare } from './memory/pool.kernel.ts';
import {
  packetReceive as netifPacketReceive,
  packetSend as netifPacketSend,
  packetUnsent as netifPacketUnsent,
} from './netif/packet.kernel.ts';
import {
  tapGather as netifTapGather,
  tapPrepare as netifTapPrepare,
  tapReceived as netifTapReceived,
  tapSent as netifTapSent,
} from './netif/tap.kernel.ts';
import {
  xskFill as netifXskFill,
  xskReceive as netifXskReceive,
  xskReclaim as netifXskReclaim,
  xskSend as netifXskSend,
  xskUnsent as netifXskUnsent,
} from './netif/xsk.kernel.ts';
import {
  captureLoad as packetCaptureLoad,
  pcapAppend as packetPcapAppend,
  pcapngAppend as packetPcapngAppend,
} from './packet/capture.kernel.ts';
import { checksum as packetChecksum } from './packet/checksum.kernel.ts';
import { flowHash as packetFlowHash, toeplitz as packetToeplitz } from './packet/flow.kernel.ts';
import { gro as packetGro, groTake as packetGroTake } from './packet/gro.kernel.ts';
import { headers as packetHeaders } from './packet/headers.kernel.ts';
import { finish as packetFinish, finishChecksum as packetFinishChecksum } from './packet/offload.kernel.ts';
import { rssHash as packetRssHash } from './packet/rss.kernel.ts';
import { segment as packetSegment } from './packet/segment.kernel.ts';
import { generate as portsGenerate } from './ports/generator.kernel.ts';
import { pop as ringMpscPop, push as ringMpscPush } from './ring/mpsc.kernel.ts';
import { pop as ringSpscPop, push as ringSpscPush } from './ring/spsc.kernel.ts';
import {
  deliver as switchEventsDeliver,
  enter as switchEventsEnter,
  group as switchEventsGroup,
  leave as switchEventsLeave,
  mark as switchEventsMark,
} from './switch/events.kernel.ts';
import { forward as switchForward } from './switch/forward.kernel.ts';
import { age as switchAge, countMacs as switchCountMacs, setStatic as switchSetStatic } from './switch/mac.kernel.ts';
import { arrived as switchArrived, cross as switchCross, redirect as switchRedirect } from './switch/xdp.kernel.ts';
import {
  burstBytes as telemetryBurstBytes,
  countRx as telemetryCountRx,
  countTx as telemetryCountTx,
} from './telemetry/counters.kernel.ts';
import {
  check as virtioBlockCheck,
  finish as virtioBlockFinish,
  range as virtioBlockRange,
  serve as virtioBlockServe,
} from './virtio/block.kernel.ts';
import { filter as virtioNetFilter } from './virtio/filter.kernel.ts';
import { logWritten as virtioLogWritten } from './virtio/log.kernel.ts';
import {
  bounceDetach as virtioNetBounceDetach,
  bounceReceive as virtioNetBounceReceive,
  bounceSend as virtioNetBounceSend,
} from './virtio/net-bounce.kernel.ts';
import {
  deviceFlush as virtioNetDeviceFlush,
  deviceReceive as virtioNetDeviceReceive,
  deviceSend as virtioNetDeviceSend,
} from './virtio/net-device.kernel.ts';
import {
  driverDetach as virtioNetDriverDetach,
  driverReceive as virtioNetDriverReceive,
  driverSend as virtioNetDriverSend,
} from './virtio/net-driver.kernel.ts';
import {
  packedNeedsNotify as virtioPackedNeedsNotify,
  packedSetNotify as virtioPackedSetNotify,
  splitNeedsNotify as virtioSplitNeedsNotify,
  splitSetNotify as virtioSplitSetNotify,
} from './virtio/notify.kernel.ts';
import { giveBack as virtioPackedDeviceReturn, take as virtioPackedDeviceTake } from './virtio/packed.kernel.ts';
import { add as virtioPackedDriverAdd, poll as virtioPackedDriverPoll } from './virtio/packed-driver.kernel.ts';
import { giveBack as virtioSplitDeviceReturn, take as virtioSplitDeviceTake } from './virtio/split.kernel.ts';
import { add as virtioSplitDriverAdd, poll as virtioSplitDriverPoll } from './virtio/split-driver.kernel.ts';
import { detach as virtioDriverDetach, reset as virtioReset } from './virtio/state.kernel.ts';
import { steer as virtioNetSteer } from './virtio/steer.kernel.ts';
import { translateWords as virtioTranslate } from './virtio/translate.kernel.ts';
import { prepare as xdpPrepare, sort as xdpSort } from './xdp/hook.kernel.ts';
import { copyBegin as xenCopyBegin, copyEnd as xenCopyEnd, copyMove as xenCopyMove } from './xen/copy.kernel.ts';
import { returnFrames as xenReturnFrames } from './xen/data-ring.kernel.ts';
import {
  mask as xenEventMask,
  send as xenEventSend,
  setPending as xenEventSetPending,
  takePending as xenEventTakePending,
  unmask as xenEventUnmask,
} from './xen/event.kernel.ts';
import { rxGather as xenRxGather, txGather as xenTxGather } from './xen/gather.kernel.ts';
import { endAccess as xenEndAccess, grantAccess as xenGrantAccess } from './xen/grant.kernel.ts';
import {
  grefAt as xenGrefAt,
  grefInsert as xenGrefInsert,
  grefRemove as xenGrefRemove,
} from './xen/gref-table.kernel.ts';
import {
  mapBegin as xenMapBegin,
  mapUndo as xenMapUndo,
  unmapBegin as xenUnmapBegin,
  unmapEnd as xenUnmapEnd,
} from './xen/map.kernel.ts';
import { backRxBegin as xenBackRxBegin, backRxEnd as xenBackRxEnd } from './xen/netback-rx.kernel.ts';
import { backTxBegin as xenBackTxBegin, backTxEnd as xenBackTxEnd } from './xen/netback-tx.kernel.ts';
import { frontReceive as xenFrontReceive, frontRefill as xenFrontRefill } from './xen/netfront-rx.kernel.ts';
import { frontReclaim as xenFrontReclaim, frontSend as xenFrontSend } from './xen/netfront-tx.kernel.ts';
import {
  finalCheck as xenRingFinalCheck,
  needsNotify as xenRingNeedsNotify,
  pushRequests as xenRingPushRequests,
  pushResponses as xenRingPushResponses,
  takeRequests as xenRingTakeRequests,
  takeResponses as xenRingTakeResponses,
} from './xen/ring.kernel.ts';
import { vifSteer as xenVifSteer } from './xen/steer.kernel.ts';
import {
  deviceCount as xenDeviceCount,
  segmentsRead as xenSegmentsRead,
  segmentsWrite as xenSegmentsWrite,
} from './xen/system/gntdev.kernel.ts';

export {
  asyncDeliver,
  asyncReceive,
  asyncSend,
  asyncSettle,
  asyncVifDrop,
  asyncVifEnter,
  asyncVifReceive,
  asyncVifSettle,
  bpfAdjustHead,
  bpfAdjustMeta,
  bpfAdjustTail,
  bpfBuffLen,
  bpfCsumDiff,
  bpfFibLookup,
  bpfJiffies,
  bpfKtime,
  bpfLoadBytes,
  bpfMapCount,
  bpfMapDelete,
  bpfMapErase,
  bpfMapKeys,
  bpfMapLookup,
  bpfMapLookupPercpu,
  bpfMapRead,
  bpfMapUpdate,
  bpfMapWrite,
  bpfNextElement,
  bpfNumaNode,
  bpfPerfEventOutput,
  bpfPrandom,
  bpfProcessorId,
  bpfReach,
  bpfReachMap,
  bpfRedirect,
  bpfRedirectMap,
  bpfReleaseLock,
  bpfRingbufDiscard,
  bpfRingbufOutput,
  bpfRingbufPeek,
  bpfRingbufQuery,
  bpfRingbufRelease,
  bpfRingbufReserve,
  bpfRingbufSubmit,
  bpfSpinLock,
  bpfSpinUnlock,
  bpfStoreBytes,
  bpfTracePrintk,
  bpfTraceVprintk,
  dmaAbort,
  dmaBurstCapacity,
  dmaCheck,
  dmaCompleted,
  dmaCompletedStatus,
  dmaCopy,
  dmaCopySg,
  dmaExecute,
  dmaFail,
  dmaFill,
  dmaFinish,
  dmaRollback,
  dmaRunEngine,
  dmaRunning,
  dmaSubmit,
  eventdevDequeue,
  eventdevDequeueLevels,
  eventdevDequeueOne,
  eventdevDequeueOrdered,
  eventdevEnqueue,
  eventdevEnqueueOne,
  eventdevEnqueueOrdered,
  eventdevHeld,
  eventdevMaintain,
  eventdevPark,
  eventdevUnpark,
  guestFillUdp,
  guestSwap,
  labAtomicStages,
  labChecked,
  labDrive,
  labHop,
  labNumberedCheck,
  labNumberedMake,
  labPing,
  labPong,
  labServe,
  labUnchecked,
  labWireReceive,
  labWork,
  memoryFill,
  memoryFrameLength,
  memoryGather,
  netifPacketReceive,
  netifPacketSend,
  netifPacketUnsent,
  netifTapGather,
  netifTapPrepare,
  netifTapReceived,
  netifTapSent,
  netifXskFill,
  netifXskReceive,
  netifXskReclaim,
  netifXskSend,
  netifXskUnsent,
  packetCaptureLoad,
  packetChecksum,
  packetFinish,
  packetFinishChecksum,
  packetFlowHash,
  packetGro,
  packetGroTake,
  packetHeaders,
  packetPcapAppend,
  packetPcapngAppend,
  packetRssHash,
  packetSegment,
  packetToeplitz,
  poolAlloc,
  poolFlush,
  poolFree,
  poolShare,
  portsGenerate,
  ringMpscPop,
  ringMpscPush,
  ringSpscPop,
  ringSpscPush,
  switchAge,
  switchArrived,
  switchCountMacs,
  switchCross,
  switchEventsDeliver,
  switchEventsEnter,
  switchEventsGroup,
  switchEventsLeave,
  switchEventsMark,
  switchForward,
  switchRedirect,
  switchSetStatic,
  telemetryBurstBytes,
  telemetryCountRx,
  telemetryCountTx,
  virtioBlockCheck,
  virtioBlockFinish,
  virtioBlockRange,
  virtioBlockServe,
  virtioDriverDetach,
  virtioLogWritten,
  virtioNetBounceDetach,
  virtioNetBounceReceive,
  virtioNetBounceSend,
  virtioNetDeviceFlush,
  virtioNetDeviceReceive,
  virtioNetDeviceSend,
  virtioNetDriverDetach,
  virtioNetDriverReceive,
  virtioNetDriverSend,
  virtioNetFilter,
  virtioNetSteer,
  virtioPackedDeviceReturn,
  virtioPackedDeviceTake,
  virtioPackedDriverAdd,
  virtioPackedDriverPoll,
  virtioPackedNeedsNotify,
  virtioPackedSetNotify,
  virtioReset,
  virtioSplitDeviceReturn,
  virtioSplitDeviceTake,
  virtioSplitDriverAdd,
  virtioSplitDriverPoll,
  virtioSplitNeedsNotify,
  virtioSplitSetNotify,
  virtioTranslate,
  xdpPrepare,
  xdpSort,
  xenBackRxBegin,
  xenBackRxEnd,
  xenBackTxBegin,
  xenBackTxEnd,
  xenCopyBegin,
  xenCopyEnd,
  xenCopyMove,
  xenDeviceCount,
  xenEndAccess,
  xenEventMask,
  xenEventSend,
  xenEventSetPending,
  xenEventTakePending,
  xenEventUnmask,
  xenFrontReceive,
  xenFrontReclaim,
  xenFrontRefill,
  xenFrontSend,
  xenGrantAccess,
  xenGrefAt,
  xenGrefInsert,
  xenGrefRemove,
  xenMapBegin,
  xenMapUndo,
  xenReturnFrames,
  xenRingFinalCheck,
  xenRingNeedsNotify,
  xenRingPushRequests,
  xenRingPushResponses,
  xenRingTakeRequests,
  xenRingTakeResponses,
  xenRxGather,
  xenSegmentsRead,
  xenSegmentsWrite,
  xenTxGather,
  xenUnmapBegin,
  xenUnmapEnd,
  xenVifSteer,
};
