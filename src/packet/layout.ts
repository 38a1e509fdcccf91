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
// ---------------------------------------------------------------- headers of a frame

/**
 * What `headers.kernel.ts` says of a frame: one u64. Offsets are from the start of the frame.
 *
 *      0 ┌────────────┬────────┬────────┬────────────┬────────────┐ 64 bits
 *        │ EtherType  │ L3     │protocol│ L4         │ flags      │
 *        │ 16         │ 8      │ 8      │ 16         │ 16         │
 *        └────────────┴────────┴────────┴────────────┴────────────┘
 */
export const HEADERS_L3_SHIFT: u32 = 16;
export const HEADERS_PROTOCOL_SHIFT: u32 = 24;
export const HEADERS_L4_SHIFT: u32 = 32;
export const HEADERS_FLAGS_SHIFT: u32 = 48;
/** A whole IPv4 header with its options, or a whole IPv6 header, lies at L3. */
export const HEADERS_IPV4: u32 = 1;
export const HEADERS_IPV6: u32 = 2;
/** A piece of an IP packet, the first one included: L4 is 0. */
export const HEADERS_FRAGMENT: u32 = 4;
/** Source and destination port, u16 each, lie at L4: TCP, UDP or SCTP. */
export const HEADERS_PORTS: u32 = 8;
/** One VLAN tag, two VLAN tags: the inner TCI lies 4 bytes before L3. */
export const HEADERS_VLAN: u32 = 16;
export const HEADERS_QINQ: u32 = 32;

/** EtherTypes (IANA, "IEEE 802 Numbers"). */
export const ETHERTYPE_IPV4: u32 = 0x0800;
export const ETHERTYPE_ARP: u32 = 0x0806;
export const ETHERTYPE_VLAN: u32 = 0x8100;
export const ETHERTYPE_IPV6: u32 = 0x86dd;
export const ETHERTYPE_QINQ: u32 = 0x88a8;

/** Bytes of an Ethernet header, of a VLAN tag, and of the IP headers without options. */
export const ETHERNET_BYTES: u32 = 14;
export const VLAN_BYTES: u32 = 4;
export const IPV4_BYTES: u32 = 20;
export const IPV6_BYTES: u32 = 40;

/** IP protocols and IPv6 next headers (IANA, "Assigned Internet Protocol Numbers"). */
export const PROTOCOL_HOP_BY_HOP: u32 = 0;
export const PROTOCOL_ICMP: u32 = 1;
export const PROTOCOL_TCP: u32 = 6;
export const PROTOCOL_UDP: u32 = 17;
export const PROTOCOL_ROUTING: u32 = 43;
export const PROTOCOL_FRAGMENT: u32 = 44;
export const PROTOCOL_AUTHENTICATION: u32 = 51;
export const PROTOCOL_ICMPV6: u32 = 58;
export const PROTOCOL_DESTINATION_OPTIONS: u32 = 60;
export const PROTOCOL_SCTP: u32 = 132;
export const PROTOCOL_MOBILITY: u32 = 135;
export const PROTOCOL_HIP: u32 = 139;
export const PROTOCOL_SHIM6: u32 = 140;

/** Extension headers that are walked at most: RFC 8200 4.1 recommends seven, and each once but one. */
export const EXTENSIONS_MAX: u32 = 8;

/** Bytes of a Toeplitz key: enough for the 36 bytes of two IPv6 addresses and two ports. */
export const TOEPLITZ_KEY_BYTES: u32 = 40;
