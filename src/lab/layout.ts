/**
 * The words through which the threads of a bench meet, in bytes from the bench's base.
 *
 *       0 ┌───────────────┐
 *         │ go            │  the main thread: 0 wait, 1 run, 2 stop
 *     128 ├───────────────┤
 *         │ ready         │  the threads count up when they are at the start
 *     256 ├───────────────┤
 *         │ ping          │  both threads of a core distance measurement, in turn
 *     384 └───────────────┘
 */
export const LAB_GO: u32 = 0;
export const LAB_READY: u32 = 128;
/** Free-running: odd when it is the pong's turn. */
export const LAB_PING: u32 = 256;
export const LAB_BYTES: u32 = 384;

export const GO_RUN: u32 = 1;
export const GO_STOP: u32 = 2;

/** A receive ring that stands for a network interface's: its words, then its descriptors, which are packet slots. */
export const WIRE_HEAD: u32 = 0;
/** Descriptors, a power of two, less 1. */
export const WIRE_MASK: u32 = 4;
export const WIRE_SLOTS: u32 = 64;

/** Packets with numbers have 60 to 2,099 bytes: below a threshold of 128 and above it, in one buffer and in two. */
export const NUMBERED_LENGTH_MIN: u32 = 60;
export const NUMBERED_LENGTHS: u32 = 2040;
/** Places of the pattern at which a packet's bytes may begin, and its bytes. */
export const NUMBERED_STARTS: u32 = 2039;
export const NUMBERED_PATTERN: u32 = 4160;
