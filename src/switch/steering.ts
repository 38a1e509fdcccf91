import type { Arena } from '../memory/arena.ts';
import { HEADERS_IPV4, HEADERS_IPV6, HEADERS_PORTS } from '../packet/layout.ts';
import { readCounter } from '../telemetry/counters.ts';
import { PORT_NONE } from '../telemetry/layout.ts';
import { parseMacBytes, parsePrefix } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import {
  MATCH_BASE,
  MATCH_FRAME,
  MATCH_L3,
  MATCH_L4,
  MATCH_MASK,
  MATCH_META,
  MATCH_OFFSET,
  MATCH_SHIFT,
  MATCH_VALUE,
  META_ETHERTYPE,
  META_FLAGS,
  META_PROTOCOL,
  META_VLAN,
  PATH_RULE_HITS,
  RULE_ACTION,
  RULE_DROP,
  RULE_FIRST_MATCH,
  RULE_HITS,
  RULE_IN_PORT,
  RULE_MATCHES,
  RULE_MATCHES_MAX,
  RULE_SHIFT,
  RULE_TARGET,
  RULE_TO_LCORE,
  RULE_TO_PORT,
  RULES_COUNT,
  RULES_FIRST,
  RULES_MAX,
  SWITCH_RULES,
} from './layout.ts';

/** Flow types with ethtool's names (`ethtool -N`). */
export type FlowType = 'ether' | 'ip4' | 'ip6' | 'tcp4' | 'udp4' | 'tcp6' | 'udp6' | 'sctp4';

/** One word of a packet, as tc-u32's `match u32 VALUE MASK at OFFSET`. */
export interface U32Match {
  /** A u32 in network order; no bits outside `mask`. */
  readonly value: number;
  readonly mask: number;
  /** Bytes from the network header: 0 to 252, a multiple of 4. */
  readonly at: number;
}

/**
 * What a packet must be, in the terms of `ethtool -N` and of tc's u32; all that is given must hold. What asks for
 * something in an IP header needs a whole one of the right version in the packet's first buffer, and ports need a
 * packet that is no fragment; `etherType` and `u32` ask the bytes alone.
 */
export interface Match {
  readonly flowType?: FlowType;
  readonly srcMac?: string;
  readonly dstMac?: string;
  /** 0 to 65535. */
  readonly etherType?: number;
  /** 0 to 4094. */
  readonly vlan?: number;
  readonly srcIp?: string;
  readonly dstIp?: string;
  /** IP protocol, 0 to 255. */
  readonly protocol?: number;
  /** Ports, 0 to 65535. */
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Up to 8. */
  readonly u32?: readonly U32Match[];
}

/** Where a matching packet goes: numbers of ports and lcores. */
export type Action = { readonly drop: true } | { readonly port: number } | { readonly lcore: number };

/** A rule as the kernel runs it. */
export interface CompiledRule {
  /** Number of the port it is for; any when missing. */
  readonly inPort?: number;
  readonly match: Match;
  readonly action: Action;
  /** Which hit counter it has, 0 to 255. */
  readonly hits: number;
}

interface Word {
  readonly base: number;
  readonly offset: number;
  readonly mask: number;
  readonly value: number;
}

const TABLE_BYTES = RULES_FIRST + (RULES_MAX << RULE_SHIFT);
/** Bytes of the arena that steering takes: the table in force and the next one. */
export const STEERING_BYTES = 2 * TABLE_BYTES + 512;

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

const meta = (offset: number, value: number, mask = 0xffffffff): Word => ({ base: MATCH_META, offset, mask, value });

/** A whole IP header, not only the EtherType of one: there must be something to look into. */
const ipWord = (family: 4 | 6): Word => {
  const flag = family === 4 ? HEADERS_IPV4 : HEADERS_IPV6;
  return meta(META_FLAGS, flag, flag);
};

/** The six bytes of a MAC at `offset` of the frame, as two words. */
function macWords(text: string, offset: 0 | 6): Word[] {
  const mac = parseMacBytes(text);
  if (mac === undefined) throw new RingwayError('BAD_ARGUMENT', `steering: ${text} is no MAC address`);
  const view = new DataView(mac.buffer);
  const [first, second] = [view.getUint32(0), view.getUint16(4)];
  if (offset === 0) {
    return [
      { base: MATCH_FRAME, offset: 0, mask: 0xffffffff, value: first },
      { base: MATCH_FRAME, offset: 4, mask: 0xffff0000, value: second * 65536 },
    ];
  }
  return [
    { base: MATCH_FRAME, offset: 4, mask: 0xffff, value: view.getUint16(0) },
    { base: MATCH_FRAME, offset: 8, mask: 0xffffffff, value: view.getUint32(2) },
  ];
}

/** An address prefix in the IP header: that there is one, then the words that the prefix covers. */
function prefixWords(text: string, which: 'src' | 'dst'): Word[] {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new RingwayError('BAD_ARGUMENT', `steering: ${text} is no prefix such as 10.0.0.0/8`);
  const { family, bytes, length } = prefix;
  const start = family === 4 ? (which === 'src' ? 12 : 16) : which === 'src' ? 8 : 24;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const words: Word[] = [ipWord(family)];
  for (let at = 0; at * 8 < length; at += 4) {
    const bits = Math.min(32, length - at * 8);
    words.push({
      base: MATCH_L3,
      offset: start + at,
      mask: (0xffffffff << (32 - bits)) >>> 0,
      value: view.getUint32(at),
    });
  }
  return words;
}

/** The words that a match asks for, each once. */
function compileMatch(match: Match): Word[] {
  const words: Word[] = [];
  const { flowType } = match;
  if (flowType !== undefined && flowType !== 'ether') {
    words.push(ipWord(flowType.endsWith('6') ? 6 : 4));
    const protocol = PROTOCOLS[flowType.slice(0, -1)];
    if (protocol !== undefined) words.push(meta(META_PROTOCOL, protocol));
  }
  if (match.dstMac !== undefined) words.push(...macWords(match.dstMac, 0));
  if (match.srcMac !== undefined) words.push(...macWords(match.srcMac, 6));
  if (match.etherType !== undefined) words.push(meta(META_ETHERTYPE, match.etherType));
  if (match.vlan !== undefined) words.push(meta(META_VLAN, match.vlan));
  if (match.srcIp !== undefined) words.push(...prefixWords(match.srcIp, 'src'));
  if (match.dstIp !== undefined) words.push(...prefixWords(match.dstIp, 'dst'));
  if (match.protocol !== undefined) words.push(meta(META_PROTOCOL, match.protocol));
  if (match.srcPort !== undefined || match.dstPort !== undefined) {
    words.push(meta(META_FLAGS, HEADERS_PORTS, HEADERS_PORTS));
    const mask = (match.srcPort === undefined ? 0 : 0xffff0000) + (match.dstPort === undefined ? 0 : 0xffff);
    words.push({ base: MATCH_L4, offset: 0, mask, value: (match.srcPort ?? 0) * 65536 + (match.dstPort ?? 0) });
  }
  for (const { value, mask, at } of match.u32 ?? []) words.push({ base: MATCH_L3, offset: at, mask, value });
  return words.filter((word, index) => words.findIndex((other) => isSame(word, other)) === index);
}

function isSame(a: Word, b: Word): boolean {
  return a.base === b.base && a.offset === b.offset && a.mask === b.mask && a.value === b.value;
}

/** The steering rules in the arena: two tables, one in force and one being written. */
export class Steering {
  readonly #arena: Arena;
  readonly #switch: number;
  readonly #paths: readonly number[];
  readonly #tables: readonly [number, number];
  #active = 0;

  constructor(arena: Arena, switchAddress: number, paths: readonly number[]) {
    this.#arena = arena;
    this.#switch = switchAddress;
    this.#paths = paths;
    this.#tables = [arena.allocate('switch.rules 0', TABLE_BYTES), arena.allocate('switch.rules 1', TABLE_BYTES)];
    Atomics.store(arena.u32, (switchAddress + SWITCH_RULES) >>> 2, this.#tables[0]);
  }

  /**
   * Puts `rules` in force, in order, for the bursts that start from now on. Every lcore must have finished a poll
   * before the next call.
   * @throws RingwayError `BAD_ARGUMENT` on more than 256 rules, or on what a rule cannot match.
   */
  replace(rules: readonly CompiledRule[]): void {
    if (rules.length > RULES_MAX) {
      throw new RingwayError('BAD_ARGUMENT', `steering: ${rules.length} rules, at most ${RULES_MAX} fit`);
    }
    const compiled = rules.map((rule) => ({ rule, words: compileMatch(rule.match) }));
    const next = 1 - this.#active;
    const table = this.#tables[next] ?? 0;
    for (const [index, { rule, words }] of compiled.entries()) {
      this.#write(table + RULES_FIRST + (index << RULE_SHIFT), rule, words);
    }
    this.#arena.u32[(table + RULES_COUNT) >>> 2] = rules.length;
    Atomics.store(this.#arena.u32, (this.#switch + SWITCH_RULES) >>> 2, table);
    this.#active = next;
  }

  #write(at: number, { inPort, action, hits }: CompiledRule, words: readonly Word[]): void {
    if (words.length > RULE_MATCHES_MAX) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `steering: a rule of ${words.length} words, at most ${RULE_MATCHES_MAX} fit`,
      );
    }
    const set = (offset: number, value: number): void => {
      this.#arena.u32[(at + offset) >>> 2] = value;
    };
    const [code, target] =
      'drop' in action
        ? [RULE_DROP, 0]
        : 'port' in action
          ? [RULE_TO_PORT, action.port]
          : [RULE_TO_LCORE, action.lcore];
    set(RULE_ACTION, code);
    set(RULE_TARGET, target);
    set(RULE_IN_PORT, inPort ?? PORT_NONE);
    set(RULE_HITS, hits);
    set(RULE_MATCHES, words.length);
    words.forEach(({ base, offset, mask, value }, index) => {
      const match = RULE_FIRST_MATCH + (index << MATCH_SHIFT);
      set(match + MATCH_BASE, base);
      set(match + MATCH_OFFSET, offset);
      set(match + MATCH_MASK, mask);
      set(match + MATCH_VALUE, value);
    });
  }

  /** Packets that the rule with hit counter `hits` has matched, on all lcores, since the dataplane started. */
  hits(hits: number): number {
    return this.#paths.reduce((total, path) => {
      const table = this.#arena.u32[(path + PATH_RULE_HITS) >>> 2] ?? 0;
      return total + readCounter(this.#arena, table + hits * 8);
    }, 0);
  }
}
