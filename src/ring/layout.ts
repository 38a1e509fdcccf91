/**
 * Where the words of the two rings lie, in bytes from a ring's base. Both carry 16-byte slots.
 *
 *     SPSC    0 ┌───────────────┬───────────────┬───────────────┐
 *               │ head          │ cached tail   │ size          │  the producer writes this line
 *           128 ├───────────────┼───────────────┼───────────────┘
 *               │ tail          │ cached head   │                   the consumer writes this one
 *           256 ├───────────────┴───────────────┴── ─ ─ ─ ─
 *               │ slot 0 │ slot 1 │ …                               16 bytes each
 *
 *     MPSC    0 ┌───────────────┬───────────────┬───────────────┐
 *               │ head          │ cached tail   │ size          │  producers compare-and-swap here
 *           128 ├───────────────┼───────────────┼───────────────┘
 *               │ tail          │ readable      │                   the consumer writes this line
 *           256 ├───────────────┴───────────────┴── ─ ─ ─ ─
 *               │ run 0 │ run 1 │ …                                 4 bytes each: length of the run that starts here
 *               │ slot 0 │ slot 1 │ …                               16 bytes each, at 256 + 4 * size
 *
 * The two index lines are two cache lines apart, not one: x86 prefetches lines in pairs.
 */

/** Free-running index of the next slot to fill. Written by the producer, read by the consumer. */
export const SPSC_HEAD: u32 = 0;
/** The producer's copy of the tail. Private to the producer. */
export const SPSC_CACHED_TAIL: u32 = 4;
/** Number of slots, a power of two. Constant after `createSpscRing`. */
export const SPSC_SIZE: u32 = 8;
/** Free-running index of the next slot to empty. Written by the consumer, read by the producer. */
export const SPSC_TAIL: u32 = 128;
/** The consumer's copy of the head. Private to the consumer. */
export const SPSC_CACHED_HEAD: u32 = 132;
/** The first slot. */
export const SPSC_SLOTS: u32 = 256;

/** Free-running index of the next slot to claim. Producers compare-and-swap it. */
export const MPSC_HEAD: u32 = 0;
/** A tail that some producer saw; never newer than the real one. */
export const MPSC_CACHED_TAIL: u32 = 4;
/** Number of slots, a power of two. Constant after `createMpscRing`. */
export const MPSC_SIZE: u32 = 8;
/** Free-running index of the next slot to empty. Written by the consumer. */
export const MPSC_TAIL: u32 = 128;
/** Free-running index up to which runs were found published. Private to the consumer. */
export const MPSC_READABLE: u32 = 132;
/** The first run word. */
export const MPSC_RUNS: u32 = 256;
