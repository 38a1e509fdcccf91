/**
 * The event view of a slot, and where the words of an event device lie. In bytes; `README.md` draws it.
 *
 * A slot (`memory/layout.ts`) is an event too: its first eight bytes are the application's, SLOT_FLOW is the flow id,
 * and SLOT_EVENT, 16 bits, says where it goes:
 *
 *     bits  0 to  3   queue
 *     bits  4 and 5   operation: OP_NEW, OP_FORWARD, OP_RELEASE
 *     bits  6 to 15   the application's, of atomic and single-link queues; a parallel queue writes its pseudo-flow there
 */

// ---------------------------------------------------------------- event

/** The queue that the event goes to, or came from. */
export const EVENT_QUEUE_MASK: u32 = 15;
export const EVENT_OP_SHIFT: u32 = 4;
export const EVENT_OP_MASK: u32 = 3;
export const EVENT_TAG_SHIFT: u32 = 6;
export const EVENT_TAG_MASK: u32 = 1023;
/** Queue and operation. */
export const EVENT_RUN_MASK: u32 = 63;
/** As RTE_EVENT_OP_NEW, _FORWARD and _RELEASE (DPDK lib/eventdev/rte_eventdev.h). */
export const OP_NEW: u32 = 0;
export const OP_FORWARD: u32 = 1;
export const OP_RELEASE: u32 = 2;

// ---------------------------------------------------------------- limits and intervals: those of DPDK's drivers/event/dsw

export const PORTS_MAX: u32 = 64;
export const QUEUES_MAX: u32 = 16;
export const IN_FLIGHT_MAX: u32 = 16384;
export const DEPTH_MAX: u32 = 128;
/** Events that wait for one destination. */
export const OUTPUT_MAX: u32 = 32;
/** Credits that a port borrows at least, and keeps when it gives some back. */
export const CREDITS_MIN: u32 = 64;
/** Credits above which a port gives some back. */
export const CREDITS_MAX: u32 = 128;
/** Operations between two background runs; a call counts one, and one for each event. */
export const BACKGROUND_OPS: u32 = 128;
/** Background runs that look at the clock are so far apart, when they can be, and so many at most is one of them. */
export const CLOCK_MIN_NS: u32 = 10000;
export const CLOCK_EVERY_MAX: u32 = 8;
/** Events of the sample that the choice of a flow is made from. */
export const SAMPLE_EVENTS: u32 = 128;
/** Slots that a port has dequeued when it tells senders; fewer than SAMPLE_EVENTS, the places that a ring has to spare. */
export const TAIL_LAG: u32 = 32;
/** Priorities of queues that a device may have: as many event rings a port. */
export const LEVELS_MAX: u32 = 4;
/** Lanes: PORTS_MAX * LEVELS_MAX. */
export const LANES_MAX: u32 = 256;
export const FLOWS_PER_MIGRATION: u32 = 8;
/** Pseudo-flows of a parallel queue: EVENT_TAG_MASK + 1. */
export const PARALLEL_FLOWS: u32 = 1024;
/** Mean time between two thoughts of moving flows; each is half to one and a half of it away. */
export const MIGRATION_INTERVAL_NS: u32 = 1000000;
export const LOAD_INTERVAL_NS: u32 = 250000;
/** A port that is always busy. */
export const LOAD_MAX: u32 = 32767;
/** 70 %, 95 % and 3 % of LOAD_MAX. */
export const SOURCE_LOAD_MIN: u32 = 22936;
export const TARGET_LOAD_MAX: u32 = 31128;
export const REBALANCE_MIN: u32 = 983;

// ---------------------------------------------------------------- device

export const SCHEDULE_ATOMIC: u32 = 0;
export const SCHEDULE_SINGLE_LINK: u32 = 1;
/** From here on, an event's place is not the one of its flow in the table. */
export const SCHEDULE_PARALLEL: u32 = 2;
export const SCHEDULE_ORDERED: u32 = 3;

/** Up to FLOWS_PER_MIGRATION flows at a time, each to where it leaves the lowest load; flows on their way count. */
export const STRATEGY_FLOW_GROUP: u32 = 0;
/** One flow at a time, the smallest of the sample; flows on their way are not known. DPDK's driver as it was in 2018. */
export const STRATEGY_SINGLE_FLOW: u32 = 1;

export const EVDEV_PORTS: u32 = 0;
export const EVDEV_QUEUES: u32 = 4;
/** Bits of a flow hash: 13 or 15. */
export const EVDEV_HASH_BITS: u32 = 8;
/** Credits in all. */
export const EVDEV_CREDITS: u32 = 12;
/** The tables: for each queue, 2^bits bytes, each the lane of a flow hash: that of the port that owns it. */
export const EVDEV_TABLES: u32 = 16;
/** What time is counted from, in seconds since 1970. */
export const EVDEV_EPOCH: u32 = 20;
/** 1 between start and stop. */
export const EVDEV_RUNNING: u32 = 24;
/** STRATEGY_…: how flows to move are chosen. */
export const EVDEV_STRATEGY: u32 = 28;
/**
 * A lane is where events are sent to: a port's event ring of a level of priority. Its number is the port's, plus the level
 * times the number of ports; with one level, lanes are ports. How many lanes, and levels, there are.
 */
export const EVDEV_LANES: u32 = 32;
export const EVDEV_LEVELS: u32 = 36;
/** Queues that are ordered. */
export const EVDEV_ORDERED: u32 = 40;
/** QUEUES_MAX entries. */
export const EVDEV_QUEUE_ENTRIES: u32 = 64;
export const EVQUEUE_SHIFT: u32 = 5;
export const EVQUEUE_SCHEDULE: u32 = 0;
/** One more than the lane of the only port that is linked; 0 when there are several. */
export const EVQUEUE_ONLY: u32 = 4;
/** Bit n % 32 of word n / 32: port n is linked. These and EVQUEUE_ONLY may change while the device runs. */
export const EVQUEUE_LINKS: u32 = 8;
/** The lane of port 0, of the queue's level. */
export const EVQUEUE_LANE: u32 = 16;
/** u32 each, by port: its block, its control ring. Written before start, then only read. */
export const EVDEV_BLOCKS: u32 = 576;
export const EVDEV_CONTROLS: u32 = 832;
/** Credits that ports have borrowed: in events on their way, and in the ports' own stocks. Everybody adds to it. */
export const EVDEV_ON_LOAN: u32 = 1152;
/** u32 each, by lane: the event ring; the address of its port's bell, written when a port is attached. */
export const EVDEV_RINGS: u32 = 1280;
export const EVDEV_BELLS: u32 = 2304;
/** u64: bit n is set when events whose queue and operation (EVENT_RUN_MASK) are n go to the table's lane at once. */
export const EVDEV_DIRECT: u32 = 3328;
/** 1 when new and forwarded events of all queues do. */
export const EVDEV_ALL_DIRECT: u32 = 3336;
/** By queue, 16 bytes each: 1 in the byte of that number, to count a burst's queues with. */
export const EVDEV_ONES: u32 = 3392;
/** u32 each, by queue: the ring of an ordered one, 0 of others. */
export const EVDEV_ORDERED_RINGS: u32 = 3648;
export const EVDEV_BYTES: u32 = 3712;

/**
 * The ring of an ordered queue, that all its senders and ports share. A place's index is the sequence number of its event:
 * from ORDERED_DRAIN to ORDERED_TAKE events are held or finished, from there to ORDERED_HEAD they wait. There are as many
 * places as credits, or more.
 *
 *       0 ┌───────────────┐
 *         │ head          │  senders add to it
 *     128 ├───────────────┤
 *         │ take          │  ports compare-and-swap it
 *     256 ├───────────────┼───────────────┐
 *         │ drain         │ lock          │  who has the lock sends on what is finished
 *     384 ├───────────────┼───────────────┘
 *         │ mask          │
 *     512 ├───────────────┴── ─ ─
 *         │ place 0 │ place 1 │ …            32 bytes each: its state, and at 16 the event
 */
export const ORDERED_HEAD: u32 = 0;
export const ORDERED_TAKE: u32 = 128;
export const ORDERED_DRAIN: u32 = 256;
/** 1 while a port sends on what is finished. */
export const ORDERED_LOCK: u32 = 260;
/** Places, a power of two, minus 1. */
export const ORDERED_MASK: u32 = 384;
export const ORDERED_PLACES: u32 = 512;
export const PLACE_SHIFT: u32 = 5;
/** PLACE_…; of a held one, the port that holds it from PLACE_HOLDER_SHIFT on. */
export const PLACE_STATE: u32 = 0;
export const PLACE_EVENT: u32 = 16;
export const PLACE_FREE: u32 = 0;
/** Waits for a port. */
export const PLACE_READY: u32 = 1;
/** An application has the event. */
export const PLACE_HELD: u32 = 2;
/** Forwarded: the event waits to be sent on. */
export const PLACE_DONE: u32 = 3;
/** Released: nothing is left but its credit. */
export const PLACE_RELEASED: u32 = 4;
export const PLACE_HOLDER_SHIFT: u32 = 8;
/** Places that one call sends on at most. */
export const ORDERED_DRAIN_MAX: u32 = 128;

/** A bell: two words. Not 0: there is something for its port, or its lcore. Set by anybody, cleared by the one who sleeps on it. */
export const BELL_RUNG: u32 = 0;
/** 1 while its owner sleeps, or is about to. */
export const BELL_PARKED: u32 = 4;

// ---------------------------------------------------------------- port

/** The first lines are the port's own. */
export const EVPORT_DEVICE: u32 = 0;
export const EVPORT_ID: u32 = 4;
export const EVPORT_CONTROL: u32 = 12;
/** Borrowed credits that no event has. */
export const EVPORT_CREDITS: u32 = 16;
/** Events that the application holds: dequeued, and neither forwarded nor released. */
export const EVPORT_PENDING: u32 = 20;
/** Operations since the last background run. */
export const EVPORT_OPS: u32 = 24;
/** MIGRATION_…. */
export const EVPORT_STATE: u32 = 28;
/** Flows in EVPORT_PAUSED_FLOWS, and events at EVPORT_PAUSED. */
export const EVPORT_PAUSED_COUNT: u32 = 32;
export const EVPORT_PAUSED_EVENTS: u32 = 36;
/** Events at the start of the stash. */
export const EVPORT_STASHED: u32 = 40;
/** 1 when EVPORT_NOW was written for this call. */
export const EVPORT_TIMED: u32 = 48;
/** 1 from the first dequeue that found events to the next that found none. */
export const EVPORT_BUSY: u32 = 52;
/** The time: u64 nanoseconds since EVDEV_EPOCH, as the others below. */
export const EVPORT_NOW: u32 = 56;
export const EVPORT_IMPLICIT_RELEASE: u32 = 64;
/** Credits on loan above which new events are refused. */
export const EVPORT_THRESHOLD: u32 = 68;
export const EVPORT_ENQUEUE_DEPTH: u32 = 72;
export const EVPORT_DEQUEUE_DEPTH: u32 = 76;
/** The pseudo-flow of the next event to a parallel queue. */
export const EVPORT_NEXT_PARALLEL: u32 = 80;
/** Addresses of the buffers of paused events and of the stash, EVDEV_CREDITS slots each. */
export const EVPORT_PAUSED: u32 = 84;
export const EVPORT_STASH: u32 = 88;
/** State of the generator that jitters the interval. Never 0. */
export const EVPORT_RANDOM: u32 = 96;
/** Flows in EVPORT_MOVING_FLOWS. */
export const EVPORT_MOVING_COUNT: u32 = 100;
export const EVPORT_BUSY_START: u32 = 112;
/** Busy nanoseconds of this period. */
export const EVPORT_BUSY_NS: u32 = 120;
export const EVPORT_PERIOD_START: u32 = 128;
export const EVPORT_NEXT_LOAD: u32 = 136;
export const EVPORT_NEXT_MIGRATION: u32 = 144;
export const EVPORT_MIGRATION_START: u32 = 152;
/** When the port next looks for flows of queues that it serves no longer without being asked to. */
export const EVPORT_NEXT_EVACUATION: u32 = 208;

/**
 * The next four by level, LEVELS_MAX of each. The ring's tail: senders see it up to TAIL_LAG slots late, since a ring has
 * places to spare, and an atomic store is slow.
 */
export const EVPORT_TAIL: u32 = 160;
/** The event ring. */
export const EVPORT_RING: u32 = 176;
/** Tail of the ring at which the sample begins. */
export const EVPORT_SAMPLE_START: u32 = 192;
/** With a FIFO there is one level: the second one's words count the events read from it, in all and when the sample began. */
export const EVPORT_LOCAL_READ: u32 = 164;
export const EVPORT_LOCAL_SAMPLE_START: u32 = 196;
/** Head of the ring up to which moving flows may have events in it. */
export const EVPORT_DRAIN_TO: u32 = 216;
/**
 * With ordered queues: the places of the events that the application holds (0 of an event of another queue), in the order
 * of their dequeue, as a ring of addresses: where the next goes, where the first is, the ring, and its size minus 1.
 */
export const EVPORT_HELD_HEAD: u32 = 232;
export const EVPORT_HELD_TAIL: u32 = 236;
export const EVPORT_HELD: u32 = 240;
export const EVPORT_HELD_MASK: u32 = 244;
/** The ordered queue that the next dequeue looks at first. */
export const EVPORT_NEXT_ORDERED: u32 = 248;
/** Every so many background runs look at the clock, and the next one that does (1 or 0 is the next). */
export const EVPORT_CLOCK_EVERY: u32 = 92;
export const EVPORT_CLOCK_IN: u32 = 104;

/** Load, 0 to LOAD_MAX, and the load of flows on their way here: others read the one and add to the other. */
export const EVPORT_LOAD: u32 = 256;
export const EVPORT_IMMIGRATION_LOAD: u32 = 260;
/** The load in the mean of the last 16 ms or so: EVPORT_LOAD, each time with a weight of 1 / 2^STEADY_SHIFT. */
export const EVPORT_STEADY_LOAD: u32 = 288;
export const STEADY_SHIFT: u32 = 6;
/** Bit n % 32 of word n / 32: port n has not confirmed the last request yet. */
export const EVPORT_WAITS: u32 = 264;
/** Bit q: queue q was taken from the port while the device runs, so the flows of it that it owns must go. */
export const EVPORT_UNSERVED: u32 = 280;
/** 1 when the port has such flows, or may have: it looks for them. Set by anybody. */
export const EVPORT_EVACUATION: u32 = 284;
/** When a thread attached to the port, u64; 0 when none has since the start. */
export const EVPORT_ATTACHED: u32 = 272;

/** The port's own bell. A port that an lcore polls has the lcore's. */
export const EVPORT_BELL: u32 = 320;

/** Counters, u64 each. */
export const EVPORT_NEW_ENQUEUED: u32 = 384;
export const EVPORT_FORWARD_ENQUEUED: u32 = 392;
export const EVPORT_RELEASE_ENQUEUED: u32 = 400;
export const EVPORT_DEQUEUED: u32 = 408;
export const EVPORT_EMIGRATIONS: u32 = 416;
export const EVPORT_EMIGRATION_NS: u32 = 424;
export const EVPORT_IMMIGRATIONS: u32 = 432;
export const EVPORT_TOTAL_BUSY_NS: u32 = 440;
/** Events to a queue that there is not, or with an operation that there is not. */
export const EVPORT_DROPPED: u32 = 448;
/** Events of ordered queues that this port sent on, or ended, when it was their turn. */
export const EVPORT_DRAINED: u32 = 456;
/** By queue, u64 each. */
export const EVPORT_QUEUE_ENQUEUED: u32 = 512;
export const EVPORT_QUEUE_DEQUEUED: u32 = 640;
/** End of what a reset of the statistics clears, from EVPORT_NEW_ENQUEUED on. */
export const EVPORT_COUNTERS_END: u32 = 768;
/** When the background last ran. */
export const EVPORT_LAST_BACKGROUND: u32 = 776;
/**
 * The FIFO of what the port sends to itself (`rounds.kernel.ts`): its first event, and the ends of the round being read: an
 * address in the FIFO, and an index of the ring. It ends where the next event for the port's own lane goes.
 */
export const EVPORT_LOCAL_TAIL: u32 = 784;
export const EVPORT_ROUND_LOCAL: u32 = 788;
export const EVPORT_ROUND_RING: u32 = 792;
/** 1 when the FIFO's events behind the round may be younger than the ring's in it. */
export const EVPORT_GATED: u32 = 796;
/** Where the FIFO's slots begin and end, aligned to EVOUTPUT_MASK + 1. */
export const EVPORT_LOCAL_START: u32 = 800;
export const EVPORT_LOCAL_LIMIT: u32 = 804;
/** The port's own lane, LANES_MAX when it has no FIFO. */
export const EVPORT_LOCAL_LANE: u32 = 808;

/** The flows that this port is moving, and where to: u32 each. Read by others from a request to its confirmation. */
export const EVPORT_MOVING_FLOWS: u32 = 832;
export const EVPORT_MOVING_TARGETS: u32 = 864;
/** The message being sent, and the one received: a slot each. */
export const EVPORT_MESSAGE: u32 = 896;
export const EVPORT_RECEIVED: u32 = 912;
/** 16 bytes of scratch. */
export const EVPORT_SCRATCH: u32 = 928;
/** The event that leaves an ordered queue: a slot. */
export const EVPORT_LEAVING: u32 = 944;
/** Flows that senders must hold back: u32 each, PORTS_MAX * FLOWS_PER_MIGRATION at most; one may be there twice. */
export const EVPORT_PAUSED_FLOWS: u32 = 1024;
/** Scratch of the choice: distinct flows of the sample, how often each, loads by port. */
export const EVPORT_SAMPLE_FLOWS: u32 = 3072;
export const EVPORT_SAMPLE_COUNTS: u32 = 3584;
export const EVPORT_LOADS: u32 = 4096;
/** By event of a burst, a byte each (DEPTH_MAX, and up to 3 that nobody reads): the lane of its flow. */
export const EVPORT_OWNERS: u32 = 4352;
/** No lane. */
export const OWNER_NONE: u32 = LANES_MAX;
/**
 * By lane: where the next event that waits for it goes (u32, an address), and OUTPUT_MAX slots. These are aligned
 * to their size, so that the address says how many wait, and when they are full. The port's own lane has its FIFO instead.
 */
export const EVPORT_OUTPUT_ENDS: u32 = 4480;
export const EVPORT_OUTPUTS: u32 = 6144;
/** Steady loads by port: u32 each. */
export const EVPORT_STEADY_LOADS: u32 = 5504;
/** Bytes of one destination's: OUTPUT_MAX slots, 2^9; what of an address lies in them. */
export const EVOUTPUT_SHIFT: u32 = 9;
export const EVOUTPUT_MASK: u32 = 511;

/** A flow in these lists: the queue in the upper half, the flow hash in the lower. */
export const FLOW_QUEUE_SHIFT: u32 = 16;
export const FLOW_HASH_MASK: u32 = 65535;

/** States of a port that moves flows away. */
export const MIGRATION_IDLE: u32 = 0;
/** Waits until the application has finished the events it holds. */
export const MIGRATION_FINISHING: u32 = 1;
/** Waits until everybody holds the flows back. */
export const MIGRATION_PAUSING: u32 = 2;
/** Waits until all that was sent here before is readable. */
export const MIGRATION_DRAINING: u32 = 3;
/** Waits until everybody sends to the new owner. */
export const MIGRATION_UNPAUSING: u32 = 4;

/** A control message is a slot: what, and from which port. Its flows are in that port's block. */
export const CONTROL_TYPE: u32 = 0;
export const CONTROL_PORT: u32 = 4;
export const CONTROL_PAUSE: u32 = 1;
export const CONTROL_UNPAUSE: u32 = 2;
export const CONTROL_CONFIRM: u32 = 3;

/** Returned instead of a count: write EVPORT_NOW, set EVPORT_TIMED, call again. Nothing has happened. */
export const NEEDS_TIME: u32 = 0x40000000;
