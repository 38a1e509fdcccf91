/**
 * Where things lie in the arena: its directory, packet slots, buffers, and the buffer pool. All in bytes.
 *
 *     arena       0 ┌──────────────────────────┐
 *                   │ never used: address 0    │  a null address reads zeroes, never data
 *              base ├──────────────────────────┤
 *                   │ directory                │  names, addresses and sizes of the regions
 *     base + 64 KiB ├──────────────────────────┤
 *                   │ region │ gap │ region …  │  a gap holds GUARD words, so that an overrun is found
 *                   └──────────────────────────┘
 */

// ---------------------------------------------------------------- directory

/** "RNGW", little endian: an arena of ours. */
export const ARENA_MAGIC_VALUE: u32 = 0x57474e52;
export const ARENA_MAGIC: u32 = 0;
/** Bytes of the whole memory, in pages of 64 KiB (4 GiB does not fit a u32 of bytes). */
export const ARENA_PAGES: u32 = 4;
/** Number of entries in the directory, free ones included. */
export const ARENA_REGION_COUNT: u32 = 8;
/** Of an arena that other processes may open: a number of the kernels' build. */
export const ARENA_BUILD: u32 = 12;
/** The first entry. */
export const ARENA_REGIONS: u32 = 64;
/** Bytes of a directory entry: address u32, bytes u32, name of up to 55 bytes of UTF-8 with a zero behind it. */
export const REGION_ENTRY_SHIFT: u32 = 6;
export const REGION_ADDRESS: u32 = 0;
export const REGION_BYTES: u32 = 4;
export const REGION_NAME: u32 = 8;
export const REGION_NAME_MAX: u32 = 55;
export const REGIONS_MAX: u32 = 1000;
/** Bytes that the directory takes. */
export const DIRECTORY_BYTES: u32 = 65536;
/** Bytes of guard words behind each region. */
export const GUARD_BYTES: u32 = 128;
export const GUARD_VALUE: u32 = 0x5afe5afe;

// ---------------------------------------------------------------- packet slot

/**
 * A packet on its way: 16 bytes, one v128, what rings carry and bursts are made of.
 *
 *      0 ┌────────────────┐
 *        │ buffer         │  u32  address of the first buffer
 *      4 ├───────┬────────┤
 *        │ offset│ length │  u16 each: where the frame starts in that buffer, and its bytes in that buffer
 *      8 ├───────┴────────┤
 *        │ flow           │  u32  flow hash; 0 until somebody computed it
 *     12 ├────┬─────┬─────┤
 *        │port│flags│event│  u8 port (where from, then where to), u8 SLOT_FLAG_…, u16 of the event device
 *        └────┴─────┴─────┘
 */
export const SLOT_BUFFER: u32 = 0;
export const SLOT_OFFSET: u32 = 4;
export const SLOT_LENGTH: u32 = 6;
export const SLOT_FLOW: u32 = 8;
export const SLOT_PORT: u32 = 12;
export const SLOT_FLAGS: u32 = 13;
export const SLOT_EVENT: u32 = 14;
/** A slot is 16 bytes. */
export const SLOT_SHIFT: u32 = 4;
/** A burst is at most 32 packets on the way through the dataplane. */
export const BURST_MAX: u32 = 32;

/** More buffers follow: `BUFFER_NEXT` of the first is valid. */
export const SLOT_FLAG_CHAINED: u32 = 1;
/** Others hold the first buffer too: `BUFFER_REFERENCES` counts, and the bytes must not be written. */
export const SLOT_FLAG_SHARED: u32 = 2;
/** `BUFFER_SECONDS`, `BUFFER_NANOSECONDS` and `BUFFER_WIRE_LENGTH` are valid. */
export const SLOT_FLAG_TIMED: u32 = 4;
/** `BUFFER_CSUM_START` and the words behind it are valid: checksum or segmentation is still to be done. */
export const SLOT_FLAG_OFFLOAD: u32 = 8;
/** On its way to another lcore because an XDP program says so; `SLOT_EVENT` is the program to run there, or 0. */
export const SLOT_FLAG_XDP: u32 = 16;

// ---------------------------------------------------------------- buffer

/**
 * A buffer: 2 KiB, aligned to 2 KiB. The first 64 bytes describe it; the fast path never reads them, since all that
 * an unshared, unchained packet needs is in its slot.
 *
 *        0 ┌───────────────┐
 *          │ descriptor    │  64 bytes, below
 *       64 ├───────────────┤
 *          │ headroom      │  192 bytes for headers that are pushed
 *      256 ├───────────────┤
 *          │ frame         │  up to 1,792 bytes; longer frames go on in the next buffer
 *     2048 └───────────────┘
 */
export const BUFFER_SHIFT: u32 = 11;
export const BUFFER_BYTES: u32 = 2048;
/** Where a received frame starts: XDP's XDP_PACKET_HEADROOM (Linux include/uapi/linux/bpf.h). */
export const BUFFER_HEADROOM: u32 = 256;
/** The lowest offset a pushed header may reach. */
export const BUFFER_DATA_MIN: u32 = 64;
/** Frame bytes in one buffer: BUFFER_BYTES - BUFFER_HEADROOM. */
export const BUFFER_FRAME_MAX: u32 = 1792;
/** Buffers of one packet at most: 147 hold 263,424 bytes, more than libpcap’s longest frame (MAXIMUM_SNAPLEN, 262,144). */
export const SEGMENTS_MAX: u32 = 147;

/** Owners of the buffer; valid in a slot flagged SHARED, and always in the second and later buffers of a chain. */
export const BUFFER_REFERENCES: u32 = 0;
/** Next buffer of the chain, or 0. */
export const BUFFER_NEXT: u32 = 4;
/** In the second and later buffers of a chain: where the bytes start, and how many there are (u16 each). */
export const BUFFER_OFFSET: u32 = 8;
export const BUFFER_LENGTH: u32 = 10;
/** Bytes of the whole chain; valid in the first buffer of a slot flagged CHAINED. */
export const BUFFER_TOTAL: u32 = 12;
/** When the frame was seen, since 1970-01-01 UTC. */
export const BUFFER_SECONDS: u32 = 16;
export const BUFFER_NANOSECONDS: u32 = 20;
/** Bytes the frame had on the wire; more than its length when the capture cut it. */
export const BUFFER_WIRE_LENGTH: u32 = 24;
/** As in struct virtio_net_hdr (virtio 1.1, 5.1.6): u8 flags, u8 gso_type, then u16 each. */
export const BUFFER_OFFLOAD_FLAGS: u32 = 28;
export const BUFFER_GSO_TYPE: u32 = 29;
export const BUFFER_HEADER_LENGTH: u32 = 30;
export const BUFFER_GSO_SIZE: u32 = 32;
export const BUFFER_CSUM_START: u32 = 34;
export const BUFFER_CSUM_OFFSET: u32 = 36;
/** Bits of BUFFER_OFFLOAD_FLAGS, with the names of VIRTIO_NET_HDR_F_…: somebody still has to compute the checksum… */
export const HDR_NEEDS_CSUM: u32 = 1;
/** … or somebody has checked it already. */
export const HDR_DATA_VALID: u32 = 2;
/** BUFFER_GSO_TYPE, with the names of VIRTIO_NET_HDR_GSO_…; UDP_L4 is of virtio 1.3. */
export const GSO_NONE: u32 = 0;
export const GSO_TCPV4: u32 = 1;
/** One datagram in IP fragments: nobody makes those for others here. */
export const GSO_UDP: u32 = 3;
export const GSO_TCPV6: u32 = 4;
/** Several UDP datagrams. */
export const GSO_UDP_L4: u32 = 5;
/**
 * Beside TCPV4 or TCPV6, and no other knows of it: the packet is in a tunnel (`packet/tunnel.kernel.ts`), and csum_start is that of the
 * TCP header inside. Outer identifications count, too, or are all the same.
 */
export const GSO_TUNNEL: u32 = 64;
export const GSO_TUNNEL_FIXED: u32 = 96;
/** Beside TCPV4 or TCPV6: the TCP header has CWR (RFC 3168, 6.1.2). */
export const GSO_ECN: u32 = 128;
/** Debug kernels only: STATE_FREE or STATE_HELD. */
export const BUFFER_STATE: u32 = 60;
export const STATE_FREE: u32 = 0x46524545;
export const STATE_HELD: u32 = 0x48454c44;
/** What debug kernels fill a freed buffer with. */
export const POISON_BYTE: u32 = 0xdb;

// ---------------------------------------------------------------- pool

/**
 * The pool that all lcores share: fresh buffers by a counter, used ones by a ring of runs (`recycle.kernel.ts`).
 * Words that lcores write lie two cache lines apart, since x86 prefetches lines in pairs.
 */
export const POOL_BASE: u32 = 0;
/** Number of buffers. */
export const POOL_COUNT: u32 = 4;
/** Entries of the recycle ring: a power of two, at least POOL_COUNT, so that it is never full. */
export const POOL_RING_SIZE: u32 = 8;
/** Address of the run words (u64 each), then of the entries (u32 each). */
export const POOL_RUNS: u32 = 12;
export const POOL_ENTRIES: u32 = 16;
/** Buffers taken fresh so far. */
export const POOL_FRESH: u32 = 128;
/** Free-running u64: next place to claim, next to take. */
export const POOL_HEAD: u32 = 256;
export const POOL_TAIL: u32 = 384;
export const POOL_BYTES: u32 = 512;
/** A run word: the index of the run's first place, shifted left by this, and its length (up to CACHE_REFILL) below. */
export const RUN_LENGTH_BITS: u32 = 7;
export const RUN_LENGTH_MASK: u32 = 127;

/** An lcore's own stock of buffers, last in first out. Only its lcore touches it. */
export const CACHE_POOL: u32 = 0;
export const CACHE_FILL: u32 = 4;
/** Counters, u64 each, with the names and meaning of Linux's page_pool statistics. */
export const CACHE_ALLOC_FAST: u32 = 8;
export const CACHE_ALLOC_SLOW: u32 = 16;
export const CACHE_ALLOC_SLOW_HIGH_ORDER: u32 = 24;
export const CACHE_ALLOC_EMPTY: u32 = 32;
export const CACHE_ALLOC_REFILL: u32 = 40;
export const CACHE_ALLOC_WAIVE: u32 = 48;
export const CACHE_RECYCLE_CACHED: u32 = 56;
export const CACHE_RECYCLE_CACHE_FULL: u32 = 64;
export const CACHE_RECYCLE_RING: u32 = 72;
export const CACHE_RECYCLE_RING_FULL: u32 = 80;
export const CACHE_RELEASED_REFCNT: u32 = 88;
/** The stack of addresses. */
export const CACHE_STACK: u32 = 128;
export const CACHE_SIZE: u32 = 128;
/** Buffers moved between a cache and the ring at once. */
export const CACHE_REFILL: u32 = 64;
/** CACHE_STACK + CACHE_SIZE * 4, and two lines of distance to the next lcore's. */
export const CACHE_BYTES: u32 = 768;
