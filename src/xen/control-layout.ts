/**
 * The control ring (io/netif.h), and what its messages set: grants that stay mapped, and how packets are spread over queues. Requests
 * and responses are shared with the frontend; the rest is the backend's own.
 */

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
/** RECENT_… of the queue that was received from last, or 0; which of the queues it is; and the port's number. */
export const VIFSTEER_RECENT: u32 = 832;
export const VIFSTEER_QUEUE: u32 = 836;
export const VIFSTEER_PORT: u32 = 840;
export const VIFSTEER_BYTES: u32 = 896;
