/**
 * What programs run over: the context of a thread that runs them, maps, and the rings through which they say something.
 *
 *     context    0 ┌────────────────────────────┐ ◀── r1 of an XDP program
 *                  │ struct xdp_md, six u32     │  what a program may read
 *               32 ├────────────────────────────┤
 *                  │ words of the thread        │  what helpers need, what they leave behind
 *              256 ├────────────────────────────┤
 *                  │ stack: 8 frames of 512     │ ◀── r10 of the first call: CTX_STACK + 512
 *             4352 └────────────────────────────┘
 */

// ---------------------------------------------------------------- context

/** struct xdp_md (Linux include/uapi/linux/bpf.h). In 32-bit memory its fields are addresses as they are. */
export const CTX_DATA: u32 = 0;
export const CTX_DATA_END: u32 = 4;
export const CTX_DATA_META: u32 = 8;
export const CTX_INGRESS_IFINDEX: u32 = 12;
export const CTX_RX_QUEUE_INDEX: u32 = 16;
export const CTX_EGRESS_IFINDEX: u32 = 20;
/** Bytes of the context that a program may read; it may write none. */
export const CTX_MD_BYTES: u32 = 24;

/** The lowest address that data may start at, and the highest that it may end at: what adjust_head and adjust_tail heed. */
export const CTX_HARD_START: u32 = 32;
export const CTX_HARD_END: u32 = 36;
/** The packet's slot, whose offset and length helpers keep; 0 when the packet is in none. */
export const CTX_SLOT: u32 = 40;
/** This lcore's buffer cache, or 0. */
export const CTX_CACHE: u32 = 44;
/** Address of the time: u32 seconds, then u32 nanoseconds. */
export const CTX_CLOCK: u32 = 48;
/** Number of the lcore: what the program takes for the CPU's. */
export const CTX_CPU: u32 = 52;
/** State of the random numbers, u64, never 0 (xorshift64*, Vigna 2016). */
export const CTX_RANDOM: u32 = 56;

/** BPF_MAP_TYPE_… of the map that the target is from; 0 when it is an interface index by itself. */
export const CTX_REDIRECT_KIND: u32 = 68;
/** Interface index, CPU or socket. */
export const CTX_REDIRECT_TARGET: u32 = 72;
/** The program to run there: its number in the table of programs, or 0. */
export const CTX_REDIRECT_PROGRAM: u32 = 76;
/** Map and key of the redirect, for whoever reports it. */
export const CTX_REDIRECT_MAP: u32 = 80;
export const CTX_REDIRECT_KEY: u32 = 84;
/** BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS of a redirect to all of a device map: the flags, else 0. */
export const CTX_REDIRECT_FLAGS: u32 = 88;

/** Why the program was ended, FAULT_…; 0 when it was not. */
export const CTX_FAULT: u32 = 96;
/** Which instruction it was, and the address that it wanted (u64). */
export const CTX_FAULT_PC: u32 = 100;
export const CTX_FAULT_ADDRESS: u32 = 104;
/** Instructions that the program may still run, in loops and calls. */
export const CTX_FUEL: u32 = 112;
/** Tail calls so far. */
export const CTX_TAIL_CALLS: u32 = 116;
/** Address of the route table (`packet/layout.ts`) that fib_lookup asks, or 0. */
export const CTX_ROUTES: u32 = 120;
/** Address of the ring of what trace_printk says, or 0. */
export const CTX_LOG: u32 = 124;
/** The memory that the program may reach besides packet, stack and context: RANGE_… entries. */
export const CTX_RANGES: u32 = 128;
export const CTX_RANGE_COUNT: u32 = 132;
/** Number of the program in the table of programs, for reports. */
export const CTX_PROGRAM: u32 = 140;
/** Address of the spin lock that the program holds, or 0. */
export const CTX_LOCK: u32 = 144;

export const CTX_STACK: u32 = 256;
export const FRAME_BYTES: u32 = 512;
/** Calls of functions within each other, the program itself included (Linux MAX_CALL_FRAMES). */
export const FRAMES_MAX: u32 = 8;
/** CTX_STACK + FRAMES_MAX * FRAME_BYTES. */
export const CTX_BYTES: u32 = 4352;
/** Linux MAX_TAIL_CALL_CNT. */
export const TAIL_CALLS_MAX: u32 = 33;

export const FAULT_MEMORY: u32 = 1;
export const FAULT_FUEL: u32 = 2;
export const FAULT_ALIGNMENT: u32 = 3;
export const FAULT_MAP: u32 = 4;
export const FAULT_STACK: u32 = 5;
/** A call of a helper that there is not, by a number in a register. */
export const FAULT_HELPER: u32 = 6;
/** A spin lock that is none, is not held, or that nobody gives back. */
export const FAULT_LOCK: u32 = 7;

/** An entry of CTX_RANGES: where, how long, whether it may be written, and the map that it belongs to. */
export const RANGE_ADDRESS: u32 = 0;
export const RANGE_BYTES: u32 = 4;
export const RANGE_WRITABLE: u32 = 8;
export const RANGE_MAP: u32 = 12;
export const RANGE_SHIFT: u32 = 4;

/** What became of a packet: the program's r0, then what CTX_REDIRECT_… said when that was XDP_REDIRECT. */
export const VERDICT_ACTION: u32 = 0;
export const VERDICT_KIND: u32 = 4;
export const VERDICT_TARGET: u32 = 8;
export const VERDICT_PROGRAM: u32 = 12;
export const VERDICT_SHIFT: u32 = 4;

// ---------------------------------------------------------------- map

/**
 * A map: what a program holds is the address of these words. Keys and links lie apart from values, since a program may
 * write all of a value and nothing else.
 *
 *     map ┌───────┐   ┌──────────────┐   ┌─────────────────────────┐
 *         │ words │──▶│ index, keys  │   │ values of CPU 0 │ CPU 1 … (one set only in a map that is not per CPU)
 *         └───────┘   └──────────────┘   └─────────────────────────┘
 */

/** BPF_MAP_TYPE_… (Linux include/uapi/linux/bpf.h). */
export const MAP_KIND: u32 = 0;
export const MAP_KEY_BYTES: u32 = 4;
export const MAP_VALUE_BYTES: u32 = 8;
export const MAP_MAX_ENTRIES: u32 = 12;
/** BPF_F_… as given when it was made. */
export const MAP_FLAGS: u32 = 16;
/** Address of the first value, and bytes from one to the next: MAP_VALUE_BYTES rounded up to 8. */
export const MAP_VALUES: u32 = 20;
export const MAP_STRIDE: u32 = 24;
/** Bytes from one CPU's values to the next CPU's; 0 in a map that is not per CPU. */
export const MAP_CPU_SPAN: u32 = 28;
/** CPUs that it has values for. */
export const MAP_CPUS: u32 = 32;
/** Number of the map, unique in its arena, from 1. */
export const MAP_ID: u32 = 36;
/** Where in a value its spin lock is, and 1; 0 when it has none. */
export const MAP_LOCK: u32 = 40;
/** The kinds' own words follow: from here to MAP_BYTES. */
export const MAP_OWN: u32 = 64;
export const MAP_BYTES: u32 = 512;

/** BPF_MAP_TYPE_… (Linux include/uapi/linux/bpf.h). */
export const KIND_HASH: u32 = 1;
export const KIND_ARRAY: u32 = 2;
export const KIND_PROG_ARRAY: u32 = 3;
export const KIND_PERF_EVENT_ARRAY: u32 = 4;
export const KIND_PERCPU_HASH: u32 = 5;
export const KIND_PERCPU_ARRAY: u32 = 6;
export const KIND_LRU_HASH: u32 = 9;
export const KIND_LRU_PERCPU_HASH: u32 = 10;
export const KIND_LPM_TRIE: u32 = 11;
export const KIND_ARRAY_OF_MAPS: u32 = 12;
export const KIND_HASH_OF_MAPS: u32 = 13;
export const KIND_DEVMAP: u32 = 14;
export const KIND_CPUMAP: u32 = 16;
export const KIND_XSKMAP: u32 = 17;
export const KIND_DEVMAP_HASH: u32 = 25;
export const KIND_RINGBUF: u32 = 27;

/** Flags of a map, BPF_F_…. */
export const MAP_FLAG_NO_PREALLOC: u32 = 1;
export const MAP_FLAG_RDONLY_PROG: u32 = 128;
export const MAP_FLAG_WRONLY_PROG: u32 = 256;

/** Flags of update: BPF_ANY, BPF_NOEXIST, BPF_EXIST. */
export const UPDATE_ANY: u32 = 0;
export const UPDATE_NOEXIST: u32 = 1;
export const UPDATE_EXIST: u32 = 2;

// ---------------------------------------------------------------- actions

export const XDP_ABORTED: u32 = 0;
export const XDP_DROP: u32 = 1;
export const XDP_PASS: u32 = 2;
export const XDP_TX: u32 = 3;
export const XDP_REDIRECT: u32 = 4;
