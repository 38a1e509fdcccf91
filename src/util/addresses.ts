/*
 * Addresses as text and as what headers hold: a MAC address is a Number of 48 bits, an IPv4 address one of 32, an IPv6
 * address 16 bytes. Parsers take exactly one spelling of each number and give undefined for anything else.
 */

/** `02:00:00:00:00:01` or `02-00-00-00-00-01`, upper or lower case, as a number below 2^48. */
export function parseMac(text: string): number | undefined {
  if (!/^[0-9a-f]{2}([:-])([0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(text)) return undefined;
  return Number.parseInt(text.replaceAll(/[:-]/g, ''), 16);
}

/** `parseMac` as the six bytes that lie in a frame. */
export function parseMacBytes(text: string): Uint8Array | undefined {
  const mac = parseMac(text);
  if (mac === undefined) return undefined;
  return Uint8Array.from([40, 32, 24, 16, 8, 0], (shift) => Math.floor(mac / 2 ** shift) & 255);
}

/** `02:00:00:00:00:01`, in lower case. `mac`: 0 to 2^48 - 1. */
export function formatMac(mac: number): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replace(/..(?=.)/g, '$&:');
}

/** `10.0.0.1` as a number below 2^32, the first byte its highest. Leading zeroes are refused: some read them as octal. */
export function parseIpv4(text: string): number | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return undefined;
  let address = 0;
  for (const part of text.split('.')) {
    const value = Number(part);
    if (value > 255 || String(value) !== part) return undefined;
    address = address * 256 + value;
  }
  return address;
}

/** `10.0.0.1`. `address`: 0 to 2^32 - 1. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

const GROUPS = 8;

/** The 16-bit groups of a part of an IPv6 address without `::`; the last may be two, written as an IPv4 address. */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const ipv4 = mayEndInIpv4 && index === parts.length - 1 ? parseIpv4(part) : undefined;
    if (ipv4 === undefined) return undefined;
    groups.push(ipv4 >>> 16, ipv4 & 0xffff);
  }
  return groups;
}

/** The longest spelling: eight groups of four digits, of which two may be an IPv4 address. */
const IPV6_TEXT_MAX = 45;

/** Any of the spellings of RFC 4291 2.2, without a zone, as 16 bytes. */
export function parseIpv6(text: string): Uint8Array | undefined {
  if (text.length > IPV6_TEXT_MAX) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [before = '', after] = halves;
  const head = parseGroups(before, after === undefined);
  const tail = parseGroups(after ?? '', true);
  if (head === undefined || tail === undefined) return undefined;
  const missing = GROUPS - head.length - tail.length;
  // RFC 4291 says "one or more groups" of `::`.
  if (after === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >>> 8, group & 255]));
}

/** Start and length of the longest run of two zeroes or more, the first one of several (RFC 5952, 4.2). */
function longestZeroes(groups: readonly number[]): { start: number; length: number } {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < GROUPS; start++) {
    let end = start;
    while (end < GROUPS && groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}

/** The canonical text of RFC 5952; an IPv4-mapped address is written with its IPv4 address (5.). */
export function formatIpv6(address: Uint8Array): string {
  const groups = Array.from({ length: GROUPS }, (_, i) => (address[i * 2] ?? 0) * 256 + (address[i * 2 + 1] ?? 0));
  const [g6 = 0, g7 = 0] = groups.slice(6);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${formatIpv4(g6 * 65536 + g7)}`;
  }
  const hex = (list: number[]): string => list.map((group) => group.toString(16)).join(':');
  const { start, length } = longestZeroes(groups);
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** A set of IP addresses that begin with the same bits. */
export interface Prefix {
  readonly family: 4 | 6;
  /** 4 or 16 bytes in network order; the bits behind the prefix are 0. */
  readonly bytes: Uint8Array;
  /** Bits, 0 to 32 or to 128. */
  readonly length: number;
}

/** The two parts of `ADDRESS/LENGTH`; the length is that of the whole address when it is left out. */
function splitPrefix(text: string): Prefix | undefined {
  const match = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text);
  if (match === null) return undefined;
  const [, base = '', bits] = match;
  const ipv4 = parseIpv4(base);
  const bytes = ipv4 === undefined ? parseIpv6(base) : Uint8Array.from([24, 16, 8, 0], (shift) => ipv4 >>> shift);
  if (bytes === undefined) return undefined;
  const length = bits === undefined ? bytes.length * 8 : Number(bits);
  return length > bytes.length * 8 ? undefined : { family: ipv4 === undefined ? 6 : 4, bytes, length };
}

/**
 * The prefix of an address on it: `10.1.2.3/8` gives 10.0.0.0/8, and `10.1.2.3` the prefix of that one address.
 * Undefined when it is neither.
 */
export function parseCoveringPrefix(text: string): Prefix | undefined {
  const given = splitPrefix(text);
  if (given === undefined) return undefined;
  const { length } = given;
  const bytes = given.bytes.map((byte, i) => byte & (0xff00 >>> Math.min(8, Math.max(0, length - i * 8))));
  return { ...given, bytes };
}

/** `10.0.0.0/8` or `2001:db8::/32`. Undefined too when bits are set behind the prefix: it is not clear what is meant. */
export function parsePrefix(text: string): Prefix | undefined {
  const given = splitPrefix(text);
  const covering = parseCoveringPrefix(text);
  const isExact = covering?.bytes.every((byte, i) => byte === given?.bytes[i]);
  return isExact && text.includes('/') ? covering : undefined;
}

/** `10.0.0.0/8`, `2001:db8::/32`. */
export function formatPrefix({ family, bytes, length }: Prefix): string {
  return `${family === 4 ? bytes.join('.') : formatIpv6(bytes)}/${length}`;
}

/** The six bytes of a MAC address, as they stand in a frame. */
export function macBytes(mac: number): Uint8Array {
  return Uint8Array.from({ length: 6 }, (_, i) => Math.floor(mac / 2 ** (40 - 8 * i)) % 256);
}
