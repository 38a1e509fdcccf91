/**
 * Virtqueues, split and packed, both sides of them, over rings in the arena; and the devices that use them: features,
 * status and configuration, the network device's control queue, the block device.
 *
 * @example
 * import { createArena } from 'ringway/memory';
 * import { createChainList, createRegionTable, createVirtqueue } from 'ringway/virtio';
 *
 * const arena = createArena({ bytes: 1 << 20 });
 * const buffers = arena.allocate('buffers', 4096);
 * const regions = createRegionTable(arena, 'regions');
 * regions.set([{ guest: BigInt(buffers), bytes: 4096, address: buffers }]);
 * const { driver, device } = createVirtqueue(arena, { name: 'q', layout: 'packed', size: 100, regions });
 *
 * const list = createChainList(arena, { name: 'list', chains: 32, segments: 100 });
 * list.push([{ address: buffers, length: 64 }], [{ address: buffers + 64, length: 1500 }]);
 * driver.add(list, 1);
 *
 * const used = arena.allocate('used', 32 * 8);
 * const taken = createChainList(arena, { name: 'taken', chains: 32, segments: 100 });
 * if (device.take(taken, 32) === 1) arena.u32.set([taken.id(0), 1500], used / 4);
 * device.return(used, 1);
 * console.log(driver.poll(used, 32), driver.needsNotify(), device.needsNotify());
 *
 * @module
 */

export { BlockDevice, type BlockDeviceOptions, type BlockImage, type BlockStats } from './block.ts';
export { BLOCK_FEATURE_NAMES, type BlockInfo, readBlockInfo, VIRTIO_BLK_F } from './block-config.ts';
export { BlockDriver } from './block-driver.ts';
export { BlockFile } from './block-file.ts';
export { type Chain, type ChainList, createChainList, type Segment } from './chain-list.ts';
export { ConfigSpace } from './config-space.ts';
export { NET_COMMAND } from './control-commands.ts';
export { ControlQueueDriver, type RxMode } from './control-driver.ts';
export type { ControlStats } from './control-queue.ts';
export { NetControlState, type RssSettings } from './control-state.ts';
export {
  type DeviceHost,
  type DeviceSession,
  type DeviceType,
  VirtioDevice,
  type VirtioDeviceOptions,
} from './device.ts';
export {
  type FeatureNames,
  type FeatureRule,
  featureMask,
  featureNames,
  hasFeature,
  parseFeatures,
  VIRTIO_F,
} from './features.ts';
export { inflightBytes } from './inflight.ts';
export { type LegacyQueueLayout, legacyQueueLayout } from './legacy.ts';
export { createDirtyLog, type DirtyLog, dirtyLogBytes } from './log.ts';
export { type MockAnswer, type MockChain, MockDevice, type MockDeviceOptions } from './mock-device.ts';
export { MockDriver, type MockDriverOptions, type MockUsed } from './mock-driver.ts';
export {
  DRIVER_RING_FEATURES,
  type DriverQueue,
  type DriverQueueOptions,
  type NegotiateOptions,
  negotiate,
  readConfig,
  resetDevice,
  setUpQueue,
  sharedRingBytes,
  startDevice,
} from './negotiate.ts';
export { type NetDataPath, NetDevice, type NetDeviceOptions } from './net.ts';
export { type NetInfo, type NetSettings, readNetInfo } from './net-config.ts';
export { NET_FEATURE_NAMES, NET_RULES, netHeaderBytes, VIRTIO_NET_F } from './net-features.ts';
export {
  attachVirtqueueDevice,
  attachVirtqueueDriver,
  createVirtqueue,
  createVirtqueueDevice,
  createVirtqueueDriver,
  type VirtqueueDevice,
  type VirtqueueDriver,
  type VirtqueueOptions,
  type VirtqueueSide,
} from './queue.ts';
export { type RawDescriptor, type RawRing, rawRing } from './raw.ts';
export { createRegionTable, type GuestRegion, type RegionTable } from './regions.ts';
export { type VirtqueueLayout, type VirtqueueRings, virtqueueBytes } from './rings.ts';
export { type QueueSetup, VIRTIO_STATUS, type VirtioTransport } from './transport.ts';
