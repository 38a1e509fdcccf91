/**
 * Where the words of virtqueues lie, in bytes. Sections are those of virtio 1.1. Rings are shared with the peer, who may
 * write anything anywhere in them at any time; queue states, region tables and chain lists are ours alone.
 *
 *     split      descriptors  │ addr u64 │ len u32 │ flags u16 │ next u16 │ …            16 bytes each, aligned to 16
 *                driver area  │ flags u16 │ idx u16 │ ring u16 … │ used_event u16 │      "available", aligned to 2
 *                device area  │ flags u16 │ idx u16 │ { id u32, len u32 } … │ avail_event u16 │   "used", aligned to 4
 *
 *     packed     descriptors  │ addr u64 │ len u32 │ id u16 │ flags u16 │ …              16 bytes each, aligned to 16
 *                either area  │ off 15 bits, wrap 1 │ flags u16 │                        4 bytes, aligned to 4
 */

// ---------------------------------------------------------------- descriptors

/** Both layouts: 16 bytes a descriptor, aligned to 16 (2.6, 2.7.10.1). */
export const VIRTQ_DESC_SHIFT: u32 = 4;
/** Guest address of the buffer, u64 (2.6.5, 2.7.13). */
export const VIRTQ_DESC_ADDR: u32 = 0;
/** Bytes of the buffer, u32. The u64 here holds the flags and the next index or buffer id too: one copy of all. */
export const VIRTQ_DESC_LEN: u32 = 8;
/** Split: flags u16 below, next u16 above. Packed: id u16 below, flags u16 above; one word, written last. */
export const VIRTQ_DESC_WORD: u32 = 12;

/** The chain goes on (2.6.5, 2.7.6). */
export const VIRTQ_DESC_F_NEXT: u32 = 1;
/** The device writes the buffer; else it reads it (2.6.5, 2.7.3). */
export const VIRTQ_DESC_F_WRITE: u32 = 2;
/** The buffer is a table of descriptors (2.6.5.3, 2.7.7). */
export const VIRTQ_DESC_F_INDIRECT: u32 = 4;
/** Packed (2.7.1): available when AVAIL equals the wrap counter and USED does not, used when both equal it. */
export const VIRTQ_DESC_F_AVAIL: u32 = 128;
export const VIRTQ_DESC_F_USED: u32 = 32768;

/** Descriptors of a queue at most, in both layouts (2.6, 2.7.10.1). */
export const VIRTQ_SIZE_MAX: u32 = 32768;

// ---------------------------------------------------------------- areas

/** Split, both areas: flags u16, where 1 asks the peer not to notify (2.6.6, 2.6.8). */
export const VIRTQ_AREA_FLAGS: u32 = 0;
export const VIRTQ_AVAIL_F_NO_INTERRUPT: u32 = 1;
export const VIRTQ_USED_F_NO_NOTIFY: u32 = 1;
/** Split, both areas: free-running index u16 of the next entry that is written. */
export const VIRTQ_AREA_IDX: u32 = 2;
/** Split, both areas: the first entry. */
export const VIRTQ_AREA_RING: u32 = 4;
/** Bytes of an available entry (a head, u16) and of a used one (id u32, len u32), as shifts. */
export const VIRTQ_AVAIL_ENTRY_SHIFT: u32 = 1;
export const VIRTQ_USED_ENTRY_SHIFT: u32 = 3;

/** Packed, both areas: bits 0–14 offset, 15 wrap counter, 16–17 flags (2.7.14). One u32, so that it is read whole. */
export const PVIRTQ_EVENT_SUPPRESS: u32 = 0;
export const PVIRTQ_EVENT_SUPPRESS_BYTES: u32 = 4;
export const RING_EVENT_FLAGS_ENABLE: u32 = 0;
export const RING_EVENT_FLAGS_DISABLE: u32 = 1;
/** Only when the offset of the structure is reached; valid with EVENT_IDX alone. */
export const RING_EVENT_FLAGS_DESC: u32 = 2;

// ---------------------------------------------------------------- regions

/** Where guest addresses lie in the arena: a count, then entries. Written by the control path while the queue rests. */
export const VIRTIO_REGIONS_COUNT: u32 = 0;
export const VIRTIO_REGIONS_FIRST: u32 = 8;
export const VIRTIO_REGIONS_MAX: u32 = 32;
/** VIRTIO_REGIONS_FIRST + VIRTIO_REGIONS_MAX * VIRTIO_REGION_BYTES. */
export const VIRTIO_REGIONS_BYTES: u32 = 776;
/** An entry: guest address u64, size u64, arena address u32. */
export const VIRTIO_REGION_GUEST: u32 = 0;
export const VIRTIO_REGION_SIZE: u32 = 8;
export const VIRTIO_REGION_ADDRESS: u32 = 16;
export const VIRTIO_REGION_BYTES: u32 = 24;

// ---------------------------------------------------------------- queue state

/** One side's state. `take` is the next place to read what the peer wrote, `give` the next to write for it. */
export const VQ_SIZE: u32 = 0;
/** Arena addresses: the descriptors, the area that this side writes, the area that the peer writes. */
export const VQ_DESCRIPTORS: u32 = 4;
export const VQ_OWN_AREA: u32 = 8;
export const VQ_PEER_AREA: u32 = 12;
/** Split: arena addresses of the event word that this side writes, and of the peer's (2.6.7, 2.6.10). */
export const VQ_OWN_EVENT: u32 = 16;
export const VQ_PEER_EVENT: u32 = 20;
/** VQ_F_… */
export const VQ_FEATURES: u32 = 24;
/** Device: arena address of the region table. */
export const VQ_REGIONS: u32 = 28;
/** Driver: what is added to an arena address to make a guest address, u64, modulo 2^64. */
export const VQ_GUEST_OFFSET: u32 = 32;
/** Driver: arena address of the indirect tables, one for each id, and the entries of each; 0 when there are none. */
export const VQ_TABLES: u32 = 40;
export const VQ_TABLE_ENTRIES: u32 = 44;
/** VQ_BROKEN_…; 0 while the peer behaves. Nothing is read from or written to the ring after that, until a reset. */
export const VQ_BROKEN: u32 = 48;
/** Times that the queue broke. Survives resets. */
export const VQ_BROKEN_COUNT: u32 = 52;
/** Split: free-running modulo 2^16. Packed: a place below VQ_SIZE, with the wrap counter of 2.7.1 in the next word. */
export const VQ_TAKE: u32 = 56;
export const VQ_TAKE_WRAP: u32 = 60;
export const VQ_GIVE: u32 = 64;
export const VQ_GIVE_WRAP: u32 = 68;
/** Entries (split) or places (packed) given since the caller last asked whether to notify. */
export const VQ_GIVEN: u32 = 72;
/** Driver: descriptors that no chain uses. Device: VQ_SIZE less what the chains use that were taken and not returned. */
export const VQ_FREE: u32 = 76;
/** Driver: first id of the free list. */
export const VQ_FREE_HEAD: u32 = 80;
/** Packed: the word of a burst's first descriptor, and the place it goes to when the burst is published. */
export const VQ_HELD_WORD: u32 = 84;
export const VQ_HELD_PLACE: u32 = 88;
/** Driver, IN_ORDER: id of the oldest chain that is out. */
export const VQ_ORDER: u32 = 92;
/** Driver, IN_ORDER: the last id of the used batch that is being polled, plus 1, and its length; 0 between batches. */
export const VQ_BATCH: u32 = 96;
export const VQ_BATCH_WRITTEN: u32 = 100;
/** Device: segments of a chain at most: VQ_SIZE, or, with INDIRECT_DESC, VQ_TABLE_SEGMENTS when that is more. */
export const VQ_CHAIN_MAX: u32 = 104;
/** Device: arena address of the dirty log (LOG_…); 0 when nothing is logged. Survives resets. */
export const VQ_LOG: u32 = 108;
/** Device: arena address of the queue's inflight region (INFLIGHT_…); 0 when chains are not tracked. */
export const VQ_INFLIGHT: u32 = 112;
/** Device: the first entry of the region whose chain is to be taken again, plus 1; 0 when there is none. */
export const VQ_AGAIN: u32 = 116;
/** Device: how many of the chains that the last `take` took it took again: the first ones. */
export const VQ_TOOK_AGAIN: u32 = 120;
/** Device: counts the chains that were tracked, u64. */
export const VQ_COUNTER: u32 = 128;
/** The id entries, VQ_SIZE of them. */
export const VQ_IDS: u32 = 192;

/**
 * Segments that a chain through a table may have however small the queue is. 2.6.5.3.1 forbids a chain longer than the
 * queue, and Linux drivers make them all the same: a packet of 17 pages, its head and its header, 19 in all, goes into a
 * table on a queue of 16. The bound is what such a chain needs with room to spare, and ends every walk.
 */
export const VQ_TABLE_SEGMENTS: u32 = 64;

/** VIRTIO_F_RING_EVENT_IDX was negotiated (6, bit 29). */
export const VQ_F_EVENT_IDX: u32 = 1;
/** VIRTIO_F_RING_INDIRECT_DESC was negotiated (6, bit 28). */
export const VQ_F_INDIRECT_DESC: u32 = 2;
/** This is the driver's side. */
export const VQ_F_DRIVER: u32 = 4;
/** VIRTIO_F_IN_ORDER was negotiated (6, bit 35): chains come back in the order in which they were made available. */
export const VQ_F_IN_ORDER: u32 = 8;
/** The layout is packed: VIRTIO_F_RING_PACKED was negotiated (6, bit 34). */
export const VQ_F_PACKED: u32 = 16;

/** An id's entry. Nothing here is ever read back from the ring, where the peer could have changed it. */
export const VQ_ID_SHIFT: u32 = 4;
/**
 * Driver: the next free id, or, in a split chain, the next descriptor. IN_ORDER: the next of the table, for ever. Device:
 * of entries of the inflight region, not of ids: the next whose chain is to be taken again, plus 1.
 */
export const VQ_ID_NEXT: u32 = 0;
/** Descriptors of the chain that is out under this id; 0 when none is. */
export const VQ_ID_COUNT: u32 = 4;
/** Bytes that the device may write into the chain. */
export const VQ_ID_WRITABLE: u32 = 8;
/**
 * Driver: the chain's last id: the last descriptor when split, the id itself when packed. Device, packed: the first of the
 * chain's entries in the inflight region, and the last in the upper half.
 */
export const VQ_ID_LAST: u32 = 12;

/** The peer moved its index by more than the queue holds (2.6.6, 2.6.8), or made used descriptors available (2.7.1). */
export const VQ_BROKEN_INDEX: u32 = 1;
/** An id of VQ_SIZE or more. */
export const VQ_BROKEN_ID: u32 = 2;
/** The device got an id that it holds already, or the driver one that is not out. */
export const VQ_BROKEN_ID_STATE: u32 = 3;
/** A chain of more than VQ_CHAIN_MAX buffers, as a loop is (2.6.5.2). */
export const VQ_BROKEN_CHAIN: u32 = 4;
/** A `next` outside the table (2.6.5). */
export const VQ_BROKEN_NEXT: u32 = 5;
/** A buffer or a table outside the regions, or across the end of one. */
export const VQ_BROKEN_ADDRESS: u32 = 6;
/** A readable buffer behind a writable one (2.6.4.2, 2.7.17). */
export const VQ_BROKEN_ORDER: u32 = 7;
/** A table not negotiated, nested, with NEXT, empty, or not of whole descriptors (2.6.5.3.1, 2.7.19). */
export const VQ_BROKEN_INDIRECT: u32 = 8;
/** More bytes written than the chain has room for (2.6.8.2), or a chain of 2^32 bytes or more (2.6.5.2, 2.7.17). */
export const VQ_BROKEN_LENGTH: u32 = 9;
/** The inflight region has a link to nowhere: who shares it wrote there. */
export const VQ_BROKEN_INFLIGHT: u32 = 10;

// ---------------------------------------------------------------- inflight region

/**
 * What a device has taken and not returned, as vhost-user has it ("Inflight I/O tracking"): a queue's part of memory that
 * outlives the device. It is shared with whoever keeps it, who may write anything there. Begins of both layouts:
 */
export const INFLIGHT_FEATURES: u32 = 0;
/** u16: 1; 0 in a region that nobody has used yet. */
export const INFLIGHT_VERSION: u32 = 8;
/** u16: entries, one for each descriptor of the queue. */
export const INFLIGHT_ENTRIES: u32 = 10;
/** Split: the head returned last, u16, from which `next` leads to those before it. Then the used index, u16. */
export const INFLIGHT_SPLIT_LAST_HEAD: u32 = 12;
export const INFLIGHT_SPLIT_USED_IDX: u32 = 14;
/** Split: entries of 16 bytes, by the head of the chain: inflight u8, next u16, counter u64. */
export const INFLIGHT_SPLIT: u32 = 16;
export const INFLIGHT_SPLIT_SHIFT: u32 = 4;
export const INFLIGHT_SPLIT_NEXT: u32 = 6;
/** Packed: first free entry, u16, and what it was before the change that is going on. */
export const INFLIGHT_PACKED_FREE: u32 = 12;
export const INFLIGHT_PACKED_OLD_FREE: u32 = 14;
/** Packed, in one u64: used place u16, the old one u16, its wrap counter u8, the old one u8. */
export const INFLIGHT_PLACES: u32 = 16;
/** Packed: entries of 32 bytes, one for each descriptor that was taken. */
export const INFLIGHT_PACKED: u32 = 32;
export const INFLIGHT_PACKED_SHIFT: u32 = 5;
/** The next of the chain's entries, or the next free one. */
export const INFLIGHT_PACKED_NEXT: u32 = 2;
/** In a chain's first entry: its last entry, and how many it has. */
export const INFLIGHT_PACKED_LAST: u32 = 4;
export const INFLIGHT_PACKED_NUM: u32 = 6;
/** The descriptor: id u16, flags u16, length u32 in one word, then the address u64. */
export const INFLIGHT_PACKED_REST: u32 = 16;
export const INFLIGHT_PACKED_ADDR: u32 = 24;
/** Both: 1 when the chain whose first entry this is was taken and not returned, u8; and the order of taking, u64. */
export const INFLIGHT_INFLIGHT: u32 = 0;
export const INFLIGHT_COUNTER: u32 = 8;

// ---------------------------------------------------------------- dirty log

/** Arena address of the bitmap, and its bytes: a bit for each page of guest addresses, from 0 on. */
export const LOG_BITMAP: u32 = 0;
export const LOG_BYTES: u32 = 4;
export const LOG_DESCRIPTOR_BYTES: u32 = 8;
/** VHOST_LOG_PAGE: 4 KiB. */
export const LOG_PAGE_SHIFT: u32 = 12;

// ---------------------------------------------------------------- chain list

/** What a device takes and a driver adds: chains, and their segments behind them. */
export const LIST_CHAINS: u32 = 0;
/** Segments that fit, where they start (arena address), and how many the last call that filled the list used. */
export const LIST_SEGMENTS: u32 = 4;
export const LIST_SEGMENTS_ADDRESS: u32 = 8;
export const LIST_SEGMENTS_USED: u32 = 12;
/** The first chain. */
export const LIST_FIRST: u32 = 16;
/** A chain: its id, the arena address of its first segment, how many of its segments are readable, then writable. */
export const CHAIN_ID: u32 = 0;
export const CHAIN_SEGMENTS: u32 = 4;
export const CHAIN_READABLE: u32 = 8;
export const CHAIN_WRITABLE: u32 = 12;
/** Bytes of either kind; their sum is below 2^32. */
export const CHAIN_READABLE_BYTES: u32 = 16;
export const CHAIN_WRITABLE_BYTES: u32 = 20;
/** Bytes of a chain's entry, as a shift. */
export const CHAIN_SHIFT: u32 = 5;
/** A segment: arena address u32, bytes u32. Readable ones come first, so its place says which it is. */
export const SEGMENT_ADDRESS: u32 = 0;
export const SEGMENT_LENGTH: u32 = 4;
export const SEGMENT_SHIFT: u32 = 3;

/** A returned chain, in what a device returns and a driver polls: id u32, bytes written u32. */
export const USED_ID: u32 = 0;
export const USED_LENGTH: u32 = 4;
export const USED_SHIFT: u32 = 3;

// ---------------------------------------------------------------- net queue

/** One side of a virtqueue of virtio-net, and what it needs to move frames between the ring and packet slots. */
export const NETQ_QUEUE: u32 = 0;
/** Addresses of a chain list of NETQ_CHAINS chains, and of as many used records. */
export const NETQ_LIST: u32 = 4;
export const NETQ_RECORDS: u32 = 8;
/** Address of the buffer cache of the lcore that serves the queue. */
export const NETQ_CACHE: u32 = 12;
/** Bytes of the header before each frame: 10, 12 or 20 (5.1.6). */
export const NETQ_HEADER_BYTES: u32 = 16;
/** NETQ_F_… */
export const NETQ_FEATURES: u32 = 20;
/** What the sender may leave to the receiver: OFFLOAD_… of `packet/layout.ts`. */
export const NETQ_OFFLOADS: u32 = 24;
/**
 * Driver: address of a slot for each id: the packet or the empty buffer that is out under it. With areas, of a u64 for each
 * id: the first and the last area of its chain.
 */
export const NETQ_SLOTS: u32 = 28;
/** Frames refused: shorter than an Ethernet header, longer than NET_FRAME_MAX, or with a header that is not allowed. */
export const NETQ_BAD: u32 = 32;
/** Frames dropped: they fit none of the peer's chains, or need more segments than a chain of ours may have. */
export const NETQ_LONG: u32 = 36;
/** Frames dropped: the pool was exhausted. */
export const NETQ_EMPTY: u32 = 40;
/** Device, sending: chains of the list that were taken, and the next of them; the ones before it are used. */
export const NETQ_TAKEN: u32 = 104;
export const NETQ_NEXT: u32 = 108;
/** Device, receiving: records that were not returned yet, and polls in a row that found nothing. */
export const NETQ_PENDING: u32 = 112;
export const NETQ_EMPTY_POLLS: u32 = 116;
/** Device: address of what is kept of its copies when somebody else does them (`async/layout.ts`); else 0. */
export const NETQ_ASYNC: u32 = 120;
/**
 * Driver: buffers of a merged frame that are still to come, its last buffer so far (with areas, 0 when the rest of the
 * frame is passed over), and its slot (16 bytes).
 */
export const NETQ_MERGE_LEFT: u32 = 44;
export const NETQ_MERGE_LAST: u32 = 48;
export const NETQ_MERGE_SLOT: u32 = 64;
/**
 * Driver over memory that its device can write: address of as many areas as the queue has descriptors, all that is shared
 * beside the ring; 0 when there are none, and buffers of the pool are given to the device themselves.
 */
export const NETQ_AREAS: u32 = 52;
/** Address of a u32 for each area, the next in the free list or in its chain; and the first free area. */
export const NETQ_AREA_LINKS: u32 = 56;
export const NETQ_AREA_FREE: u32 = 60;
/** A copy of a header that came in pieces, or one that goes out in pieces. */
export const NETQ_HEADER: u32 = 80;
/** Driver: slots for a burst of empty buffers. */
export const NETQ_FRESH: u32 = 128;
export const NETQ_BYTES: u32 = 640;
/** Chains that one call looks at: a burst, or what a frame of NET_FRAME_MAX takes in buffers of 1,028 bytes or more. */
export const NETQ_CHAINS: u32 = 64;

/** An area: the header and up to 2,028 bytes of a frame, or what comes next of a longer one. */
export const NETQ_AREA_SHIFT: u32 = 11;
export const NETQ_AREA_BYTES: u32 = 2048;

/** VIRTIO_NET_F_MRG_RXBUF was negotiated: a frame may take several receive chains (5.1.6.4). */
export const NETQ_F_MRG_RXBUF: u32 = 1;

/** struct virtio_net_hdr (5.1.6), little endian; what a slot's buffer keeps from BUFFER_OFFLOAD_FLAGS on has this form. */
export const NET_HDR_FLAGS: u32 = 0;
export const NET_HDR_CSUM_OFFSET: u32 = 8;
export const NET_HDR_NUM_BUFFERS: u32 = 10;
/** With HASH_REPORT (virtio 1.2): hash u32, report u16, padding u16. */
export const NET_HDR_HASH_VALUE: u32 = 12;
/** An Ethernet header (14 bytes) is the least; 5.1.6.3.1: 65,550 bytes is the longest frame. */
export const NET_FRAME_MIN: u32 = 14;
export const NET_FRAME_MAX: u32 = 65550;

// ---------------------------------------------------------------- network device

/**
 * What a driver has set through a network device's control queue (5.1.6.5): written by the control path, read by
 * kernels while they run, so that a burst may see a table half changed, which filters that are best effort may.
 */
/** NET_CONTROL_F_…. */
export const NET_CONTROL_FLAGS: u32 = 0;
/** Receive and transmit queues in use: 1 to 0x8000. */
export const NET_CONTROL_PAIRS: u32 = 4;
/** The device's own address: six bytes as in a frame, and two zeroes. */
export const NET_CONTROL_MAC: u32 = 8;
export const NET_CONTROL_UNICAST_COUNT: u32 = 16;
export const NET_CONTROL_MULTICAST_COUNT: u32 = 20;
/** Bytes of the Toeplitz key: 0 to NET_RSS_KEY_MAX. */
export const NET_CONTROL_KEY_LENGTH: u32 = 24;
/** 1 while frames can pass: VIRTIO_NET_S_LINK_UP of the configuration, for those who cannot see that. Survives resets. */
export const NET_CONTROL_LINK: u32 = 28;
/** Offloads that are on, u64: bits of VIRTIO_NET_F_GUEST_… (5.1.6.5.6). */
export const NET_CONTROL_OFFLOADS: u32 = 40;
/** Hash types, key, table: RSS_… of `packet/layout.ts`, 304 bytes. */
export const NET_CONTROL_RSS: u32 = 64;
/** Addresses to receive, as NET_CONTROL_MAC. */
export const NET_CONTROL_UNICAST: u32 = 384;
export const NET_CONTROL_MULTICAST: u32 = 896;
/** VLANs to receive: a bit each, the lowest of the first byte for VLAN 0. */
export const NET_CONTROL_VLANS: u32 = 1408;
export const NET_CONTROL_BYTES: u32 = 1920;

/** The switches of VIRTIO_NET_CTRL_RX (5.1.6.5.1). */
export const NET_CONTROL_F_PROMISC: u32 = 1;
export const NET_CONTROL_F_ALLMULTI: u32 = 2;
export const NET_CONTROL_F_ALLUNI: u32 = 4;
export const NET_CONTROL_F_NOMULTI: u32 = 8;
export const NET_CONTROL_F_NOUNI: u32 = 16;
export const NET_CONTROL_F_NOBCAST: u32 = 32;
/** More addresses were given than there is room for: all of the kind are received (5.1.6.5.2). */
export const NET_CONTROL_F_UNICAST_OVERFLOW: u32 = 64;
export const NET_CONTROL_F_MULTICAST_OVERFLOW: u32 = 128;
/** VIRTIO_NET_F_CTRL_VLAN was negotiated (5.1.6.5.3). */
export const NET_CONTROL_F_VLAN: u32 = 256;
/** The receive queue is looked up by hash, not chosen by the device (virtio 1.2, 5.1.6.5.7). */
export const NET_CONTROL_F_RSS: u32 = 512;

/** Addresses of a kind that the filter holds. */
export const NET_MACS_MAX: u32 = 64;
/** rss_max_key_size and rss_max_indirection_table_length (virtio 1.2, 5.1.4.1): the least that are allowed. */
export const NET_RSS_KEY_MAX: u32 = 40;
export const NET_RSS_TABLE_MAX: u32 = 128;

// ---------------------------------------------------------------- block device

/** A block device: what it is, what it is working on, what it did. */
/** Arena address of the memory image; 0 when a file holds the sectors. */
export const BLOCK_IMAGE: u32 = 0;
/** BLOCK_F_…. */
export const BLOCK_FLAGS: u32 = 4;
/** Sectors, u64. */
export const BLOCK_CAPACITY: u32 = 8;
/** Limits of a discard or write-zeroes request, the same for both (5.2.4): sectors of a range, and ranges. */
export const BLOCK_RANGE_SECTORS: u32 = 16;
export const BLOCK_RANGES: u32 = 20;
/** The answer to VIRTIO_BLK_T_GET_ID: BLOCK_ID_BYTES. */
export const BLOCK_ID: u32 = 24;
/** Our copy of a request's header (5.2.6): type u32, reserved u32, sector u64. */
export const BLOCK_TYPE: u32 = 48;
export const BLOCK_SECTOR: u32 = 56;
/** Our copy of a range: sector u64, sectors u32, flags u32. */
export const BLOCK_RANGE_SECTOR: u32 = 64;
export const BLOCK_RANGE_COUNT: u32 = 72;
export const BLOCK_RANGE_FLAGS: u32 = 76;
/** Bytes of the request's data, header and status not counted. */
export const BLOCK_DATA: u32 = 80;
/** Counters, u64 each: requests carried out by type, their bytes, and those that were not. */
export const BLOCK_READS: u32 = 128;
export const BLOCK_WRITES: u32 = 136;
export const BLOCK_FLUSHES: u32 = 144;
export const BLOCK_IDENTIFIES: u32 = 152;
export const BLOCK_DISCARDS: u32 = 160;
export const BLOCK_WRITE_ZEROES: u32 = 168;
export const BLOCK_READ_BYTES: u32 = 176;
export const BLOCK_WRITTEN_BYTES: u32 = 184;
export const BLOCK_IO_ERRORS: u32 = 192;
export const BLOCK_UNSUPPORTED: u32 = 200;
/** Chains that have no byte for a status. */
export const BLOCK_MALFORMED: u32 = 208;
export const BLOCK_BYTES: u32 = 256;

export const BLOCK_SECTOR_SHIFT: u32 = 9;
export const BLOCK_HEADER_LENGTH: u32 = 16;
export const BLOCK_RANGE_SHIFT: u32 = 4;
/** struct virtio_blk_req (5.2.6): bytes of an identification. */
export const BLOCK_ID_LENGTH: u32 = 20;

/** The device is read-only. */
export const BLOCK_F_RO: u32 = 1;
/** VIRTIO_BLK_F_FLUSH, _DISCARD, _WRITE_ZEROES were negotiated. */
export const BLOCK_F_FLUSH: u32 = 2;
export const BLOCK_F_DISCARD: u32 = 4;
export const BLOCK_F_WRITE_ZEROES: u32 = 8;

/** Request types and their answers (5.2.6); FLUSH_OUT is an old name of FLUSH (5.2.6.3). */
export const VIRTIO_BLK_T_IN: u32 = 0;
export const VIRTIO_BLK_T_OUT: u32 = 1;
export const VIRTIO_BLK_T_FLUSH: u32 = 4;
export const VIRTIO_BLK_T_FLUSH_OUT: u32 = 5;
export const VIRTIO_BLK_T_GET_ID: u32 = 8;
export const VIRTIO_BLK_T_DISCARD: u32 = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES: u32 = 13;
export const VIRTIO_BLK_S_OK: u32 = 0;
export const VIRTIO_BLK_S_IOERR: u32 = 1;
export const VIRTIO_BLK_S_UNSUPP: u32 = 2;
/** Ours: there is no place for an answer. */
export const BLOCK_NO_STATUS: u32 = 3;
/** flags of struct virtio_blk_discard_write_zeroes. */
export const BLOCK_RANGE_F_UNMAP: u32 = 1;

/** Work space of `steer`: packets of each queue (u32, STEER_QUEUES_MAX of them), results of `rssHash`, a burst of slots. */
export const STEER_COUNTS: u32 = 0;
export const STEER_QUEUES_MAX: u32 = 8;
export const STEER_RESULTS: u32 = 64;
export const STEER_SLOTS: u32 = 320;
export const STEER_BYTES: u32 = 832;
