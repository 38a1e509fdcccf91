/**
 * What is kept of copies that an engine does for a queue of virtio-net, in bytes from each base.
 *
 * A channel's track says whose copy each descriptor of the channel is. Any thread that holds the channel may collect its
 * completions, for queues of all threads: it sets single bytes, one for each packet, and reads nothing of the queues.
 *
 *     channel   │ copy │ copy │ copy │ copy │        descriptors, completed in order
 *     track     │  0   │  ●   │  ●   │  0   │        address of a packet's byte, for the last copy of the packet alone
 *                         │      └──────┐
 *     queue     │ done │ done │ 0    │ 0    │        a byte for each packet, in the order in which they will be used
 *               │ slot, records │ …                  what the byte stands for
 */

/** Address of the virtual channel. */
export const TRACK_VCHAN: u32 = 0;
/** Address of a u32 for each descriptor: the byte to set when it is done, or 0. */
export const TRACK_FLAGS: u32 = 4;
/** 1: several threads use the channel, and take turns by TRACK_LOCK. */
export const TRACK_SHARED: u32 = 8;
/** 1 while a thread has the channel. */
export const TRACK_LOCK: u32 = 12;
/** A byte for a status. */
export const TRACK_STATUS: u32 = 16;
/** Times that a thread found the lock taken, and looks at it until it had it; u64. Written by who has the channel. */
export const TRACK_CONTENDED: u32 = 24;
export const TRACK_SPINS: u32 = 32;
/** Copies that the engine failed at and the CPU did; u64. */
export const TRACK_FAILED: u32 = 40;
/** Two cache lines: the lock's line is no other's. */
export const TRACK_BYTES: u32 = 128;

/** Address of the net queue (`virtio/layout.ts`), or of the direction of a Xen device (`xen/queue-layout.ts`). */
export const ASYNC_NETQ: u32 = 0;
/** Address of the track of the channel that copies for it; 0: the CPU copies. */
export const ASYNC_TRACK: u32 = 4;
/** Copies of fewer bytes are the CPU's. */
export const ASYNC_THRESHOLD: u32 = 8;
/** Entries, a power of two, less 1. As many as the queue has descriptors, or more. */
export const ASYNC_MASK: u32 = 12;
/** Addresses of the entries, of a byte for each, and of as many used records. */
export const ASYNC_ENTRIES: u32 = 16;
export const ASYNC_FLAGS: u32 = 20;
export const ASYNC_RECORDS: u32 = 24;
/** Free-running: the next entry to fill and the first whose packet is under way. */
export const ASYNC_HEAD: u32 = 28;
export const ASYNC_TAIL: u32 = 32;
/** The same of the records. */
export const ASYNC_RECORD_HEAD: u32 = 36;
export const ASYNC_RECORD_TAIL: u32 = 40;
/** Address of NETQ_CHAINS slots to work with. */
export const ASYNC_SLOTS: u32 = 44;
/** Copies that the engine was given, and those that the CPU did; u64. */
export const ASYNC_OFFLOADED: u32 = 48;
export const ASYNC_COPIED: u32 = 56;
/** Times that a packet had to wait, since the channel was full; u64. */
export const ASYNC_FULL: u32 = 64;
/** Of the ring of `v4`: sends that found it full, and packets that were dropped for that; u64. */
export const ASYNC_RING_FULL: u32 = 72;
export const ASYNC_DROPPED: u32 = 80;
/** Address of the track that the queue had before, while packets before ASYNC_MOVED are under way there; else 0. */
export const ASYNC_OLD_TRACK: u32 = 88;
export const ASYNC_MOVED: u32 = 92;
/** Addresses of the ring of `v4`, 0 of a queue that receives, and of a burst of slots for who takes from it. */
export const ASYNC_RING: u32 = 96;
export const ASYNC_HELD: u32 = 100;
export const ASYNC_BYTES: u32 = 128;

/** What became of an lcore's deferred work (`work-ring.ts`); u64 each. Written by that lcore. */
export const WORK_DEFERRED: u32 = 0;
export const WORK_DONE: u32 = 8;
export const WORK_IN_PROGRESS: u32 = 16;
export const WORK_FULL: u32 = 24;
export const WORK_BYTES: u32 = 128;

/** An entry: the packet's slot (16 bytes), how many records it has; of a Xen device, where its data ring's index is behind it. */
export const ENTRY_RECORDS: u32 = 16;
export const ENTRY_DATA: u32 = 20;
export const ENTRY_SHIFT: u32 = 5;
/** A packet's byte, once nothing of it is left to copy. */
export const FLAG_DONE: u32 = 1;
