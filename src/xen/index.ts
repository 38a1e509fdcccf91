/**
 * Xen's split network devices, and a Xen in this process to run them on: domains with memory of their own, grants, event
 * channels, xenstore.
 *
 * @example
 * import { createArena } from 'ringway/memory';
 * import { Xen } from 'ringway/xen';
 *
 * const arena = createArena({ bytes: 64 << 20 });
 * const xen = new Xen(arena, { name: 'xen' });
 * const driver = xen.createDomain(0, { pages: 16, wholeArena: true });
 * const guest = xen.createDomain(1, { pages: 256 });
 * const page = guest.allocPages(1);
 * const ref = guest.grants.grant(driver.domid, page, { readonly: true });
 * const buffer = arena.allocate('buffer', 4096);
 * const batch = driver.hypervisor.createBatch('batch', 32);
 * batch.set(0, { source: { domid: guest.domid, ref, offset: 0 }, target: { address: buffer }, length: 64 });
 * driver.hypervisor.copy(batch, 1);
 * console.log(batch.status(0), guest.grants.end(ref), driver.costs().hypercalls);
 *
 * @module
 */
export type { HypervisorCosts } from './access.ts';
export type { ControlAnswer, ControlClient, VifHash } from './control-client.ts';
export type { DomainOptions } from './domain.ts';
export {
  type CopyBatch,
  type CopySide,
  type DataAccess,
  type DataShare,
  type EventChannels,
  GNTST,
  type GrantCopy,
  type GrantMap,
  type GrantTable,
  type Hypervisor,
  type Mapped,
} from './hypervisor.ts';
export { Netback, type NetbackOptions } from './netback.ts';
export { Netfront, type NetfrontOptions } from './netfront.ts';
export type { FrontPath } from './netfront-queue.ts';
export {
  createNetRing,
  initSharedRing,
  type NetRing,
  type NetRingKind,
  type NetRingOptions,
  netRingSlots,
} from './ring.ts';
export type { FrontendMemory } from './shared-pages.ts';
export {
  type Access,
  inTransaction,
  type Permissions,
  type StoreOperations,
  type StoreTransaction,
  type Unwatch,
  type XenStore,
} from './store-client.ts';
export { StoreError, type StoreErrorName } from './store-path.ts';
export type { StoreQuotas } from './store-view.ts';
export type { VifOptions, VifPath } from './vif-device.ts';
export {
  attachVifQueue,
  attachVifReceiver,
  attachVifSender,
  type VifDrops,
  type VifFeatures,
  type VifQueue,
  type VifQueueShare,
  type VifReceiver,
  type VifSender,
} from './vif-queue.ts';
export { type Domain, Xen, type XenOptions } from './xen.ts';
export { addVif, removeVif, type VifDevice, XenbusState } from './xenbus.ts';
