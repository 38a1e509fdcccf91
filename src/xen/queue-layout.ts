/**
 * What one side of a queue of a network device works on: packets as they were taken from a ring, and the state of each direction. None of
 * it is shared with the other domain.
 */

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
/** The first of its copies in a batch, and how many it has, u16 each. */
export const PACKET_COPY: u32 = 56;
export const PACKET_COPIES: u32 = 58;
/**
 * Backend, rx: the extra information that is sent, eight bytes each, SENTPACKET_EXTRA_MAX at most: where
 * PACKET_… has what was received.
 */
export const SENTPACKET_EXTRA: u32 = 24;
export const SENTPACKET_EXTRA_MAX: u32 = 3;
/** Backend, rx: the packet's slot. Either way: where the data ring's own index is behind it; of tx once multicast is told. */
export const PACKET_SLOT: u32 = 48;
export const PACKET_DATA: u32 = 52;
/** Backend: the first of its moves in a burst, and how many it has, u16 each. */
export const PACKET_MOVE: u32 = 60;
export const PACKET_MOVES: u32 = 62;

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
/** Its slot announces a frame of the data ring, and there is none of its size. */
export const PACKET_BAD_FRAME: u32 = 8;
/** No packet: a multicast address that was added or removed; or could not be. */
export const PACKET_BAD_TOLD: u32 = 9;
export const PACKET_BAD_FULL: u32 = 10;

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
/** Frontend with staging buffers both ways: packets of the last burst (RECENT_…). Both directions have them. */
export const VIFQ_RECENT: u32 = 128;
/** Frontend, tx: the direction rx. */
export const VIFQ_OTHER: u32 = 132;
/** Backend: a table of pages that stay mapped; 0 when there is none. */
export const VIFQ_TABLE: u32 = 136;
/** Backend: odd while packets of a burst are copied, with pages of the table. */
export const VIFQ_EPOCH: u32 = 140;
/** Backend: references that are to be mapped for the next time (WANTED_…); 0 when the frontend does not keep its grants. */
export const VIFQ_WANTED: u32 = 144;
/** The data ring's half of this direction: its indexes (DATAHALF_…; 0 when there is none), its bytes, how many, and this end's own index. */
export const VIFQ_DATA: u32 = 148;
export const VIFQ_DATA_BASE: u32 = 152;
export const VIFQ_DATA_SIZE: u32 = 156;
export const VIFQ_DATA_INDEX: u32 = 160;
/** Packets that went by grant although there is a data ring: it had no room. */
export const VIFQ_FALLBACKS: u32 = 164;
/** Backend, tx: bytes that may be taken now, i32, while VIFQ_RATE_USEC is not 0: a packet that is more than is left owes the rest. */
export const VIFQ_CREDIT: u32 = 168;
/** Backend, tx: credit of each window, and µs of a window; 0 when nothing limits it. The control thread writes them. */
export const VIFQ_RATE_BYTES: u32 = 172;
export const VIFQ_RATE_USEC: u32 = 176;
/** Backend, rx: packets that were dropped because the frontend asked for none, and because it asked for no such multicast. */
export const VIFQ_STALLED: u32 = 180;
export const VIFQ_FILTERED: u32 = 184;
/** Backend, rx: what the frontend said of hashes (VIFHASH_…), which `vifSteer` has left in the slots; 0 when it is not asked. */
export const VIFQ_HASH: u32 = 188;
/** Backend, rx: bytes before a packet in its first page. The control thread writes it. */
export const VIFQ_HEADROOM: u32 = 192;
/** Backend: multicast addresses that the frontend wants (MCAST_…). tx always; rx when others are to be dropped, else 0. */
export const VIFQ_MCAST: u32 = 196;
/** Backend: copies into or out of mapped pages that are left to others (MOVES_…); 0: they are done at once. */
export const VIFQ_MOVES: u32 = 200;
/** Backend: what is kept of packets whose copies others do (`async/layout.ts`); 0 when nobody does. */
export const VIFQ_ASYNC: u32 = 204;
/** Of who reads the data ring: the index of the first frame that is not copied whole, behind which the writer may not go. */
export const VIFQ_DATA_COPIED: u32 = 208;
export const VIFQ_BYTES: u32 = 256;

/** Multicast addresses, u64 each with bit 48, or 0: as many as Linux's netback takes (XEN_NETBK_MCAST_MAX). */
export const MCAST_MAX: u32 = 64;
export const MCAST_BYTES: u32 = 512;

/** Copies of a burst that are left to others: bytes of one at least, and how many there are; and how many were done at once. */
export const MOVES_LEAST: u32 = 0;
export const MOVES_USED: u32 = 4;
export const MOVES_DONE: u32 = 8;
export const MOVES_FIRST: u32 = 16;
/** A move: target, source, bytes. */
export const MOVE_SHIFT: u32 = 4;
export const MOVE_TARGET: u32 = 0;
export const MOVE_SOURCE: u32 = 4;
export const MOVE_LENGTH: u32 = 8;
/** More are done at once. */
export const MOVES_MAX: u32 = 256;
/** MOVES_FIRST + MOVES_MAX * 16. */
export const MOVES_BYTES: u32 = 4112;

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

/** Packets of the last burst: how many, then buffer u32 and place u32 of each: that of the rx staging buffer it may be sent from, or none. */
export const RECENT_COUNT: u32 = 0;
export const RECENT_FIRST: u32 = 8;
export const LENDABLE_SHIFT: u32 = 3;
export const LENDABLE_BUFFER: u32 = 0;
export const LENDABLE_PLACE: u32 = 4;
export const LENDABLE_NONE: u32 = 65535;
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
