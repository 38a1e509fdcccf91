/**
 * Virtqueues, split and packed, both sides of them, over rings in the arena.
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
export { type Chain, type ChainList, createChainList, type Segment } from './chain-list.ts';
export {
  createVirtqueue,
  createVirtqueueDevice,
  createVirtqueueDriver,
  type VirtqueueDevice,
  type VirtqueueDriver,
  type VirtqueueOptions,
  type VirtqueueSide,
} from './queue.ts';
export { createRegionTable, type GuestRegion, type RegionTable } from './regions.ts';
export { type VirtqueueLayout, type VirtqueueRings, virtqueueBytes } from './rings.ts';
