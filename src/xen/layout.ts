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
/** A frame of the data ring that is not there, or of another length than its slot says. */
export const NETRING_BROKEN_FRAME: u32 = 8;

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
export const TXRSP_SHIFT: u32 = 2;

/** NETTX_FLAGS. */
export const NETTXF_CSUM_BLANK: u32 = 1;
export const NETTXF_DATA_VALIDATED: u32 = 2;
export const NETTXF_MORE_DATA: u32 = 4;
export const NETTXF_EXTRA_INFO: u32 = 8;
/** Staging grants: the reference is the id of a staging buffer, of either list, and the bytes are there. */
export const NETTXF_STAGING_BUFFER: u32 = 16;
/** The packet is the next frame of the data ring, and has this slot alone beside extra information. */
export const NETTXF_DATA_RING: u32 = 32;

/** struct netif_rx_request: id u16, pad u16, gref u32. */
export const NETRX_ID: u32 = 0;
export const NETRX_GREF: u32 = 4;
export const NETRX_BYTES: u32 = 8;
export const NETRX_SHIFT: u32 = 3;
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
/** As NETTXF_DATA_RING; the frame says how long the packet is. 16 is NETRXF_gso_prefix of old frontends. */
export const NETRXF_DATA_RING: u32 = 32;

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
/** Headroom at most: half a page (io/netif.h allows more than a page). */
export const XDP_HEADROOM_MAX: u32 = 2048;

/** Slots of a packet that a backend takes (XEN_NETIF_NR_SLOTS_MIN), and those that end the connection (Linux netback's fatal_skb_slots). */
export const PACKET_SLOTS_MAX: u32 = 18;
export const PACKET_SLOTS_FATAL: u32 = 20;
/** Bytes of an Ethernet header: no packet has less. */
export const PACKET_BYTES_MIN: u32 = 14;
