import { SLOT_FLOW, SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import { frameAddress, headersFlags, headersL3, headersL4, headersProtocol, parseHeaders } from './headers.kernel.ts';
import {
  ETHERNET_BYTES,
  HEADERS_IPV4,
  HEADERS_IPV6,
  HEADERS_PORTS,
  IPV4_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './layout.ts';

/** Takes 64 more bits into a hash: the multipliers and the idea of the shift are MurmurHash3's fmix64. */
function mix(hash: u64, word: u64): u64 {
  const product = (hash ^ word) * (((<u64>0xff51afd7) << 32) | 0xed558ccd);
  return product ^ (product >> 32);
}

/** Any number with many bits set will do: the fraction of the golden ratio. */
function seed(): u64 {
  return ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15;
}

/** The last step: the upper half of a product depends on all bits below it. Never 0. */
function finish(hash: u64, ports: u32, protocol: u32): u32 {
  const word = ports | ((<u64>protocol) << 32);
  return max(<u32>(((hash ^ word) * (((<u64>0xc4ceb9fe) << 32) | 0x1a85ec53)) >> 32), 1);
}

/** The hash of any frame. */
function flowOfHeaders(slot: u32, frame: u32): u32 {
  const headers = parseHeaders(slot);
  const flags = headersFlags(headers);
  const l3 = frame + headersL3(headers);
  let hash = seed();
  if (flags & HEADERS_IPV4) {
    hash = mix(hash, load<u64>(l3, 12));
  } else if (flags & HEADERS_IPV6) {
    hash = mix(hash, load<u64>(l3, 8));
    hash = mix(hash, load<u64>(l3, 16));
    hash = mix(hash, load<u64>(l3, 24));
    hash = mix(hash, load<u64>(l3, 32));
  } else if (load<u16>(slot, SLOT_LENGTH) >= <u16>ETHERNET_BYTES) {
    hash = mix(mix(hash, load<u64>(frame)), load<u32>(frame, 8));
  }
  const ports: u32 = flags & HEADERS_PORTS ? load<u32>(frame + headersL4(headers)) : 0;
  return finish(hash, ports, headersProtocol(headers));
}

/** The hash of one frame, as `flowHash` writes it. */
export function flowOf(slot: u32): u32 {
  const frame = frameAddress(slot);
  // Nearly all frames are TCP or UDP over IPv4 without options or tags. They are told by two loads, and get here, in
  // half the time, the hash that they would get below: EtherType, version and header length; then no fragment.
  if (
    load<u16>(slot, SLOT_LENGTH) >= <u16>(ETHERNET_BYTES + IPV4_BYTES + 4) &&
    (load<u32>(frame, 12) & 0xffffff) === 0x450008 &&
    (load<u16>(frame, 20) & 0xff3f) === 0
  ) {
    const protocol: u32 = load<u8>(frame, 23);
    if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
      return finish(mix(seed(), load<u64>(frame, 26)), load<u32>(frame, 34), protocol);
    }
  }
  return flowOfHeaders(slot, frame);
}

/**
 * Writes the flow hash of `count` packets into their SLOT_FLOW: of addresses, protocol and, unless it is a fragment,
 * TCP, UDP or SCTP ports of an IP packet behind up to two VLAN tags; of the MAC addresses of other frames. The two
 * directions of a flow differ. Never 0, which means that nobody computed it. Not meant to withstand an attacker who
 * chooses addresses.
 */
export function flowHash(slots: u32, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    store<u32>(slot, flowOf(slot), SLOT_FLOW);
  }
}

/** Takes `words` u32 at `input` into a Toeplitz hash, of which `done` words were taken before. */
export function toeplitzWords(hash: u32, input: u32, words: u32, key: u32, done: u32): u32 {
  for (let i: u32 = 0; i < words; i++) {
    const window = bswap<u64>(load<u64>(key + ((done + i) << 2)));
    // One window of the key for each set bit, from the highest: half as many steps as bits.
    let bits = bswap<u32>(load<u32>(input + (i << 2)));
    while (bits !== 0) {
      const bit = clz<u32>(bits);
      hash ^= <u32>((window << bit) >> 32);
      bits ^= <u32>0x80000000 >> bit;
    }
  }
  return hash;
}

/**
 * Writes the Toeplitz hash of `count` packets into their SLOT_FLOW, as Microsoft's RSS specification ("RSS hashing
 * types") has it: source and destination address, then TCP, UDP or SCTP ports unless it is a fragment; 0 for what is
 * not IP. The key's TOEPLITZ_KEY_BYTES bytes lie at `key`. Serves to agree with network cards; `flowHash` is faster.
 */
export function toeplitz(slots: u32, count: u32, key: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const headers = parseHeaders(slot);
    const frame = frameAddress(slot);
    const flags = headersFlags(headers);
    const l3 = frame + headersL3(headers);
    let hash: u32 = 0;
    let words: u32 = 0;
    if (flags & HEADERS_IPV4) {
      words = 2;
      hash = toeplitzWords(0, l3 + 12, words, key, 0);
    } else if (flags & HEADERS_IPV6) {
      words = 8;
      hash = toeplitzWords(0, l3 + 8, words, key, 0);
    }
    if (flags & HEADERS_PORTS) hash = toeplitzWords(hash, frame + headersL4(headers), 1, key, words);
    store<u32>(slot, hash, SLOT_FLOW);
  }
}
