/**
 * What the kernel of Linux and ours share: rings of packet sockets (Linux include/uapi/linux/if_packet.h) and of XDP sockets
 * (include/uapi/linux/if_xdp.h), and the header in front of a tap's frames. All in bytes.
 */

/** A struct virtio_net_hdr without and with num_buffers (virtio 1.1, 5.1.6). */
export const SHORT_HEADER_BYTES: u32 = 10;
export const TAP_HEADER_BYTES: u32 = 12;

/** Where its hdr_len is. */
export const HEADER_LENGTH: u32 = 2;

/** struct iovec: address u64, bytes u64. */
export const VECTOR_SHIFT: u32 = 4;
export const VECTOR_BYTES: u32 = 8;

// ---------------------------------------------------------------- tap

/** A queue of a tap, as its lcore works with it: the offloads that it takes (OFFLOAD_…). */
export const TAP_OFFLOADS: u32 = 0;
/** Frames that were dropped: they asked for what was not agreed on, no buffers were left, the kernel did not take them. */
export const TAP_BAD: u32 = 4;
export const TAP_EMPTY: u32 = 8;
export const TAP_REFUSED: u32 = 12;
/** Its descriptor. */
export const TAP_FD: u32 = 16;
/** Address of the requests to write (struct io_uring_sqe), TAP_REQUESTS of them; and the number of the next one. */
export const TAP_REQUEST: u32 = 20;
export const TAP_NEXT: u32 = 24;
/** Addresses of the words of the ring that they are in, 0 when there is none: heads and tails, and completions. */
export const TAP_SQ_HEAD: u32 = 28;
export const TAP_SQ_TAIL: u32 = 32;
export const TAP_CQ_HEAD: u32 = 36;
export const TAP_CQ_TAIL: u32 = 40;
export const TAP_COMPLETIONS: u32 = 44;
/** Errno of the last request that failed. */
export const TAP_ERRNO: u32 = 48;
/** Vectors: of 32 frames to receive two each, or of frames to send one for the header and one for each buffer. */
export const TAP_VECTORS: u32 = 64;
export const TAP_VECTOR_COUNT: u32 = 156;
/** Headers of frames to send that have no room of their own for one, 16 bytes each. */
export const TAP_HEADERS: u32 = 2560;
export const TAP_HEADER_SHIFT: u32 = 4;
/** Then a frame longer than a buffer as a whole, with room for the part that a buffer holds in front. */
export const TAP_LONG: u32 = 3072;
/** Longest frame: 64 KiB of IP, Ethernet and two tags. */
export const TAP_FRAME_MAX: u32 = 65557;
export const TAP_BYTES: u32 = 68736;
/** A burst. */
export const TAP_REQUESTS: u32 = 32;
/** struct io_uring_sqe: u8 operation, u8 flags, i32 descriptor; address, u32 length, u32 RWF_…; what is ours: an address in the memory. */
export const REQUEST_SHIFT: u32 = 6;
export const REQUEST_ADDRESS: u32 = 16;
export const REQUEST_LENGTH: u32 = 24;
export const REQUEST_OWN: u32 = 32;
/** IORING_OP_…; IOSQE_CQE_SKIP_SUCCESS; RWF_NOWAIT: a request is done, or failed, when the call returns. */
export const REQUEST_WRITEV: u32 = 2;
export const REQUEST_WRITE: u32 = 23;
export const REQUEST_SILENT: u32 = 1 << 6;
export const REQUEST_NOWAIT: u32 = 8;
/** struct io_uring_cqe: i32 result. There is room for twice as many as requests. */
export const COMPLETION_SHIFT: u32 = 4;
export const COMPLETION_RESULT: u32 = 8;

// ---------------------------------------------------------------- packet sockets

/** A queue of a packet socket. Address of the blocks it receives in, bytes of each, how many. */
export const PACKET_BLOCKS: u32 = 0;
export const PACKET_BLOCK_BYTES: u32 = 4;
export const PACKET_BLOCK_COUNT: u32 = 8;
/** The block that is read, its frame that is next, how many it has left. */
export const PACKET_BLOCK: u32 = 12;
export const PACKET_NEXT: u32 = 16;
export const PACKET_LEFT: u32 = 20;
/** Address of the places it sends from, bytes of each, how many, and the next one. */
export const PACKET_PLACES: u32 = 24;
export const PACKET_PLACE_BYTES: u32 = 28;
export const PACKET_PLACE_COUNT: u32 = 32;
export const PACKET_PLACE: u32 = 36;
/** Frames dropped: cut by the kernel, no buffers left, asking for what is not known, too long to be sent, refused by the kernel. */
export const PACKET_CUT: u32 = 40;
export const PACKET_EMPTY: u32 = 44;
export const PACKET_BAD: u32 = 48;
export const PACKET_LONG: u32 = 52;
export const PACKET_REFUSED: u32 = 56;
export const PACKET_BYTES: u32 = 64;

/** struct tpacket_block_desc: block_status, num_pkts, offset_to_first_pkt. */
export const BLOCK_STATUS: u32 = 8;
export const BLOCK_PACKETS: u32 = 12;
export const BLOCK_FIRST: u32 = 16;
/** struct tpacket3_hdr: next_offset, snaplen, len, status, u16 mac, then vlan_tci and u16 vlan_tpid. */
export const FRAME_NEXT: u32 = 0;
export const FRAME_SNAPLEN: u32 = 12;
export const FRAME_LEN: u32 = 16;
export const FRAME_STATUS: u32 = 20;
export const FRAME_MAC: u32 = 24;
export const FRAME_VLAN_TCI: u32 = 32;
export const FRAME_VLAN_TPID: u32 = 36;
/** Where the bytes of a frame to send begin: TPACKET3_HDRLEN without its struct sockaddr_ll. */
export const FRAME_DATA: u32 = 48;
/** The kernel copies frames of up to so many bytes into one piece; of longer ones it uses the pages that they lie in. */
export const PACKET_COPIED_MAX: u32 = 256;
/** TP_STATUS_…: ours to read, its tag and the tag's type were taken out. */
export const STATUS_USER: u32 = 1;
export const STATUS_VLAN_VALID: u32 = 1 << 4;
export const STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/** Of a place to send from: free, to be sent, refused. */
export const STATUS_AVAILABLE: u32 = 0;
export const STATUS_SEND_REQUEST: u32 = 1;
export const STATUS_WRONG_FORMAT: u32 = 4;

// ---------------------------------------------------------------- XDP sockets

/** A queue of an XDP socket. The first buffer and the number of buffers that the kernel knows. */
export const XSK_BASE: u32 = 0;
export const XSK_COUNT: u32 = 4;
/** Address of a byte for each buffer: 1 while the kernel has it. */
export const XSK_OWNED: u32 = 8;
/** Address of the rings; 0 once the socket is closed. */
export const XSK_RINGS: u32 = 12;
/** Four rings, XSK_RING_BYTES each. */
export const XSK_FILL: u32 = 16;
export const XSK_COMPLETION: u32 = 40;
export const XSK_RX: u32 = 64;
export const XSK_TX: u32 = 88;
/** Frames dropped: an address that the kernel did not have, too long to be sent, no buffers left for a copy. */
export const XSK_BAD: u32 = 112;
export const XSK_LONG: u32 = 116;
export const XSK_EMPTY: u32 = 120;
/** Room for a burst of slots. */
export const XSK_SLOTS: u32 = 128;
export const XSK_BYTES: u32 = 640;

/** A ring: addresses of producer, consumer, flags and descriptors, entries less one, our own index. */
export const XRING_PRODUCER: u32 = 0;
export const XRING_CONSUMER: u32 = 4;
export const XRING_FLAGS: u32 = 8;
export const XRING_ENTRIES: u32 = 12;
export const XRING_MASK: u32 = 16;
export const XRING_INDEX: u32 = 20;
/** struct xdp_desc: address u64, length u32, options u32; the other rings hold addresses alone. */
export const XDESC_SHIFT: u32 = 4;
export const XDESC_LENGTH: u32 = 8;
export const XADDRESS_SHIFT: u32 = 3;
/** XDP_RING_NEED_WAKEUP, in a ring's flags. */
export const XRING_NEED_WAKEUP: u32 = 1;
