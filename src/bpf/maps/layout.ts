/**
 * The words of the kinds, behind those that all maps have (`bpf/layout.ts`), and what lies between descriptor and values.
 *
 *     region ┌────────────┐
 *            │ descriptor │  MAP_BYTES: words of all kinds, of one kind, the map's name
 *            ├────────────┤
 *            │ scratch    │  key and values of a call from TypeScript
 *            ├────────────┤
 *            │ index      │  buckets and elements of a hash, nodes of a trie, words of a ring
 *            ├────────────┤
 *            │ values     │  all that a program may be given the address of
 *            └────────────┘
 */

// ---------------------------------------------------------------- errors

/** Numbers of errors, as helpers return them negative (Linux include/uapi/asm-generic/errno-base.h and errno.h). */
export const ERRNO_NOENT: u32 = 2;
export const ERRNO_E2BIG: u32 = 7;
export const ERRNO_AGAIN: u32 = 11;
export const ERRNO_NOMEM: u32 = 12;
export const ERRNO_ACCES: u32 = 13;
export const ERRNO_FAULT: u32 = 14;
export const ERRNO_BUSY: u32 = 16;
export const ERRNO_EXIST: u32 = 17;
export const ERRNO_NODEV: u32 = 19;
export const ERRNO_INVAL: u32 = 22;
export const ERRNO_NOSPC: u32 = 28;
export const ERRNO_OVERFLOW: u32 = 75;
export const ERRNO_OPNOTSUPP: u32 = 95;
export const ERRNO_AFNOSUPPORT: u32 = 97;

// ---------------------------------------------------------------- descriptor

/** Where a thread in TypeScript puts key and values of a call, and the word with which it takes the place (0: free). */
export const CONTROL_SCRATCH: u32 = 64;
export const CONTROL_LOCK: u32 = 68;
/** The map's name, in UTF-8, for threads that attach to it. */
export const MAP_NAME: u32 = 448;
/** Bytes for the name, with at least one zero behind it. */
export const MAP_NAME_MAX: u32 = 64;

/** What stands for the number of a CPU in calls from TypeScript: the values of all CPUs, one behind the other. */
export const CPU_ALL: u32 = 0x7fffffff;
/** What a look-up gives that found nothing, where 0 is a good answer. */
export const NONE: u32 = 0x7fffffff;

/** Looks at a word that another thread holds before a writer gives up with -EBUSY: some 100 µs. */
export const SPINS_MAX: u32 = 65536;
/** Times that a reader starts again because writers were at work, before it asks for the lock itself. */
export const RETRIES_MAX: u32 = 64;

// ---------------------------------------------------------------- hash

/**
 * A hash: buckets with a chain of elements each. An element has the number of its value.
 *
 *     bucket  0 ┌──────────┬──────────┐    element  0 ┌──────┬──────┬──────┬───────┐
 *               │ first    │ version  │               │ next │ hash │ free │ key … │
 *             8 └──────────┴──────────┘               └──────┴──────┴──────┴───────┘
 *
 * A chain ends with its bucket's number and CHAIN_END, so that a reader who was led into another chain, by an element that
 * was freed and used again under its feet, notices. Version is odd while a writer holds the bucket.
 */
export const HASH_BUCKETS: u32 = 96;
/** Buckets, a power of two, less 1. */
export const HASH_MASK: u32 = 100;
export const HASH_ELEMENTS: u32 = 104;
export const HASH_ELEMENT_SIZE: u32 = 108;
/** Elements in all: as many as entries, and one for each CPU and for TypeScript to replace another by. */
export const HASH_TOTAL: u32 = 112;
/** u64: what makes the places of keys different in each map. */
export const HASH_SEED: u32 = 120;
/** Address of the elements to replace others by: u32 each. */
export const HASH_SPARES: u32 = 128;
/** Address of a byte for each element of an LRU map: 1 when it was used since the hand passed; else 0. */
export const HASH_USED: u32 = 132;
/** Head of the list of free elements: number of the first and 1, and a tag that grows (u32 each). */
export const HASH_FREE: u32 = 192;
/** Elements that were ever taken: those from here on are free too. */
export const HASH_FRESH: u32 = 256;
/** The next element that eviction looks at, running free. */
export const HASH_HAND: u32 = 320;

export const BUCKET_FIRST: u32 = 0;
export const BUCKET_VERSION: u32 = 4;
export const BUCKET_SHIFT: u32 = 3;
/** In place of an element's number: the chain of the bucket in the low bits ends here. Numbers of elements are below. */
export const CHAIN_END: u32 = 0x40000000;

export const ELEMENT_NEXT: u32 = 0;
/** Hash of the key and HASH_TAKEN; 0 while the element is free or being written. */
export const ELEMENT_HASH: u32 = 4;
/** Number of the next free element and 1, or 0. */
export const ELEMENT_FREE: u32 = 8;
export const ELEMENT_KEY: u32 = 12;
/** Lowest bit of ELEMENT_HASH: the hash's own is not used. */
export const HASH_TAKEN: u32 = 1;

/** Elements that an eviction looks at before it takes one that was used since. */
export const EVICT_STEPS: u32 = 256;

/** Where an iteration stands: number of the bucket, and keys of it that are done. */
export const CURSOR_BUCKET: u32 = 0;
export const CURSOR_SKIP: u32 = 4;
export const CURSOR_BYTES: u32 = 8;
/** Keys that one step of an iteration gives at most. */
export const CURSOR_KEYS: u32 = 16;
