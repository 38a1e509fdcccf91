/**
 * The data ring, laid out as 9pfs and PVCalls have theirs (docs/misc/9pfs.pandoc and pvcalls.pandoc of Xen): a page of indexes and
 * references, and pages of bytes. The first half of the bytes is `in`, which the backend writes; the second is `out`, which the
 * frontend writes. Indexes run free. All of it is shared.
 *
 *     index page   0 │ in_cons │ in_prod │ in_error │  64 │ out_cons │ out_prod │ out_error │  128 │ order │ ref 0 │ ref 1 │ …
 *
 *     bytes        │ frame │ frame │ …        a frame: │ length u32 │ the packet's bytes │ up to a multiple of 16 │
 */

/** Indexes of either half, u32 each: what its reader has taken, what its writer has put. */
export const DATARING_IN: u32 = 0;
export const DATARING_OUT: u32 = 64;
export const DATAHALF_CONS: u32 = 0;
export const DATAHALF_PROD: u32 = 4;
/** Pages of bytes as a power of two, 1 to 9, and a reference for each. */
export const DATARING_ORDER: u32 = 128;
export const DATARING_REFS: u32 = 132;
export const DATARING_ORDER_MIN: u32 = 1;
export const DATARING_ORDER_MAX: u32 = 9;

/** Bytes of the packet, 14 to 65,535: u32, which never goes round the end, since frames begin at multiples of 16. */
export const DATAFRAME_LENGTH: u32 = 0;
export const DATAFRAME_HEADER: u32 = 4;
export const DATAFRAME_ALIGN_SHIFT: u32 = 4;
export const DATAFRAME_LENGTH_MAX: u32 = 65535;
