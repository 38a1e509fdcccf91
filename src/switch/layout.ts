/**
 * Where the switch keeps what it knows. One region is shared by all lcores, and each lcore has a path of its own:
 *
 *     switch ┌─────────┐      path of lcore 0 ┌──────────┬───────────────┬──────────────────────┐
 *            │ words   │◀─────────────────────│ words    │ storm windows │ outputs              │
 *            │ ports   │      path of lcore 1 ├──────────┼───────────────┼──────────────────────┤
 *            │ MACs    │◀─────────────────────│ …        │               │ to ports, to lcores  │
 *            │ rules   │                      └──────────┴───────────────┴──────────────────────┘
 *            │ routes  │
 *            └─────────┘
 */

// ---------------------------------------------------------------- shared

/** Places in the port table. */
export const SWITCH_PORTS: u32 = 0;
export const SWITCH_PORT_TABLE: u32 = 4;
export const SWITCH_MAC_TABLE: u32 = 8;
/** Buckets of the MAC table, a power of two, less 1. */
export const SWITCH_MAC_MASK: u32 = 12;
/** Seconds after which an address is forgotten. */
export const SWITCH_AGEING: u32 = 16;
/** 1: frames to reserved addresses are forwarded. */
export const SWITCH_FORWARD_RESERVED: u32 = 20;
/** Address of the rule table in force: swapped whole for another one. */
export const SWITCH_RULES: u32 = 24;
/** The route table (`packet/layout.ts`, ROUTES_BYTES). */
export const SWITCH_ROUTES: u32 = 64;
export const SWITCH_BYTES: u32 = 128;

/** An entry of the port table. */
export const PORT_STATE: u32 = 0;
export const PORT_ABSENT: u32 = 0;
export const PORT_UP: u32 = 1;
/** 1: source addresses of frames from here are learned. */
export const PORT_LEARN: u32 = 4;
/** VLAN of untagged frames, and the one that leaves untagged. 0: untagged frames are in no VLAN. */
export const PORT_PVID: u32 = 8;
/** Flooded frames let in per storm window; 0: no limit. */
export const PORT_STORM: u32 = 12;
/** Four u8 each: ports that get a copy of what comes in, and of what goes out; PORT_NONE where there is none. */
export const PORT_MIRROR_RX: u32 = 16;
export const PORT_MIRROR_TX: u32 = 20;
export const MIRRORS_MAX: u32 = 4;
/** One bit a VLAN, 4096 of them: the port's member set. Bit 0 stands for untagged frames in no VLAN. */
export const PORT_VLANS: u32 = 64;
export const PORT_ENTRY_SHIFT: u32 = 10;

/**
 * A bucket of the MAC table: one cache line, four keys and then their four values, so that a look-up compares all keys
 * without a branch. A key is one u64 that is compared and swapped whole. An address has two buckets it may be in.
 *
 *      0 ┌───────────────────────────────┬──────────┬──────┐
 *        │ MAC, as loaded from the frame │ VLAN     │ 0001 │  key: 48 + 12 + 4 bits; 0: free; 1: being written
 *        ├───────────────────────────────┴──────────┴──────┤
 *        │ three more                                      │
 *     32 ├────────────────┬────────────────────────────────┤
 *        │ port | static  │ seconds of the last sight      │  value: u32 each
 *        ├────────────────┴────────────────────────────────┤
 *        │ three more                                      │
 *     64 └─────────────────────────────────────────────────┘
 */
export const MAC_KEY_SHIFT: u32 = 3;
/** From a key's address to its value's: offsets of the value's parts. */
export const MAC_PORT: u32 = 32;
export const MAC_SEEN: u32 = 36;
/** In MAC_PORT: configured, so it neither ages nor moves. */
export const MAC_STATIC: u32 = 65536;
export const MAC_BUCKET_SHIFT: u32 = 6;
export const MAC_BUCKET_ENTRIES: u32 = 4;

/** A rule table: how many rules, then the rules. */
export const RULES_COUNT: u32 = 0;
export const RULES_FIRST: u32 = 64;
/** A steering rule: all its matches must hold. */
export const RULE_ACTION: u32 = 0;
export const RULE_DROP: u32 = 1;
export const RULE_TO_PORT: u32 = 2;
export const RULE_TO_LCORE: u32 = 3;
/** Port or lcore. */
export const RULE_TARGET: u32 = 4;
/** The port it is for, or PORT_NONE for any. */
export const RULE_IN_PORT: u32 = 8;
export const RULE_MATCHES: u32 = 12;
/** Which of the hit counters is this rule's. */
export const RULE_HITS: u32 = 16;
export const RULE_FIRST_MATCH: u32 = 64;
export const RULE_MATCHES_MAX: u32 = 28;
export const RULE_SHIFT: u32 = 9;
export const RULES_MAX: u32 = 256;
/** A match: `word & mask == value`, the word in network order at `base + offset`. */
export const MATCH_BASE: u32 = 0;
export const MATCH_FRAME: u32 = 0;
export const MATCH_L3: u32 = 1;
export const MATCH_L4: u32 = 2;
/** The word is not in the frame: offset 0 its VLAN (0 when untagged), 1 its ethertype behind tags, 2 its IP protocol, 3 flags. */
export const MATCH_META: u32 = 3;
export const META_VLAN: u32 = 0;
export const META_ETHERTYPE: u32 = 1;
export const META_PROTOCOL: u32 = 2;
/** What stands for the IP protocol of what is no IP packet: no rule can ask for it. */
export const META_NO_PROTOCOL: u32 = 256;
/** HEADERS_… flags of `packet/layout.ts`. */
export const META_FLAGS: u32 = 3;
export const MATCH_OFFSET: u32 = 4;
export const MATCH_MASK: u32 = 8;
export const MATCH_VALUE: u32 = 12;
export const MATCH_SHIFT: u32 = 4;

// ---------------------------------------------------------------- path of an lcore

export const PATH_SWITCH: u32 = 0;
/** Its lcore's words: time, cache, counters. */
export const PATH_LCORE: u32 = 4;
/** Address of the first output; outputs to lcores follow those to ports. */
export const PATH_OUTPUTS: u32 = 8;
/** Address of 16 bytes of storm window a port. */
export const PATH_STORMS: u32 = 12;
/** Address of RULES_MAX u64: how often each rule matched here. */
export const PATH_RULE_HITS: u32 = 20;
/** Counters, u64 each. */
export const PATH_LEARNED: u32 = 64;
export const PATH_MOVED: u32 = 72;
export const PATH_EVICTED: u32 = 80;
/** Two slots for packets that the switch makes: a copy, and the other VLAN form of a flooded frame. */
export const PATH_COPY: u32 = 96;
export const PATH_FORM: u32 = 112;
/** Ports that a flooded frame goes to as it is, then those that it goes to in the other form: a byte each. */
export const PATH_MEMBERS: u32 = 128;
export const PATH_OTHER_MEMBERS: u32 = 384;
export const PATH_BYTES: u32 = 640;

/** Packets on their way to one port or lcore, until the end of the poll. */
export const OUTPUT_COUNT: u32 = 0;
export const OUTPUT_SLOTS: u32 = 128;
export const OUTPUT_SIZE: u32 = 128;
export const OUTPUT_BYTES: u32 = 2176;

/** A storm window: its number (time / 2^26 ns, some 67 ms), and flooded frames in it. */
export const STORM_WINDOW: u32 = 0;
export const STORM_COUNT: u32 = 8;
export const STORM_SHIFT: u32 = 4;
export const STORM_WINDOW_SHIFT: u32 = 26;

/** Work space of `group`: u32 counts by queue, and a burst of slots. */
export const GROUP_COUNTS: u32 = 0;
export const GROUP_SLOTS: u32 = 64;
export const GROUP_BYTES: u32 = 576;
