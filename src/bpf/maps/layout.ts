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

/** Looks at a word that another thread holds before a writer gives up with -EBUSY: a millisecond or more. */
export const SPINS_MAX: u32 = 1048576;
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
/** 32 less the bits of a bucket's number, 1 to 31: upper bits of the hash are that number. */
export const HASH_SHIFT: u32 = 100;
export const HASH_ELEMENTS: u32 = 104;
export const HASH_ELEMENT_SIZE: u32 = 108;
/** Elements in all: as many as entries, and one for each CPU and for TypeScript to replace another by. */
export const HASH_TOTAL: u32 = 112;
/** u64, odd: what makes the places of keys different in each map. */
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
/** Lowest bit of ELEMENT_HASH, instead of the hash's own. */
export const HASH_TAKEN: u32 = 1;

/** Elements that an eviction looks at before it takes one that was used since. */
export const EVICT_STEPS: u32 = 256;
/** Looks at a bucket before an eviction goes on to the next element: there are others. */
export const EVICT_SPINS: u32 = 64;

/** Where an iteration stands: number of the bucket, and keys of it that are done. */
export const CURSOR_BUCKET: u32 = 0;
export const CURSOR_SKIP: u32 = 4;
export const CURSOR_BYTES: u32 = 8;
/** Keys that one step of an iteration gives at most. */
export const CURSOR_KEYS: u32 = 16;

/**
 * Where bpf_for_each_map_elem stands, on the stack of a function; all zeroes at first. In a hash: a bucket, the element that was
 * told and 1, its hash, and what was behind it then and 1. In an array, where nothing was told: the next place.
 */
export const EACH_BUCKET: u32 = 0;
export const EACH_TOLD: u32 = 4;
export const EACH_HASH: u32 = 8;
export const EACH_NEXT: u32 = 12;
/** Elements that were looked at. */
export const EACH_DONE: u32 = 16;
/** The key that is told. */
export const EACH_KEY: u32 = 24;
/** Bytes of a key that there is room for in a function's stack. */
export const EACH_KEY_MAX: u32 = 480;
/** Buckets and elements that one step goes past. */
export const EACH_STEPS: u32 = 256;
/** What a step returns that has found nothing yet: no address of a value. */
export const EACH_AGAIN: u32 = 1;

// ---------------------------------------------------------------- trie of prefixes

/**
 * A binary trie with compressed paths: a node stands for the first NODE_PREFIX bits of its data, and has a value, or
 * is only the fork of two others. Links are numbers of nodes and 1; 0 leads nowhere.
 *
 *     node  0 ┌──────┬──────┬───────┬────────┬──────┬────────┐
 *             │ on 0 │ on 1 │ value │ prefix │ free │ data … │
 *             └──────┴──────┴───────┴────────┴──────┴────────┘
 */
export const LPM_NODES: u32 = 96;
export const LPM_NODE_SIZE: u32 = 100;
/** Bits of the longest prefix. */
export const LPM_BITS: u32 = 104;
/** Address of a u32 for each value: the number of the next free one and 1. */
export const LPM_VALUE_LINKS: u32 = 108;
/** Odd while somebody writes, and another one afterwards. */
export const LPM_VERSION: u32 = 192;
/** The first node. */
export const LPM_ROOT: u32 = 196;
export const LPM_COUNT: u32 = 200;
/** First free node, linked by NODE_FREE, and how many nodes were ever taken. */
export const LPM_NODE_LIST: u32 = 204;
export const LPM_NODE_FRESH: u32 = 208;
/** The same of values. */
export const LPM_VALUE_LIST: u32 = 212;
export const LPM_VALUE_FRESH: u32 = 216;

export const NODE_ZERO: u32 = 0;
export const NODE_ONE: u32 = 4;
/** Number of the value and 1; 0 in a fork. */
export const NODE_VALUE: u32 = 8;
export const NODE_PREFIX: u32 = 12;
/** The next free node. A node that was taken out still leads on, for whoever stands on it. */
export const NODE_FREE: u32 = 16;
export const NODE_DATA: u32 = 20;

/** A key: u32 bits of the prefix, then the data, its first bit the highest (Linux struct bpf_lpm_trie_key_u8). */
export const PREFIX_BITS: u32 = 0;
export const PREFIX_DATA: u32 = 4;

// ---------------------------------------------------------------- ring buffer

/**
 * A ring of records that programs write and TypeScript reads. The memory behind a record's header is the program's until
 * it submits it; what the record is, and how long, is also in a word that programs cannot reach: one for each 8 bytes of
 * the ring, and the one of a record's first 8 bytes counts.
 *
 *     data  0 ┌─────────────┬────────┬────────────────────┐
 *             │ u32 length… │ offset │ what programs write│  next at a multiple of 8
 *             └─────────────┴────────┴────────────────────┘
 *
 * The data take twice the ring's size, so that a record that begins before the ring's end goes on behind it in one piece.
 * The first bytes of the ring stay unused meanwhile: positions count as if it wrapped.
 */
export const RINGBUF_MASK: u32 = 96;
export const RINGBUF_STATES: u32 = 100;
/** Free-running u64: bytes that were reserved, and bytes that were read. */
export const RINGBUF_PRODUCER: u32 = 128;
export const RINGBUF_LOCK: u32 = 136;
/** Records that found no room. */
export const RINGBUF_LOST: u32 = 140;
export const RINGBUF_CONSUMER: u32 = 256;
/** What the reader found: bytes of the record, and records whose header a program had overwritten. */
export const RINGBUF_FOUND: u32 = 264;
export const RINGBUF_DAMAGED: u32 = 268;
/** Of the records that found no room, how many the reader knows. */
export const RINGBUF_LOST_SEEN: u32 = 272;

/** Header of a record (Linux struct bpf_ringbuf_hdr): length with flags, and its own offset in the ring. */
export const RINGBUF_RECORD_LENGTH: u32 = 0;
export const RINGBUF_RECORD_OFFSET: u32 = 4;
export const RINGBUF_RECORD_BYTES: u32 = 8;
/** In a record's word: it was discarded. The highest bit says that it is not submitted yet (BPF_RINGBUF_BUSY_BIT). */
export const RINGBUF_DISCARD: u32 = 0x40000000;
export const RINGBUF_LENGTH_MASK: u32 = 0x3fffffff;

/** Flags of submit and output (BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP), and what query asks for (BPF_RB_…). */
export const RINGBUF_WAKE_FLAGS: u32 = 3;
export const RINGBUF_QUERY_AVAILABLE: u32 = 0;
export const RINGBUF_QUERY_SIZE: u32 = 1;
export const RINGBUF_QUERY_CONSUMER: u32 = 2;
export const RINGBUF_QUERY_PRODUCER: u32 = 3;

// ---------------------------------------------------------------- rings of bytes

/**
 * A ring with one producer, an lcore, and one consumer, TypeScript: events of a CPU, and what trace_printk says. Programs
 * reach none of it. A record is its length in u32, its bytes, and bytes up to a multiple of 8.
 */
export const BYTERING_SIZE: u32 = 0;
export const BYTERING_DATA: u32 = 4;
/** Free-running: written by the producer, read by the consumer. */
export const BYTERING_HEAD: u32 = 64;
/** Records that found no room. */
export const BYTERING_LOST: u32 = 68;
export const BYTERING_TAIL: u32 = 192;
/** Of those lost, how many the consumer knows. */
export const BYTERING_LOST_SEEN: u32 = 196;
export const BYTERING_BYTES: u32 = 256;

/** Of a PERF_EVENT_ARRAY: address of the first CPU's ring, and bytes from one to the next. */
export const PERF_RINGS: u32 = 96;
export const PERF_SPAN: u32 = 100;

/** A record of trace_printk: its program, its CPU, bytes of the format, how many numbers; then numbers (u64), format. */
export const LOG_PROGRAM: u32 = 0;
export const LOG_CPU: u32 = 4;
export const LOG_FORMAT_BYTES: u32 = 8;
export const LOG_COUNT: u32 = 12;
export const LOG_NUMBERS: u32 = 16;
/** Numbers of one record at most: MAX_BPRINTF_VARARGS (Linux include/linux/bpf.h). */
export const LOG_NUMBERS_MAX: u32 = 12;
/** Bytes of a format at most. */
export const LOG_FORMAT_MAX: u32 = 512;
