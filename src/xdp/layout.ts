/**
 * Where the hook of one receive queue works: its words, what the program says of each packet of a burst, and the packets
 * that do not go on to the switch.
 *
 *     burst ──▶ prepare ──▶ program ──▶ verdicts ──▶ sort ──┬─▶ PASS: the front of the burst
 *                                                           ├─▶ DROP, ABORTED: back to the pool
 *                                                           ├─▶ HOOK_LEAVING: through a port
 *                                                           └─▶ HOOK_CROSSING: to another lcore
 */

/** Number of the port, of all places for ports, of this lcore and of all lcores. */
export const HOOK_PORT: u32 = 0;
export const HOOK_PORTS: u32 = 4;
export const HOOK_LCORE: u32 = 8;
export const HOOK_LCORES: u32 = 12;
/** Addresses of the lcore's buffer cache, and of the port's counters there. */
export const HOOK_CACHE: u32 = 16;
export const HOOK_COUNTERS: u32 = 20;
/** Packets in the two lists, as the last burst left them. */
export const HOOK_LEAVING_COUNT: u32 = 24;
export const HOOK_CROSSING_COUNT: u32 = 28;
/** Of the last packet that was aborted: what the program returned, FAULT_… and the instruction. */
export const HOOK_ABORTED_ACTION: u32 = 32;
export const HOOK_ABORTED_FAULT: u32 = 36;
export const HOOK_ABORTED_PC: u32 = 40;
/** VERDICT_… of each packet. */
export const HOOK_VERDICTS: u32 = 64;
/** Slots of packets for ports; SLOT_EVENT has the port's number. */
export const HOOK_LEAVING: u32 = 576;
/** By packet, the number of the program to run before it leaves, or arrives at the other lcore: u32. */
export const HOOK_LEAVING_PROGRAMS: u32 = 1088;
/** Slots of packets for other lcores; SLOT_EVENT has the number of the program to run there, SLOT_FLOW the lcore's. */
export const HOOK_CROSSING: u32 = 1216;
/** A slot, for a packet while it is made. */
export const HOOK_COPY: u32 = 1728;
export const HOOK_BYTES: u32 = 1792;

/** What `sort` returns: packets that go on, and whether there are others. */
export const SORTED_PASS_MASK: u32 = 63;
export const SORTED_LEAVING: u32 = 64;
export const SORTED_CROSSING: u32 = 128;
export const SORTED_ABORTED: u32 = 256;
/** Some of those that leave have a program to run before. */
export const SORTED_PROGRAMS: u32 = 512;
