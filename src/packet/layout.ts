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
/** Bytes of a TCP header without options, and where its checksum is. */
export const TCP_BYTES: u32 = 20;
export const TCP_CSUM_OFFSET: u32 = 16;
export const UDP_BYTES: u32 = 8;
export const UDP_CSUM_OFFSET: u32 = 6;
/** Of GRE's checksum, when there is one (RFC 2784, 2.1). */
export const GRE_CSUM_OFFSET: u32 = 4;

/** IP protocols and IPv6 next headers (IANA, "Assigned Internet Protocol Numbers"). */
export const PROTOCOL_HOP_BY_HOP: u32 = 0;
export const PROTOCOL_ICMP: u32 = 1;
/** IPv4 in IP (RFC 2003). */
export const PROTOCOL_IPIP: u32 = 4;
export const PROTOCOL_TCP: u32 = 6;
export const PROTOCOL_UDP: u32 = 17;
/** IPv6 in IP (RFC 4213, 3; RFC 2473). */
export const PROTOCOL_IPV6: u32 = 41;
export const PROTOCOL_GRE: u32 = 47;
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

/** The option of destination options that holds a mobile node's home address, and its bytes (RFC 6275, 6.3). */
export const OPTION_HOME_ADDRESS: u32 = 201;
export const OPTION_PAD1: u32 = 0;
/** The routing header that holds one: always of 24 bytes (RFC 6275, 6.4). */
export const ROUTING_TYPE_2: u32 = 2;

/** Bytes of a Toeplitz key: enough for the 36 bytes of two IPv6 addresses and two ports. */
export const TOEPLITZ_KEY_BYTES: u32 = 40;

// ---------------------------------------------------------------- checksums and segments that are still to be made

/**
 * What a packet asks to be done before a wire can carry it, and what a port's other side does itself: a mask with bit N
 * for gso_type N.
 */
export const OFFLOAD_CSUM: u32 = 1;
export const OFFLOAD_TSO4: u32 = 2;
export const OFFLOAD_TSO6: u32 = 16;
/** Over IPv4 and IPv6. */
export const OFFLOAD_USO: u32 = 32;
/** A request that nobody knows, or that contradicts itself. */
export const OFFLOAD_UNKNOWN: u32 = 64;
export const OFFLOAD_ECN: u32 = 128;
/** The mask of a port to which requests do not matter at all, since it looks into no frame. */
export const OFFLOAD_ANY: u32 = 255;

/** Why a request is refused: what lies at csum_start and csum_offset is no place for this frame's checksum. */
export const BAD_CHECKSUM_RANGE: u32 = 1;
/** No known gso_type, or one that does not go with its flags. */
export const BAD_GSO_TYPE: u32 = 2;
/** gso_size is 0, or would make more than GSO_SEGMENTS_MAX segments. */
export const BAD_GSO_SIZE: u32 = 3;
/** The headers are cut, of another protocol, of a fragment, or may not be repeated in each segment. */
export const BAD_GSO_HEADERS: u32 = 4;
/** Length fields do not say what the frame's length says. */
export const BAD_GSO_LENGTHS: u32 = 5;
/** SYN, RST or URG: each means something at one place of the sequence only. */
export const BAD_GSO_TCP_FLAGS: u32 = 6;

/** Segments of a packet at most: 65,535 bytes of 8 each, the smallest gso_size of Linux (TCP_MIN_GSO_SIZE). */
export const GSO_SEGMENTS_MAX: u32 = 8192;

/**
 * Where segments are made: what was found in the headers, where the copy of the payload stands, then the segments.
 *
 *      0 ┌──────────────┬──────────────┬──────────────┬──────────────┐
 *        │ segments     │ header bytes │ payload bytes│ gso_size     │
 *     16 ├──────────────┼──────────────┼──────────────┼──────────────┤
 *        │ L3           │ L4           │ protocol     │ address sum  │
 *     32 ├──────────────┼──────────────┼──────────────┼──────────────┤
 *        │ buffer       │ at           │ left there   │ outer L3     │  the next byte of payload
 *     48 ├──────────────┼──────────────┴──────────────┴──────────────┤
 *        │ outer step   │ outer L4     │ its protocol │              │
 *     64 ├──────────────┴──────────────┴──────────────┴──────────────┤
 *        │ up to 32 slots                                            │
 *        └───────────────────────────────────────────────────────────┘
 */
export const SEGMENT_COUNT: u32 = 0;
export const SEGMENT_HEADER: u32 = 4;
export const SEGMENT_PAYLOAD: u32 = 8;
export const SEGMENT_SIZE: u32 = 12;
export const SEGMENT_L3: u32 = 16;
export const SEGMENT_L4: u32 = 20;
export const SEGMENT_PROTOCOL: u32 = 24;
/** Ones' complement sum of the IP addresses and the protocol. */
export const SEGMENT_ADDRESS_SUM: u32 = 28;
export const SEGMENT_SOURCE: u32 = 32;
export const SEGMENT_SOURCE_AT: u32 = 36;
export const SEGMENT_SOURCE_LEFT: u32 = 40;
/** In a tunnel: the offset of the IP header outside, and what its identification grows by; 0 without a tunnel. */
export const SEGMENT_OUTER: u32 = 44;
export const SEGMENT_OUTER_STEP: u32 = 48;
/** Offset of the header behind it, and its IP protocol. */
export const SEGMENT_OUTER_L4: u32 = 52;
export const SEGMENT_OUTER_PROTOCOL: u32 = 56;
export const SEGMENT_SLOTS: u32 = 64;
/** SEGMENT_SLOTS and a burst of slots. */
export const SEGMENT_BYTES: u32 = 576;

// ---------------------------------------------------------------- merging what was received (GRO)

/**
 * Segments of a queue that wait for the next ones of their flows.
 *
 *       0 ┌──────────────────────────────┐
 *         │ words                        │
 *      64 ├──────────────────────────────┤
 *         │ 64 buckets of 4 flow hashes  │  u32 each, 0: free
 *    1088 ├──────────────────────────────┤
 *         │ an entry for each            │  in a list, oldest first
 *   17472 ├──────────────────────────────┤
 *         │ slots that are done          │  a burst and all entries
 *         └──────────────────────────────┘
 */
/** Bursts so far; what is old is told by it. */
export const GRO_POLL: u32 = 0;
/** Oldest and newest entry, 0: none. */
export const GRO_OLDEST: u32 = 4;
export const GRO_NEWEST: u32 = 8;
/** Entries in use. */
export const GRO_HELD: u32 = 12;
/** Slots that are done, and those of them that were handed on. */
export const GRO_READY: u32 = 16;
export const GRO_TAKEN: u32 = 20;
/** Packets that the last call merged into others. */
export const GRO_MERGED: u32 = 24;
export const GRO_TABLE: u32 = 64;
export const GRO_BUCKET_MASK: u32 = 63;
/** Flows in a bucket, and bytes of a bucket: 1 << GRO_BUCKET_SHIFT. */
export const GRO_WAYS: u32 = 4;
export const GRO_BUCKET_SHIFT: u32 = 4;
/** The slot of the first segment, then what the next one must be. */
export const GRO_ENTRIES: u32 = 1088;
export const GRO_ENTRY_SHIFT: u32 = 6;
/** Its last buffer. */
export const HELD_LAST: u32 = 16;
export const HELD_SEQUENCE: u32 = 20;
export const HELD_IDENTIFICATION: u32 = 24;
/** u16 each: offsets of the headers, bytes of all headers, bytes of payload in each segment but the last. */
export const HELD_L3: u32 = 28;
export const HELD_L4: u32 = 30;
export const HELD_HEADER: u32 = 32;
export const HELD_SIZE: u32 = 34;
/** Bytes of the frame so far, and the segments in it. */
export const HELD_TOTAL: u32 = 36;
export const HELD_SEGMENTS: u32 = 40;
/** GRO_POLL when the first segment came. */
export const HELD_SINCE: u32 = 44;
export const HELD_OLDER: u32 = 48;
export const HELD_NEWER: u32 = 52;
/** In a tunnel, u8: offset of the IP header outside, 0 without one, and how its identification goes on, 0 until that is known. */
export const HELD_OUTER: u32 = 56;
export const HELD_OUTER_STEP: u32 = 57;
export const OUTER_COUNTS: u32 = 1;
export const OUTER_STAYS: u32 = 2;
/** u16: that of the first segment. */
export const HELD_OUTER_IDENTIFICATION: u32 = 58;
/** u16 and u8: offset of the header behind the IP header outside, and its IP protocol. */
export const HELD_OUTER_L4: u32 = 60;
export const HELD_OUTER_PROTOCOL: u32 = 62;
export const GRO_SLOTS: u32 = 17472;
/** GRO_SLOTS, slots for 256 entries and a burst, and what is missing to whole pairs of cache lines. */
export const GRO_BYTES: u32 = 22144;
/** Bursts that a segment waits at most. */
export const GRO_POLLS_MAX: u32 = 32;
/** Buffers in there at most: those of as many bursts, and of the one that is looked at. */
export const GRO_BUFFERS_MAX: u32 = 1056;

// ---------------------------------------------------------------- hash report and receive-side scaling

/**
 * What a hash is to be calculated over, and where it leads: struct virtio_net_rss_config (virtio 1.2, 5.1.6.5.7.1), with
 * the key and the table at fixed places.
 */
export const RSS_TYPES: u32 = 0;
/** Entries of the table, a power of two, less 1. */
export const RSS_TABLE_MASK: u32 = 4;
/** Queue of what has no hash. */
export const RSS_UNCLASSIFIED_QUEUE: u32 = 6;
/** TOEPLITZ_KEY_BYTES; a shorter key ends in zeroes. */
export const RSS_KEY: u32 = 8;
/** Queues, u16 each. */
export const RSS_TABLE: u32 = 48;
/** What `rssHash` says of a packet: 8 bytes. */
export const RSS_RESULT_HASH: u32 = 0;
export const RSS_RESULT_REPORT: u32 = 4;
export const RSS_RESULT_QUEUE: u32 = 6;
export const RSS_RESULT_SHIFT: u32 = 3;

/** VIRTIO_NET_HASH_REPORT_…: what was hashed. The type of report r is bit r - 1 of RSS_TYPES (virtio 1.2, 5.1.6.4.4). */
export const HASH_REPORT_NONE: u32 = 0;
export const HASH_REPORT_IPV4: u32 = 1;
export const HASH_REPORT_TCPV4: u32 = 2;
export const HASH_REPORT_UDPV4: u32 = 3;
export const HASH_REPORT_IPV6: u32 = 4;
export const HASH_REPORT_TCPV6: u32 = 5;
export const HASH_REPORT_UDPV6: u32 = 6;
export const HASH_REPORT_IPV6_EX: u32 = 7;
export const HASH_REPORT_TCPV6_EX: u32 = 8;
export const HASH_REPORT_UDPV6_EX: u32 = 9;

// ---------------------------------------------------------------- routes

/** A route table: addresses of the nodes and of the next hops, root node of IPv4 and of IPv6 (0: no routes). */
export const ROUTES_NODES: u32 = 0;
export const ROUTES_HOPS: u32 = 4;
export const ROUTES_ROOT4: u32 = 8;
export const ROUTES_ROOT6: u32 = 12;
/** The router's MAC in the low 48 bits, as loaded from a frame; 0: there is no router. */
export const ROUTES_ROUTER_MAC: u32 = 16;
export const ROUTES_BYTES: u32 = 64;
/**
 * A route node: 256 u32, one for each value of the next address byte: 0, a child node's index, or a next hop's with
 * ROUTE_LEAF. Prefixes are pushed to the leaves when the table is built, so that a look-up is at most one load a byte.
 */
export const ROUTE_NODE_SHIFT: u32 = 10;
export const ROUTE_LEAF: u32 = 0x40000000;
export const HOP_PORT: u32 = 0;
/** Destination MAC in the low 48 bits. */
export const HOP_MAC: u32 = 8;
export const HOP_SHIFT: u32 = 4;
