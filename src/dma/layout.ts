/**
 * Where the words of a virtual channel lie, in bytes from its base: all that an application, an engine and a kernel of
 * another folder need of it follows from that one address.
 *
 *       0 ┌───────────┬────────┬──────┬──────┬─────────────┐
 *         │ size      │ engine │ ops  │ bell │ bounds, SG… │  constant once the channel is set up
 *     128 ├───────────┼────────┴──┬───┴──────┼─────────────┤
 *         │ enqueued  │ returned  │ capacity │ seen, last… │  the application writes this line
 *     256 ├───────────┼───────────┴──────────┴─────────────┘
 *         │ submitted │                                       the application publishes, once a submit
 *     384 ├───────────┼───────────┬───────────────────┐
 *         │ completed │ errors    │ counters          │       the engine publishes, once a batch
 *     512 ├───────────┴───────────┴─────── ─ ─ ─ ─
 *         │ descriptor 0 │ descriptor 1 │ …                  32 bytes each
 *         │ SG entries of descriptor 0 │ …                   256 bytes each, at VCHAN_SG
 *
 * One ring of descriptors with four free-running positions plays the four rings of DPDK's skeleton driver:
 *
 *     returned ──▶ completed ──▶ submitted ──▶ enqueued ──▶ returned + size
 *         completed      running       pending       empty
 *
 * A descriptor is written by the application alone; the engine writes the status of one that failed. Lines that one side
 * writes are two cache lines apart from the other's: x86 prefetches lines in pairs.
 */

/** Descriptors, a power of two from DESCRIPTORS_MIN to DESCRIPTORS_MAX. */
export const VCHAN_SIZE: u32 = 0;
/** ENGINE_CPU: who submits does the work. ENGINE_OTHER: somebody else does. */
export const VCHAN_ENGINE: u32 = 4;
/** What may be enqueued beside copies: OPS_SG, OPS_FILL. */
export const VCHAN_OPS: u32 = 8;
/** 1: completions are not collected; a descriptor is empty again once the engine has completed it. */
export const VCHAN_SILENT: u32 = 12;
/** Words of the lcore (`lcore/layout.ts`) that is to be woken by a submit; 0 when nobody sleeps. */
export const VCHAN_BELL: u32 = 16;
/** Lowest address that an operation may touch. */
export const VCHAN_LOWEST: u32 = 20;
/** First address behind those that an operation may touch, u64: 2^32 at most. */
export const VCHAN_END: u32 = 24;
/** Address of the SG entries. */
export const VCHAN_SG: u32 = 32;

/** Position of the next descriptor to fill. Private to the application. */
export const VCHAN_ENQUEUED: u32 = 128;
/** Position of the next completion to give to the application. Private to it. */
export const VCHAN_RETURNED: u32 = 132;
/** VCHAN_SIZE while the device runs, else 0: nothing can be enqueued. Written by the control thread. */
export const VCHAN_CAPACITY: u32 = 136;
/** The application's copy of VCHAN_COMPLETED. */
export const VCHAN_SEEN: u32 = 140;
/** Ring index of the last operation that was given back. */
export const VCHAN_LAST: u32 = 144;
/** 1: the last call stopped before a failed operation, or gave some back. */
export const VCHAN_HAS_ERROR: u32 = 148;
/** Failed operations that were given back. */
export const VCHAN_ERRORS_SEEN: u32 = 152;
/** Operations submitted, u64. */
export const VCHAN_SUBMITTED_COUNT: u32 = 160;

/** Position up to which the engine may read. Written by the application, read by the engine. */
export const VCHAN_SUBMITTED: u32 = 256;

/** Position up to which the engine is done. Written by the engine, read by the application. */
export const VCHAN_COMPLETED: u32 = 384;
/** Failed operations among the completed ones, free-running; written before VCHAN_COMPLETED. */
export const VCHAN_ERRORS: u32 = 388;
/** Operations completed, failed ones included, and failed ones; u64. */
export const VCHAN_COMPLETED_COUNT: u32 = 392;
export const VCHAN_ERROR_COUNT: u32 = 400;

/** The first descriptor. */
export const VCHAN_DESCRIPTORS: u32 = 512;
/** Bytes before the descriptors. */
export const VCHAN_BYTES: u32 = 512;

export const ENGINE_CPU: u32 = 1;
export const ENGINE_OTHER: u32 = 2;
export const OPS_SG: u32 = 1;
export const OPS_FILL: u32 = 2;

/** As the skeleton driver of DPDK has them (drivers/dma/skeleton/skeleton_dmadev.c, 22.11). */
export const DESCRIPTORS_MIN: u32 = 32;
export const DESCRIPTORS_MAX: u32 = 8192;
/** Ring indexes are the lower 16 bits of positions, as dmadev has them. */
export const INDEX_MASK: u32 = 0xffff;

/**
 * A descriptor: 32 bytes, two to a cache line.
 *
 *      0 ┌────────────────────────────┐
 *        │ target │ source            │  of a copy; a fill has no source
 *      8 ├────────┼───────────────────┤
 *        │ length │ op │ flags        │  of an SG copy the length is entries to write << 16 | entries to read
 *     16 ├────────┴────┴──────────────┤
 *        │ pattern                    │  u64, of a fill
 *     24 ├────────┬───────────────────┤
 *        │ status │                   │  0, unless the engine says otherwise
 *     32 └────────┴───────────────────┘
 */
export const DMA_DESC_TARGET: u32 = 0;
export const DMA_DESC_SOURCE: u32 = 4;
export const DMA_DESC_LENGTH: u32 = 8;
/** u16 each. */
export const DMA_DESC_OP: u32 = 12;
export const DMA_DESC_FLAGS: u32 = 14;
export const DMA_DESC_PATTERN: u32 = 16;
export const DMA_DESC_STATUS: u32 = 24;
/** A descriptor is 32 bytes. */
export const DMA_DESC_SHIFT: u32 = 5;

export const DMA_OP_COPY: u32 = 0;
export const DMA_OP_SG: u32 = 1;
export const DMA_OP_FILL: u32 = 2;

/** As RTE_DMA_OP_FLAG_… (DPDK lib/dmadev/rte_dmadev.h): starts only after all that was enqueued before is completed. */
export const DMA_FLAG_FENCE: u32 = 1;
/** Submits this operation and all that are pending. */
export const DMA_FLAG_SUBMIT: u32 = 2;

/** An entry of an SG list: address and length, u32 each. */
export const DMA_SGE_ADDRESS: u32 = 0;
export const DMA_SGE_LENGTH: u32 = 4;
/** An entry is 8 bytes. */
export const DMA_SGE_SHIFT: u32 = 3;
/** Entries of one list at most. */
export const SGES_MAX: u32 = 16;
/** A descriptor's entries to write, then from SG_SOURCES on those to read: 2 * SGES_MAX entries are 256 bytes. */
export const SG_SHIFT: u32 = 8;
export const SG_SOURCES: u32 = 128;

/** Statuses, with the numbers of enum rte_dma_status_code (DPDK lib/dmadev/rte_dmadev.h). */
export const STATUS_SUCCESSFUL: u32 = 0;
/** USER_ABORT: given up by `abort`; the target may be written in part, or whole. */
export const STATUS_ABORTED: u32 = 1;
export const STATUS_INVALID_SRC_ADDR: u32 = 3;
export const STATUS_INVALID_DST_ADDR: u32 = 4;
/** The two lists of an SG copy differ in length. */
export const STATUS_INVALID_LENGTH: u32 = 6;
export const STATUS_INVALID_OPCODE: u32 = 7;
/** What an engine failed at; the target may be written in part, or whole. */
export const STATUS_BUS_ERROR: u32 = 10;
/** Statuses are one byte each where they are given back. */
export const STATUS_MAX: u32 = 255;

/** Operations that an engine completes with one publication. */
export const ENGINE_BURST: u32 = 32;
