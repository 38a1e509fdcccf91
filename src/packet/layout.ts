/**
 * Where words lie in what `packet` keeps in the arena or puts into files. All in bytes.
 *
 * A capture record is what the scanner says of one frame: 32 bytes, eight u32 words.
 *
 *      0 ┌────────────┬────────────┬────────────┬────────────┐
 *        │ offset     │ length     │ wire length│ seconds    │
 *     16 ├────────────┼────────────┼────────────┼────────────┤
 *        │ nanoseconds│ interface  │ flags      │ link type  │
 *     32 └────────────┴────────────┴────────────┴────────────┘
 */

/** Where the frame starts: an index into the bytes that were scanned. */
export const RECORD_OFFSET: u32 = 0;
/** Bytes that were captured, 0 to CAPTURE_FRAME_MAX. */
export const RECORD_LENGTH: u32 = 4;
/** Bytes the frame had on the wire. */
export const RECORD_WIRE_LENGTH: u32 = 8;
/** When, since 1970-01-01 UTC, modulo 2^32; valid with RECORD_FLAG_TIMED. */
export const RECORD_SECONDS: u32 = 12;
/** 0 to 999,999,999. */
export const RECORD_NANOSECONDS: u32 = 16;
/** Index of the interface in the order of their descriptions in the file. */
export const RECORD_INTERFACE: u32 = 20;
/** RECORD_FLAG_… */
export const RECORD_FLAGS: u32 = 24;
/** LINKTYPE_ value of the interface (https://www.tcpdump.org/linktypes.html). */
export const RECORD_LINK_TYPE: u32 = 28;
/** A record is 32 bytes. */
export const RECORD_SHIFT: u32 = 5;

/** The frame is an Ethernet frame: its link type is LINKTYPE_ETHERNET. */
export const RECORD_FLAG_ETHERNET: u32 = 1;
/** The file says when; a Simple Packet Block does not. */
export const RECORD_FLAG_TIMED: u32 = 2;

/** Captured bytes of one frame at most: libpcap's MAXIMUM_SNAPLEN (pcap-int.h). */
export const CAPTURE_FRAME_MAX: u32 = 262144;

/** Header of a packet record in a pcap file: seconds, fraction, captured and wire length, u32 each. */
export const PCAP_RECORD_SECONDS: u32 = 0;
export const PCAP_RECORD_FRACTION: u32 = 4;
export const PCAP_RECORD_CAPTURED: u32 = 8;
export const PCAP_RECORD_WIRE: u32 = 12;
export const PCAP_RECORD_BYTES: u32 = 16;

/** An Enhanced Packet Block of a pcapng file without options; its length stands again behind its data. */
export const BLOCK_ENHANCED: u32 = 6;
export const ENHANCED_TOTAL: u32 = 4;
export const ENHANCED_INTERFACE: u32 = 8;
export const ENHANCED_TIME_HIGH: u32 = 12;
export const ENHANCED_TIME_LOW: u32 = 16;
export const ENHANCED_CAPTURED: u32 = 20;
export const ENHANCED_WIRE: u32 = 24;
export const ENHANCED_DATA: u32 = 28;
/** Bytes of a block beside its data. */
export const ENHANCED_BYTES: u32 = 32;
