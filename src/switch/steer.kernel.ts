import { LCORE_INDEX } from '../lcore/layout.ts';
import { SLOT_LENGTH } from '../memory/layout.ts';
import {
  frameAddress,
  headersFlags,
  headersL3,
  headersL4,
  headersProtocol,
  headersType,
  parseHeaders,
} from '../packet/headers.kernel.ts';
import { HEADERS_IPV4, HEADERS_IPV6, HEADERS_QINQ, HEADERS_VLAN } from '../packet/layout.ts';
import { add } from '../telemetry/counters.kernel.ts';
import { DROP_NO_PORT, DROP_STEERED, PORT_NONE } from '../telemetry/layout.ts';
import { appendToLcore, drop, emit, portEntry } from './emit.kernel.ts';
import {
  MATCH_BASE,
  MATCH_FRAME,
  MATCH_L3,
  MATCH_L4,
  MATCH_MASK,
  MATCH_OFFSET,
  MATCH_SHIFT,
  MATCH_VALUE,
  META_ETHERTYPE,
  META_FLAGS,
  META_NO_PROTOCOL,
  META_VLAN,
  PATH_LCORE,
  PATH_RULE_HITS,
  PATH_SWITCH,
  PORT_STATE,
  PORT_UP,
  RULE_ACTION,
  RULE_DROP,
  RULE_FIRST_MATCH,
  RULE_HITS,
  RULE_IN_PORT,
  RULE_MATCHES,
  RULE_SHIFT,
  RULE_TARGET,
  RULE_TO_LCORE,
  RULES_COUNT,
  RULES_FIRST,
  SWITCH_RULES,
} from './layout.ts';

const VLAN_OFFSET: u32 = 14;

/** What a match of base MATCH_META compares: the outer VLAN, the ethertype behind the tags, the IP protocol, flags. */
function metaWord(frame: u32, headers: u64, which: u32): u32 {
  if (which === META_FLAGS) return headersFlags(headers);
  if (which === META_ETHERTYPE) return headersType(headers);
  if (which === META_VLAN) {
    const tagged = (headersFlags(headers) & (HEADERS_VLAN | HEADERS_QINQ)) !== 0;
    return tagged ? <u32>bswap<u16>(load<u16>(frame + VLAN_OFFSET)) & 0xfff : 0;
  }
  return headersFlags(headers) & (HEADERS_IPV4 | HEADERS_IPV6) ? headersProtocol(headers) : META_NO_PROTOCOL;
}

/** True when the packet has the word that `match` is about, and it matches. */
function matches(match: u32, frame: u32, length: u32, headers: u64): bool {
  const base = load<u32>(match, MATCH_BASE);
  const mask = load<u32>(match, MATCH_MASK);
  const value = load<u32>(match, MATCH_VALUE);
  let at = load<u32>(match, MATCH_OFFSET);
  if (base === MATCH_L3) {
    at += headersL3(headers);
  } else if (base === MATCH_L4) {
    // 0 for fragments and for what is no IP: there is no transport header to look into.
    if (headersL4(headers) === 0) return false;
    at += headersL4(headers);
  } else if (base !== MATCH_FRAME) {
    return (metaWord(frame, headers, at) & mask) === value;
  }
  if (at + 4 > length) return false;
  return (bswap<u32>(load<u32>(frame + at)) & mask) === value;
}

function ruleMatches(rule: u32, frame: u32, length: u32, from: u32, headers: u64): bool {
  const port = load<u32>(rule, RULE_IN_PORT);
  if (port !== PORT_NONE && port !== from) return false;
  const count = load<u32>(rule, RULE_MATCHES);
  for (let i: u32 = 0; i < count; i++) {
    if (!matches(rule + RULE_FIRST_MATCH + (i << MATCH_SHIFT), frame, length, headers)) return false;
  }
  return true;
}

/** True when there are any steering rules. */
export function hasRules(sw: u32): bool {
  return load<u32>(load<u32>(sw, SWITCH_RULES), RULES_COUNT) !== 0;
}

/**
 * Applies the first steering rule that matches a packet from port `from`. True when one took the packet: not when it
 * is for this very lcore, which goes on with it.
 */
export function steer(path: u32, slot: u32, from: u32): bool {
  const sw = load<u32>(path, PATH_SWITCH);
  const rules = atomic.load<u32>(sw, SWITCH_RULES);
  const count = load<u32>(rules, RULES_COUNT);
  const frame = frameAddress(slot);
  const length: u32 = load<u16>(slot, SLOT_LENGTH);
  const headers = parseHeaders(slot);
  for (let i: u32 = 0; i < count; i++) {
    const rule = rules + RULES_FIRST + (i << RULE_SHIFT);
    if (!ruleMatches(rule, frame, length, from, headers)) continue;
    add(load<u32>(path, PATH_RULE_HITS) + (load<u32>(rule, RULE_HITS) << 3), 1);
    const action = load<u32>(rule, RULE_ACTION);
    const target = load<u32>(rule, RULE_TARGET);
    if (action === RULE_DROP) drop(path, slot, from, DROP_STEERED);
    else if (action === RULE_TO_LCORE) {
      if (target === load<u32>(load<u32>(path, PATH_LCORE), LCORE_INDEX)) return false;
      appendToLcore(path, slot, target);
    } else if (load<u32>(portEntry(path, target), PORT_STATE) === PORT_UP) emit(path, slot, target);
    else drop(path, slot, from, DROP_NO_PORT);
    return true;
  }
  return false;
}
