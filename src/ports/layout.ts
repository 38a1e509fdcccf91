/**
 * The generator's state, in one region: words, then a table that picks flows, one that picks sizes, then the flows.
 */

/** State of the random numbers, u64, never 0 (xorshift64*, Vigna 2016). */
export const GENERATOR_RANDOM: u32 = 0;
export const GENERATOR_FLOWS: u32 = 8;
export const GENERATOR_SIZES: u32 = 12;
/** Addresses of the three tables. */
export const GENERATOR_FLOW_ALIAS: u32 = 16;
export const GENERATOR_SIZE_ALIAS: u32 = 20;
export const GENERATOR_FLOW_TABLE: u32 = 24;
/** Address of 9 KiB of zeroes for frames that take several buffers. */
export const GENERATOR_ZEROES: u32 = 28;
export const GENERATOR_BYTES: u32 = 128;

/**
 * An entry of an alias table (Walker 1977, Vose 1991): draw an entry, keep it when a second draw is below its
 * threshold, else take its alias. A draw costs the same for any distribution.
 */
export const ALIAS_THRESHOLD: u32 = 0;
export const ALIAS_OTHER: u32 = 4;
/** What a size entry stands for: bytes of the frame. */
export const ALIAS_VALUE: u32 = 8;
export const ALIAS_SHIFT: u32 = 4;

/** A flow: the start of its frames with length and checksum fields 0, and what they are computed from. */
export const FLOW_TEMPLATE: u32 = 0;
export const FLOW_TEMPLATE_BYTES: u32 = 96;
/** Sum of the IPv4 header's 16-bit words without the length; 0 for IPv6. */
export const FLOW_IP_SUM: u32 = 96;
/** Sum of pseudo header and transport header without lengths. */
export const FLOW_L4_SUM: u32 = 100;
/** 4 or 6; 17 for UDP, 6 for TCP. */
export const FLOW_VERSION: u32 = 104;
export const FLOW_PROTOCOL: u32 = 105;
/** Offset of the transport header, 34 or 54. */
export const FLOW_L4_OFFSET: u32 = 106;
export const FLOW_SHIFT: u32 = 7;
