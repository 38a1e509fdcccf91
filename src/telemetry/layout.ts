/**
 * The counters of one port on one lcore: 64 u64, with that lcore as their only writer, so that counting needs no
 * atomic and no lcore waits for another's cache line.
 *
 *     block of lcore   ┌─────────┬─────────┬─────
 *                      │ port 0  │ port 1  │ …      512 bytes each
 *                      └─────────┴─────────┴─────
 *
 * For every port and in all: received + copies = sent + dropped + merged + in flight.
 */
export const COUNTER_RX_PACKETS: u32 = 0;
export const COUNTER_RX_BYTES: u32 = 8;
export const COUNTER_TX_PACKETS: u32 = 16;
export const COUNTER_TX_BYTES: u32 = 24;
/** Packets that came to be by flooding, mirroring, segmentation or injected duplication. */
export const COUNTER_COPIES: u32 = 32;
/** Flooded packets, before copying. */
export const COUNTER_FLOODED: u32 = 40;
/** The first of the drop counters: add 8 times a reason. */
export const COUNTER_DROPS: u32 = 64;
/** Packets that an XDP program said PASS, TX and REDIRECT to. What it drops or aborts is among the drops. */
export const COUNTER_XDP_PASS: u32 = 320;
export const COUNTER_XDP_TX: u32 = 328;
export const COUNTER_XDP_REDIRECT: u32 = 336;
/** Packets that were received and became part of others. */
export const COUNTER_MERGED: u32 = 344;
export const COUNTER_SHIFT: u32 = 9;
/** Ports at most; a port's number fits the u8 of a slot, and 255 stands for none. */
export const PORTS_MAX: u32 = 255;
export const PORT_NONE: u32 = 255;

/** Why a packet was dropped. `drops.ts` has the names. A drop counts for the port that the packet came from… */
export const DROP_RUNT: u32 = 0;
export const DROP_LINK_TYPE: u32 = 1;
export const DROP_POOL_EMPTY: u32 = 2;
export const DROP_VLAN: u32 = 3;
export const DROP_RESERVED: u32 = 4;
export const DROP_SAME_PORT: u32 = 5;
export const DROP_NO_PORT: u32 = 6;
export const DROP_STORM: u32 = 7;
export const DROP_STEERED: u32 = 8;
export const DROP_NO_ROUTE: u32 = 9;
export const DROP_TTL: u32 = 10;
export const DROP_BAD_HEADER: u32 = 11;
export const DROP_LCORE_FULL: u32 = 12;
export const DROP_BAD_DESCRIPTOR: u32 = 13;
export const DROP_STAGE: u32 = 14;
/** An XDP program says DROP, or ABORTED, or REDIRECT to what is not there; or it takes no packets of several buffers. */
export const DROP_XDP: u32 = 15;
export const DROP_XDP_ABORTED: u32 = 16;
export const DROP_XDP_REDIRECT: u32 = 17;
export const DROP_XDP_FRAGS: u32 = 18;
/** … or, from here on, for the port that it was to leave through. */
export const DROP_LINK_DOWN: u32 = 19;
export const DROP_TX_FULL: u32 = 20;
export const DROP_TX_ERROR: u32 = 21;
export const DROP_PORT_GONE: u32 = 22;
export const DROP_STOPPED: u32 = 23;
/** By the fault injector, in either direction. */
export const DROP_FAULT: u32 = 24;
/** Of the port it was to leave through, too: what a packet asks for contradicts the packet. */
export const DROP_BAD_OFFLOAD: u32 = 25;
export const DROP_OVERSIZE: u32 = 26;
export const DROP_FILTERED: u32 = 27;
export const DROP_REASONS: u32 = 28;
