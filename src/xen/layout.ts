/**
 * Where the words of Xen's interfaces lie, in bytes, and those of the in-process Xen behind them. Grant entries, event bits,
 * rings and their slots are shared with the other domain, who may write anything into them at any time; all else is ours. Names
 * and numbers are those of Xen's public headers (grant_table.h, event_channel.h, io/ring.h, io/netif.h).
 *
 *     grant entry  │ flags u16 │ domid u16 │ frame u32 │                                    8 bytes, version 1
 *
 *     ring         0 │ req_prod │ req_event │ rsp_prod │ rsp_event │  u32 each, free running
 *                 64 │ slot 0 │ slot 1 │ …                               a request, then its response, in one slot
 */

/** A page, which is what is granted (XEN_PAGE_SIZE). */
export const XEN_PAGE_BYTES: u32 = 4096;
export const XEN_PAGE_SHIFT: u32 = 12;

// ---------------------------------------------------------------- grants

export const GRANT_SHIFT: u32 = 3;
/** GTF_…, u16; the domid u16 behind it is compared and exchanged with it. */
export const GRANT_FLAGS: u32 = 0;
export const GRANT_DOMID: u32 = 2;
/** Frame of the granting domain, u32. */
export const GRANT_FRAME: u32 = 4;

export const GTF_TYPE_MASK: u32 = 3;
/** The domain may map and copy. Written last, once domid and frame are there. */
export const GTF_PERMIT_ACCESS: u32 = 1;
export const GTF_READONLY: u32 = 4;
/** Xen holds the entry for reading, for writing. */
export const GTF_READING: u32 = 8;
export const GTF_WRITING: u32 = 16;
/** References below are reserved for the tools (GNTTAB_NR_RESERVED_ENTRIES). */
export const GRANTS_RESERVED: u32 = 8;

/** Results of an operation: the header's are these numbers below zero. */
export const GNTST_OKAY: u32 = 0;
export const GNTST_GENERAL_ERROR: u32 = 1;
export const GNTST_BAD_DOMAIN: u32 = 2;
export const GNTST_BAD_GNTREF: u32 = 3;
export const GNTST_BAD_HANDLE: u32 = 4;
export const GNTST_BAD_VIRT_ADDR: u32 = 5;
export const GNTST_BAD_PAGE: u32 = 9;
export const GNTST_BAD_COPY_ARG: u32 = 10;
export const GNTST_NO_SPACE: u32 = 13;

/** Operations of a batch at most, and vectors of one call of process_vm_readv (IOV_MAX). */
export const GRANT_BATCH_MAX: u32 = 1024;
/** Bytes of an iovec, as a shift: address u64, bytes u64. */
export const VECTOR_SHIFT: u32 = 4;
export const VECTOR_ADDRESS: u32 = 0;
export const VECTOR_LENGTH: u32 = 8;

/** A copy, as gntdev has it: each side is a reference of a domain and an offset in its page, or an arena address. */
export const COPY_SHIFT: u32 = 5;
/** Reference or address u32, domid u16, offset u16. */
export const COPY_SOURCE: u32 = 0;
export const COPY_TARGET: u32 = 8;
/** Of either side, behind its first word. */
export const SIDE_PLACE: u32 = 0;
export const SIDE_DOMID: u32 = 4;
export const SIDE_OFFSET: u32 = 6;
export const COPY_LENGTH: u32 = 16;
/** GNTCOPY_…, u16. */
export const COPY_FLAGS: u32 = 18;
/** Minus a GNTST_…, i16. */
export const COPY_STATUS: u32 = 20;
/** Where both sides are in the arena, once they are found. */
export const COPY_FROM: u32 = 24;
export const COPY_TO: u32 = 28;
export const GNTCOPY_SOURCE_GREF: u32 = 1;
export const GNTCOPY_DEST_GREF: u32 = 2;

/** A map, or an unmap, of which only the handle counts. */
export const MAP_SHIFT: u32 = 5;
export const MAP_REF: u32 = 0;
export const MAP_DOMID: u32 = 4;
/** GNTMAP_READONLY or 0, u16. */
export const MAP_FLAGS: u32 = 6;
/** The page of the caller's map area that it is to appear at. */
export const MAP_TARGET: u32 = 8;
export const MAP_HANDLE: u32 = 12;
/** Where it is: the target, or the granter's own page where nothing can be mapped. */
export const MAP_ADDRESS: u32 = 16;
/** Minus a GNTST_…, i16. */
export const MAP_STATUS: u32 = 20;
/** The granter's file, and the place of the page in it. */
export const MAP_FILE: u32 = 24;
export const MAP_FRAME: u32 = 28;
export const GNTMAP_READONLY: u32 = 4;

// ---------------------------------------------------------------- the hypervisor's own

/** Address of the arena in the process, u64: what an iovec adds to an offset. 0 where nothing can be mapped. */
export const XEN_BASE: u32 = 0;
/** Addresses of the domains' records, by domid; 0 where there is none. */
export const XEN_DOMAINS: u32 = 64;
export const XEN_DOMAINS_MAX: u32 = 256;
/** XEN_DOMAINS + XEN_DOMAINS_MAX * 4. */
export const XEN_BYTES: u32 = 1088;

/** A domain. */
export const DOMAIN_DOMID: u32 = 0;
/** 1 until it is destroyed: afterwards nothing of it can be taken, only given back. */
export const DOMAIN_ALIVE: u32 = 4;
/** Its memory: arena address of frame 0, number of frames, descriptor of the file. */
export const DOMAIN_MEMORY: u32 = 8;
export const DOMAIN_FRAMES: u32 = 12;
export const DOMAIN_FILE: u32 = 16;
/** Its grant entries, how many, and ACTIVE_… for each. */
export const DOMAIN_GRANTS: u32 = 20;
export const DOMAIN_GRANT_COUNT: u32 = 24;
export const DOMAIN_ACTIVE: u32 = 28;
/** What it may name by address in a copy: the first byte, and how many, in pages, since 4 GiB does not fit. */
export const DOMAIN_LOCAL: u32 = 32;
export const DOMAIN_LOCAL_PAGES: u32 = 36;
/** Its map area: the first page, how many, and the handle in each and 1. */
export const DOMAIN_AREA: u32 = 40;
export const DOMAIN_AREA_PAGES: u32 = 44;
export const DOMAIN_AREA_OWNERS: u32 = 48;
/** MAPTRACK_… entries, how many, the first free one and 1. */
export const DOMAIN_MAPTRACK: u32 = 52;
export const DOMAIN_MAPTRACK_COUNT: u32 = 56;
export const DOMAIN_MAPTRACK_FREE: u32 = 60;
/** Held while maptrack or the owners of the area are changed. */
export const DOMAIN_LOCK: u32 = 64;
/** Pins of its entries, in all. Its memory stays until there is none. */
export const DOMAIN_PINS: u32 = 68;
/** PORT_… entries, how many; bits of pending and of masked ports, in words of 32. */
export const DOMAIN_PORTS: u32 = 72;
export const DOMAIN_PORT_COUNT: u32 = 76;
export const DOMAIN_PENDING: u32 = 80;
export const DOMAIN_MASK: u32 = 84;
/** 1 when an event was delivered since the domain last looked (evtchn_upcall_pending). Threads sleep on it. */
export const DOMAIN_UPCALL: u32 = 128;
/** What it cost so far, u64 each. */
export const DOMAIN_HYPERCALLS: u32 = 256;
export const DOMAIN_COPIES: u32 = 264;
export const DOMAIN_COPY_BYTES: u32 = 272;
export const DOMAIN_MAPS: u32 = 280;
export const DOMAIN_UNMAPS: u32 = 288;
export const DOMAIN_TLB_FLUSHES: u32 = 296;
export const DOMAIN_EVENTS: u32 = 304;
/** Operations that ended with another status than GNTST_OKAY. */
export const DOMAIN_FAILED: u32 = 312;
export const DOMAIN_BYTES: u32 = 384;

/** What Xen knows of a grant entry in use. */
export const ACTIVE_SHIFT: u32 = 5;
export const ACTIVE_LOCK: u32 = 0;
/** Pins for reading alone, and for writing too. */
export const ACTIVE_READERS: u32 = 4;
export const ACTIVE_WRITERS: u32 = 8;
/** Who has them, and the frame: as they were when it was first pinned. */
export const ACTIVE_DOMID: u32 = 12;
export const ACTIVE_FRAME: u32 = 16;
/** Pins of an entry at most, so that a peer's requests for one reference do not wrap its counts. */
export const ACTIVE_PINS_MAX: u32 = 65535;

/** A mapping that somebody holds. */
export const MAPTRACK_SHIFT: u32 = 5;
/** MAPTRACK_F_…; 0 when it is free. */
export const MAPTRACK_STATE: u32 = 0;
export const MAPTRACK_REF: u32 = 4;
export const MAPTRACK_DOMID: u32 = 8;
export const MAPTRACK_FLAGS: u32 = 12;
export const MAPTRACK_TARGET: u32 = 16;
/** When it is free, the next free one and 1. */
export const MAPTRACK_NEXT: u32 = 20;
export const MAPTRACK_F_MAPPED: u32 = 1;
/** An unmap has begun. */
export const MAPTRACK_F_LEAVING: u32 = 2;

/** Unmaps between two flushes of the TLB (GNTTAB_UNMAP_BATCH_SIZE of Xen's grant_table.c). */
export const UNMAP_BATCH: u32 = 32;

// ---------------------------------------------------------------- event channels

export const PORT_SHIFT: u32 = 4;
export const PORT_STATE: u32 = 0;
/** Unbound: who may bind it. Interdomain: whose port it leads to. */
export const PORT_REMOTE_DOMID: u32 = 4;
export const PORT_REMOTE_PORT: u32 = 8;
export const PORT_FREE: u32 = 0;
export const PORT_UNBOUND: u32 = 1;
export const PORT_INTERDOMAIN: u32 = 2;
/** Ports of the 2-level ABI at most (EVTCHN_2L_NR_CHANNELS on 64 bits). Port 0 is never given. */
export const PORTS_MAX: u32 = 4096;

/** What sending came to. */
export const SEND_DONE: u32 = 0;
/** The other side is to be called: it was neither pending nor masked. */
export const SEND_UPCALL: u32 = 1;
/** There is no such port (EINVAL). */
export const SEND_BAD_PORT: u32 = 2;

// ---------------------------------------------------------------- rings

/** The shared ring (io/ring.h). All four start so that the first request and response are notified: 0, 1, 0, 1. */
export const SRING_REQ_PROD: u32 = 0;
/** The backend asks to be notified when request number req_event, counted from 1, is published. */
export const SRING_REQ_EVENT: u32 = 4;
export const SRING_RSP_PROD: u32 = 8;
export const SRING_RSP_EVENT: u32 = 12;
/** The first slot. A ring of several pages has one header and all slots behind it. */
export const SRING_SLOTS: u32 = 64;
/** Pages of a ring at most, as a power of two: what Xen's block devices allow (max-ring-page-order 4). */
export const SRING_ORDER_MAX: u32 = 4;

/** One side of a ring. `give` is the next place that it writes, `take` the next that it reads; both run free. */
export const NETRING_SRING: u32 = 0;
/** Slots, a power of two. */
export const NETRING_SIZE: u32 = 4;
/** Bytes of a slot, and of what either side puts there. */
export const NETRING_SLOT: u32 = 8;
export const NETRING_REQUEST: u32 = 12;
export const NETRING_RESPONSE: u32 = 16;
/** 1 on the frontend's side. */
export const NETRING_FRONT: u32 = 20;
/** NETRING_BROKEN_…; 0 while the peer behaves. Nothing of the ring is read or written after that. */
export const NETRING_BROKEN: u32 = 24;
export const NETRING_GIVE: u32 = 32;
export const NETRING_TAKE: u32 = 36;
/** Given since it was last asked whether to notify. */
export const NETRING_GIVEN: u32 = 40;
export const NETRING_BYTES: u32 = 128;

/** The peer's index moved by more than the ring holds, or back. */
export const NETRING_BROKEN_INDEX: u32 = 1;
/** More slots were announced than are there. */
export const NETRING_BROKEN_SHORT: u32 = 2;
/** A packet of 20 slots or more. */
export const NETRING_BROKEN_SLOTS: u32 = 3;
/** Bytes outside the page. */
export const NETRING_BROKEN_PAGE: u32 = 4;
/** Extra information of no known type. */
export const NETRING_BROKEN_EXTRA: u32 = 5;
/** Segments of 0 bytes, or of no known protocol. */
export const NETRING_BROKEN_GSO: u32 = 6;
/** A response to what was not asked, or was answered already. */
export const NETRING_BROKEN_ID: u32 = 7;

// ---------------------------------------------------------------- netif slots (io/netif.h)

/** struct netif_tx_request, with a response in its place later. */
export const NETTX_GREF: u32 = 0;
export const NETTX_OFFSET: u32 = 4;
export const NETTX_FLAGS: u32 = 6;
export const NETTX_ID: u32 = 8;
/** Bytes; in the first slot those of the whole packet. */
export const NETTX_SIZE: u32 = 10;
export const NETTX_BYTES: u32 = 12;
/** struct netif_tx_response: id u16, status i16. */
export const TXRSP_ID: u32 = 0;
export const TXRSP_STATUS: u32 = 2;
export const TXRSP_BYTES: u32 = 4;

/** NETTX_FLAGS. */
export const NETTXF_CSUM_BLANK: u32 = 1;
export const NETTXF_DATA_VALIDATED: u32 = 2;
export const NETTXF_MORE_DATA: u32 = 4;
export const NETTXF_EXTRA_INFO: u32 = 8;
/** Staging grants: the reference is the id of a staging buffer, of either list, and the bytes are there. */
export const NETTXF_STAGING_BUFFER: u32 = 16;

/** struct netif_rx_request: id u16, pad u16, gref u32. */
export const NETRX_ID: u32 = 0;
export const NETRX_GREF: u32 = 4;
export const NETRX_BYTES: u32 = 8;
/** struct netif_rx_response: id u16, offset u16, flags u16, status i16: the bytes, or an error. */
export const RXRSP_ID: u32 = 0;
export const RXRSP_OFFSET: u32 = 2;
export const RXRSP_FLAGS: u32 = 4;
export const RXRSP_STATUS: u32 = 6;
export const RXRSP_BYTES: u32 = 8;

/** RXRSP_FLAGS: the first two are exchanged against those of a request. */
export const NETRXF_DATA_VALIDATED: u32 = 1;
export const NETRXF_CSUM_BLANK: u32 = 2;
export const NETRXF_MORE_DATA: u32 = 4;
export const NETRXF_EXTRA_INFO: u32 = 8;

/**
 * Staging grants as first proposed: an entry of a page that lists a ring's staging buffers, in the order of their ids: id u16, offset
 * u16, gref u32. Ids count through tx's list, then rx's. A reference of 0 ends a list; one that fills its last page has no end.
 */
export const STAGING_SHIFT: u32 = 3;
export const STAGING_ID: u32 = 0;
export const STAGING_OFFSET: u32 = 2;
export const STAGING_GREF: u32 = 4;
/** Entries of a page: XEN_PAGE_BYTES >> STAGING_SHIFT. */
export const STAGING_PAGE_ENTRIES: u32 = 512;
/** Bytes of a packet that may be staged at most (tx-data-len, rx-data-len). */
export const STAGING_LENGTH_MAX: u32 = 65536;

/** struct netif_ctrl_request: id u16, type u16, three words. */
export const CTRLREQ_ID: u32 = 0;
export const CTRLREQ_TYPE: u32 = 2;
export const CTRLREQ_DATA: u32 = 4;
export const CTRLREQ_BYTES: u32 = 16;
/** struct netif_ctrl_response: id u16, type u16, status u32, a word. */
export const CTRLRSP_ID: u32 = 0;
export const CTRLRSP_TYPE: u32 = 2;
export const CTRLRSP_STATUS: u32 = 4;
export const CTRLRSP_DATA: u32 = 8;
export const CTRLRSP_BYTES: u32 = 12;
/** CTRLREQ_TYPE. */
export const CTRL_GET_HASH_FLAGS: u32 = 1;
export const CTRL_SET_HASH_FLAGS: u32 = 2;
export const CTRL_SET_HASH_KEY: u32 = 3;
export const CTRL_GET_HASH_MAPPING_SIZE: u32 = 4;
export const CTRL_SET_HASH_MAPPING_SIZE: u32 = 5;
export const CTRL_SET_HASH_MAPPING: u32 = 6;
export const CTRL_SET_HASH_ALGORITHM: u32 = 7;
export const CTRL_GET_GREF_MAPPING_SIZE: u32 = 8;
export const CTRL_ADD_GREF_MAPPING: u32 = 9;
export const CTRL_DEL_GREF_MAPPING: u32 = 10;
/** CTRLRSP_STATUS. */
export const CTRL_STATUS_SUCCESS: u32 = 0;
export const CTRL_STATUS_NOT_SUPPORTED: u32 = 1;
export const CTRL_STATUS_INVALID: u32 = 2;
export const CTRL_STATUS_OVERFLOW: u32 = 3;
/** An entry of a list of grants that are to be kept mapped: reference u32, flags u16, status u16. */
export const GREFLIST_SHIFT: u32 = 3;
export const GREFLIST_REF: u32 = 0;
export const GREFLIST_FLAGS: u32 = 4;
export const GREFLIST_STATUS: u32 = 6;
export const GREFLIST_F_READONLY: u32 = 1;
/** Entries of a list at most: a page. */
export const GREFLIST_MAX: u32 = 512;

/** Status of a response: 0 (NETIF_RSP_OKAY), or this in the place of extra information. */
export const NETIF_RSP_NULL: u32 = 1;
/** Errors are these numbers below zero. */
export const NETIF_RSP_ERROR: u32 = 1;
export const NETIF_RSP_DROPPED: u32 = 2;

/** struct netif_extra_info: type u8, flags u8, then six bytes by type. */
export const EXTRA_TYPE: u32 = 0;
export const EXTRA_FLAGS: u32 = 1;
/** Another one follows. */
export const EXTRA_F_MORE: u32 = 1;
export const EXTRA_BYTES: u32 = 8;
export const EXTRA_TYPE_GSO: u32 = 1;
export const EXTRA_TYPE_MCAST_ADD: u32 = 2;
export const EXTRA_TYPE_MCAST_DEL: u32 = 3;
export const EXTRA_TYPE_HASH: u32 = 4;
export const EXTRA_TYPE_XDP: u32 = 5;
/** Types are below. */
export const EXTRA_TYPE_MAX: u32 = 6;
/** GSO: size u16, type u8, pad u8, features u16. */
export const GSOINFO_SIZE: u32 = 2;
export const GSOINFO_TYPE: u32 = 4;
export const GSOINFO_TYPE_TCPV4: u32 = 1;
export const GSOINFO_TYPE_TCPV6: u32 = 2;
/** Multicast: six bytes of address. */
export const MCASTINFO_MAC: u32 = 2;
/** Hash: type u8, algorithm u8, value of four bytes. */
export const HASHINFO_TYPE: u32 = 2;
export const HASHINFO_ALGORITHM: u32 = 3;
export const HASHINFO_VALUE: u32 = 4;
/** XDP: headroom u16. */
export const XDPINFO_HEADROOM: u32 = 2;

/** Slots of a packet that a backend takes (XEN_NETIF_NR_SLOTS_MIN), and those that end the connection (Linux netback's fatal_skb_slots). */
export const PACKET_SLOTS_MAX: u32 = 18;
export const PACKET_SLOTS_FATAL: u32 = 20;
/** Bytes of an Ethernet header: no packet has less. */
export const PACKET_BYTES_MIN: u32 = 14;

// ---------------------------------------------------------------- packets out of slots

/**
 * What was taken from a ring, copied and checked: packets, each with its pieces, and how many of either.
 *
 *     0 │ packets │ pieces │   64 │ packet 0 │ packet 1 │ …      GATHER_PIECES on │ piece 0 │ piece 1 │ …
 */
export const GATHER_PACKETS_USED: u32 = 0;
export const GATHER_PIECES_USED: u32 = 4;
/** The first packet. */
export const GATHER_PACKETS: u32 = 64;
/** Packets of a gathering at most: a burst. */
export const GATHER_PACKETS_MAX: u32 = 32;
/** The first piece: GATHER_PACKETS + GATHER_PACKETS_MAX * 64. */
export const GATHER_PIECES: u32 = 2112;
/** Pieces at most: GATHER_PACKETS_MAX * PACKET_SLOTS_FATAL. */
export const GATHER_PIECES_MAX: u32 = 640;
/** GATHER_PIECES + GATHER_PIECES_MAX * 16. */
export const GATHER_BYTES: u32 = 12352;

/** A packet. */
export const PACKET_SHIFT: u32 = 6;
/** Its first piece, and how many it has. */
export const PACKET_PIECE: u32 = 0;
export const PACKET_PIECES: u32 = 4;
/** Bytes in all. */
export const PACKET_SIZE: u32 = 8;
/** NETTXF_… or NETRXF_… of the first slot, u16. */
export const PACKET_FLAGS: u32 = 12;
/** Slots of extra information, u16. */
export const PACKET_EXTRAS: u32 = 14;
/** 0, or PACKET_BAD_…: it is to be answered, and its bytes are not to be looked at. */
export const PACKET_BAD: u32 = 16;
/** Bit n stands for extra information of type n. What it says follows. */
export const PACKET_EXTRA_TYPES: u32 = 20;
export const PACKET_GSO_SIZE: u32 = 24;
/** GSOINFO_TYPE_…, u16. */
export const PACKET_GSO_TYPE: u32 = 26;
/** Type u8, algorithm u8. */
export const PACKET_HASH_TYPE: u32 = 28;
export const PACKET_HASH_ALGORITHM: u32 = 29;
export const PACKET_XDP_HEADROOM: u32 = 30;
export const PACKET_HASH_VALUE: u32 = 32;
/** Six bytes of a multicast address to add, and to remove. */
export const PACKET_MCAST_ADD: u32 = 40;
export const PACKET_MCAST_DEL: u32 = 48;
/** Backend, rx: the extra information that is sent, eight bytes. */
export const PACKET_EXTRA: u32 = 40;
/** The first of its copies in a batch, and how many it has, u16 each. */
export const PACKET_COPY: u32 = 56;
export const PACKET_COPIES: u32 = 58;

/** More slots than a backend takes. */
export const PACKET_BAD_SLOTS: u32 = 1;
/** Fragments of more bytes than the packet, or a packet without an Ethernet header. */
export const PACKET_BAD_SIZE: u32 = 2;
/** The backend says that it failed. */
export const PACKET_BAD_STATUS: u32 = 3;
/** Its bytes could not be copied. */
export const PACKET_BAD_COPY: u32 = 4;
/** The buffer pool is exhausted. */
export const PACKET_BAD_EMPTY: u32 = 5;
/** A checksum or segments are asked for, and it has no headers that could have them. */
export const PACKET_BAD_HEADERS: u32 = 6;
/** An id of no staging buffer, or bytes outside it. */
export const PACKET_BAD_STAGING: u32 = 7;

/** A piece of a packet: where it is, and what is to be answered. */
export const PIECE_SHIFT: u32 = 4;
/** tx: the reference. rx: the place in the ring that was answered, below its size. */
export const PIECE_PLACE: u32 = 0;
export const PIECE_OFFSET: u32 = 4;
export const PIECE_LENGTH: u32 = 6;
export const PIECE_ID: u32 = 8;
/** tx: NETTXF_… of its slot, u16. */
export const PIECE_FLAGS: u32 = 10;
/** Backend: where its first bytes are, when they are reached without a copy by grant. */
export const PIECE_REACHED: u32 = 12;

// ---------------------------------------------------------------- queues of a network device

/** One direction of one queue, on either side. */
export const VIFQ_RING: u32 = 0;
export const VIFQ_GATHER: u32 = 4;
/** The lcore's buffer cache. */
export const VIFQ_CACHE: u32 = 8;
/** VIFQ_F_…: what the peer takes. */
export const VIFQ_FEATURES: u32 = 12;
/** Room for responses or requests of a burst. */
export const VIFQ_RECORDS: u32 = 16;
/** Backend: the copies of a burst, how many there are, and whose grants they name. */
export const VIFQ_COPIES: u32 = 20;
export const VIFQ_COPIES_USED: u32 = 24;
export const VIFQ_DOMID: u32 = 28;
/** Backend: packet slots of a burst that is being copied. */
export const VIFQ_SLOTS: u32 = 32;
/** Frontend: its pages, one for each slot of the ring, and the reference of each (u32). */
export const VIFQ_PAGES: u32 = 36;
export const VIFQ_GREFS: u32 = 40;
/** Frontend, tx: ids that are free (u16 each), how many, and by id VIFQ_OUT_… or 0 (u8). */
export const VIFQ_FREE: u32 = 44;
export const VIFQ_FREE_COUNT: u32 = 48;
export const VIFQ_OUT: u32 = 52;
/** An id that is out with the first slot of a packet, or with another. */
export const VIFQ_OUT_FIRST: u32 = 1;
export const VIFQ_OUT_MORE: u32 = 2;
/** A copy of a slot. */
export const VIFQ_SCRATCH: u32 = 64;
/** Packets that did not get through, u32 each: refused, too long for the peer, no buffer, not copied or sent by the peer. */
export const VIFQ_BAD: u32 = 80;
export const VIFQ_LONG: u32 = 84;
export const VIFQ_EMPTY: u32 = 88;
export const VIFQ_FAILED: u32 = 92;
/** Staging buffers of this direction: addresses by id (u32 each), how many, bytes of each, and how many bytes of a packet go there. */
export const VIFQ_STAGE: u32 = 96;
export const VIFQ_STAGE_COUNT: u32 = 100;
export const VIFQ_STAGE_BYTES: u32 = 104;
export const VIFQ_STAGE_LENGTH: u32 = 108;
/** tx: those of rx, which a packet may be sent from: addresses, how many, bytes of each. Their ids follow those of tx. */
export const VIFQ_LEND: u32 = 112;
export const VIFQ_LEND_COUNT: u32 = 116;
export const VIFQ_LEND_BYTES: u32 = 120;
/** Frontend, tx: by id, the rx staging buffer that goes out with it and 1 (u16). rx: whether a buffer is out (u8). */
export const VIFQ_LENT: u32 = 124;
/** Frontend: packets of the last burst that lie in one rx staging buffer each (LENDABLE_…), and how many. Both directions have them. */
export const VIFQ_RECENT: u32 = 128;
/** Frontend, tx: the direction rx. */
export const VIFQ_OTHER: u32 = 132;
/** Backend: a table of pages that stay mapped; 0 when there is none. */
export const VIFQ_TABLE: u32 = 136;
/** Backend: odd while packets of a burst are copied, with pages of the table. */
export const VIFQ_EPOCH: u32 = 140;
/** Backend: references that are to be mapped for the next time (WANTED_…); 0 when the frontend does not keep its grants. */
export const VIFQ_WANTED: u32 = 144;
export const VIFQ_BYTES: u32 = 192;

/** How a backend spreads packets over queues: CTRL_HASH_…, entries of the mapping, then what is hashed, as RSS_… of `packet/layout.ts`. */
export const VIFHASH_ALGORITHM: u32 = 0;
export const VIFHASH_SIZE: u32 = 4;
export const VIFHASH_RSS: u32 = 8;
/** Queues (u32 each), VIFHASH_SIZE_MAX of them at most. */
export const VIFHASH_MAPPING: u32 = 128;
export const VIFHASH_SIZE_MAX: u32 = 128;
/** VIFHASH_MAPPING + VIFHASH_SIZE_MAX * 4. */
export const VIFHASH_BYTES: u32 = 640;
export const CTRL_HASH_NONE: u32 = 0;
export const CTRL_HASH_TOEPLITZ: u32 = 1;
/** Work space of `vifSteer`: packets of each queue (u32), results of `rssHash`, a burst of slots. */
export const VIFSTEER_COUNTS: u32 = 0;
export const VIFSTEER_QUEUES_MAX: u32 = 16;
export const VIFSTEER_RESULTS: u32 = 64;
export const VIFSTEER_SLOTS: u32 = 320;
export const VIFSTEER_BYTES: u32 = 832;

/** Mapped pages by reference: buckets of references, then their addresses. A reference of 0 is a free place. */
export const GREFTABLE_SEED: u32 = 0;
export const GREFTABLE_COUNT: u32 = 4;
export const GREFTABLE_FIRST: u32 = 64;
export const GREFTABLE_BUCKETS: u32 = 256;
export const GREFTABLE_WAYS: u32 = 16;
/** A bucket: GREFTABLE_WAYS references u32, then as many addresses u32. */
export const GREFTABLE_BUCKET_SHIFT: u32 = 7;
export const GREFTABLE_ADDRESSES: u32 = 64;
/** Bit of an address: the page is mapped for reading alone. */
export const GREFTABLE_READONLY: u32 = 1;
/** Mappings at most: a quarter of the places, so that hardly ever a bucket is full. */
export const GREFTABLE_MAX: u32 = 1024;
/** GREFTABLE_FIRST + GREFTABLE_BUCKETS * 128. */
export const GREFTABLE_BYTES: u32 = 32832;

/** References that were copied by, and are to be mapped: how many, and they. Then what is mapped: how many, room, the first page, and handles. */
export const WANTED_COUNT: u32 = 0;
export const WANTED_MAPPED: u32 = 4;
export const WANTED_MOST: u32 = 8;
export const WANTED_PAGES: u32 = 12;
export const WANTED_GREFS: u32 = 64;
/** References of a burst at most. */
export const WANTED_MAX: u32 = 32;
/** The first handle: WANTED_GREFS + WANTED_MAX * 4. */
export const WANTED_HANDLES: u32 = 192;

/** Received packets whose staging buffer may be sent from: how many, then buffer u32 and place u32 of each. */
export const RECENT_COUNT: u32 = 0;
export const RECENT_FIRST: u32 = 8;
export const LENDABLE_SHIFT: u32 = 3;
export const LENDABLE_BUFFER: u32 = 0;
export const LENDABLE_PLACE: u32 = 4;
/** RECENT_FIRST + GATHER_PACKETS_MAX * 8. */
export const RECENT_BYTES: u32 = 264;

/** Packets of several slots (feature-sg). */
export const VIFQ_F_SG: u32 = 1;
/** Segments over IPv4 and IPv6 (feature-gso-tcpv4, -tcpv6). */
export const VIFQ_F_GSO_TCPV4: u32 = 2;
export const VIFQ_F_GSO_TCPV6: u32 = 4;
/** Checksums that are left to do. */
export const VIFQ_F_CSUM: u32 = 8;

/** Pieces that a backend gathers at once: each is four copies at most, since a buffer takes 1,792 bytes of a page. */
export const VIFQ_GATHER_PIECES: u32 = 256;
/** Copies of one packet to a frontend at most: SEGMENTS_MAX buffers of `memory/layout.ts`, cut at PACKET_SLOTS_MAX pages. */
export const VIFQ_PACKET_COPIES: u32 = 165;
/** Records of a burst at most: GATHER_PIECES_MAX and five of extra information for each packet. */
export const VIFQ_RECORDS_MAX: u32 = 800;
