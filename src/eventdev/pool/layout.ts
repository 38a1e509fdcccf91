/**
 * Where a pool's words lie in its arena, in bytes. The main thread writes a record before its event is sent and after it
 * has come back; in between it is the worker's that has the event.
 *
 *     record   0 ┌──────────┐      error  0 ┌──────────┐     worker    0 ┌──────────┐
 *                │ header   │               │ length   │                 │ words    │
 *             64 ├──────────┤             4 ├──────────┤             128 ├──────────┤
 *                │ message  │               │ JSON     │                 │ dequeued │  BURST slots
 *                ├──────────┤          1024 └──────────┘            2176 ├──────────┤
 *                │ result   │                                            │ outgoing │  BURST slots
 *                └──────────┘                                       4224 ├──────────┤
 *                                                                        │ flows    │  slots, one for each record
 *                                                                        └──────────┘
 *
 * The message stays as it is until the record is free again, so that a message whose worker died can be handled anew.
 */

/** RECORD_…, below, and in the bits from RECORD_WORKER_SHIFT on who has it. */
export const RECORD_STATE: u32 = 0;
/** Deliveries to a handler so far. */
export const RECORD_ATTEMPT: u32 = 4;
/** Hash of the key: the event's flow. */
export const RECORD_KEY: u32 = 8;
/** The number of the message, from 1: lower and upper half. */
export const RECORD_SEQUENCE: u32 = 12;
/** Bytes of the message, and of the result. */
export const RECORD_LENGTH: u32 = 20;
export const RECORD_RESULT_LENGTH: u32 = 24;
/** f64 microseconds since 1970: taken in (0 when the message is not sampled), handler begun, handler ended. */
export const RECORD_TAKEN: u32 = 32;
export const RECORD_BEGUN: u32 = 40;
export const RECORD_ENDED: u32 = 48;
export const RECORD_BYTES: u32 = 64;

export const RECORD_STATE_MASK: u32 = 255;
export const RECORD_WORKER_SHIFT: u32 = 8;
/** Nobody's, or on its way to a worker. */
export const RECORD_QUEUED: u32 = 0;
/** A worker has dequeued it. */
export const RECORD_HELD: u32 = 1;
/** Its handler runs. */
export const RECORD_RUNNING: u32 = 2;
/** The result is in the record, or the error beside it. */
export const RECORD_DONE: u32 = 3;
export const RECORD_FAILED: u32 = 4;

export const ERROR_LENGTH: u32 = 0;
export const ERROR_TEXT: u32 = 4;
export const ERROR_BYTES: u32 = 1024;

/** Address of the record whose handler has the thread, AT_…, or 0 in the pool's own code. */
export const WORKER_AT: u32 = 0;
/** Counts on while the worker serves its port. */
export const WORKER_BEATS: u32 = 4;
/** Slots in the outgoing burst. */
export const WORKER_OUTGOING: u32 = 8;
/** Messages dequeued and not finished. */
export const WORKER_HELD: u32 = 12;
/** f64: messages finished. */
export const WORKER_FINISHED: u32 = 16;
/** Where the two bursts and the events of busy flows begin. */
export const WORKER_DEQUEUED: u32 = 128;
export const WORKER_OUT: u32 = 2176;
export const WORKER_FLOWS: u32 = 4224;
/** Slots of a burst: a port's largest depth. */
export const BURST: u32 = 128;

/** The queue that workers serve, and the main thread's. */
export const QUEUE_WORK: u32 = 0;
export const QUEUE_DONE: u32 = 1;
