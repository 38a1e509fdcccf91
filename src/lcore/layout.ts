/**
 * The words of one lcore. The first line is what its kernels read; the second is where others ring; the third is
 * what it tells the world.
 */

/** Number of the lcore, from 0. */
export const LCORE_INDEX: u32 = 0;
/** Its buffer cache (`memory/layout.ts`, CACHE_…). */
export const LCORE_CACHE: u32 = 4;
/** Its block of port counters (`telemetry/layout.ts`). */
export const LCORE_COUNTERS: u32 = 8;
/** The time, since 1970-01-01 UTC: read from the clock on empty polls and every so many busy ones. */
export const LCORE_SECONDS: u32 = 16;
export const LCORE_NANOSECONDS: u32 = 20;

/** Not 0: there is a message, or work for a parked lcore. Written by anybody, cleared by the lcore. */
export const LCORE_DOORBELL: u32 = 128;
/** 1 while the lcore sleeps on its doorbell. */
export const LCORE_PARKED: u32 = 132;

/** Counters, u64 each, written by the lcore. */
export const LCORE_POLLS: u32 = 256;
export const LCORE_EMPTY_POLLS: u32 = 264;
export const LCORE_PACKETS: u32 = 272;
/** Nanoseconds from the first busy poll to the next empty one, summed. */
export const LCORE_BUSY_NS: u32 = 280;
/** LCORE_STARTING, LCORE_RUNNING or LCORE_STOPPED. */
export const LCORE_STATE: u32 = 288;
export const LCORE_BYTES: u32 = 384;

export const LCORE_STARTING: u32 = 0;
export const LCORE_RUNNING: u32 = 1;
export const LCORE_STOPPED: u32 = 2;
