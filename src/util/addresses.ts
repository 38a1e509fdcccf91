/** An IP prefix as bytes. */
export interface Prefix {
  readonly family: 4 | 6;
  /** 4 or 16 bytes in network order, zero behind `length`. */
  readonly bytes: Uint8Array;
  /** Bits, 0 to 32 or 128. */
  readonly length: number;
}

/** The 6 bytes of `aa:bb:cc:dd:ee:ff` (or with `-`); undefined when it is no MAC address. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
}

/** `aa:bb:cc:dd:ee:ff`, in lower case. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.');
  // No leading zeros: some read 010 as eight.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte < 256) ? bytes : undefined;
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (index === groups.length - 1 && group.includes('.')) {
      const tail = parseIpv4(group);
      if (tail === undefined) return undefined;
      bytes.push(...tail);
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >>> 8, value & 255);
    }
  }
  return bytes;
}

/** RFC 4291, section 2.2, without a zone. */
function parseIpv6(text: string): number[] | undefined {
  if (text.length > 45) return undefined;
  const [left = '', right, ...more] = text.split('::');
  if (more.length > 0) return undefined;
  const head = parseGroups(left);
  const tail = right === undefined ? [] : parseGroups(right);
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (right === undefined ? missing !== 0 : missing < 2) return undefined;
  // An IPv4 tail is only at the end of the whole address.
  if (right !== undefined && left.includes('.')) return undefined;
  return [...head, ...new Array<number>(missing).fill(0), ...tail];
}

/**
 * The bytes of an IPv4 or IPv6 address or prefix; without `/length` it is the one address. Undefined when it is none.
 * Bits behind the length are cleared: compare `formatPrefix` of the result to see whether there were any.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const [address = '', lengthText, ...more] = text.split('/');
  if (more.length > 0) return undefined;
  const family = address.includes(':') ? 6 : 4;
  const bytes = family === 4 ? parseIpv4(address) : parseIpv6(address);
  if (bytes === undefined) return undefined;
  if (lengthText !== undefined && !/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
  const length = lengthText === undefined ? bytes.length * 8 : Number(lengthText);
  if (length > bytes.length * 8) return undefined;
  const masked = bytes.map((byte, index) => byte & (0xff00 >>> Math.min(8, Math.max(0, length - index * 8))));
  return { family, bytes: Uint8Array.from(masked), length };
}

/** The longest run of two or more zero groups, the first of equals (RFC 5952, section 4.2). */
function zeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}

/** `10.0.0.1` or `2001:db8::1` (RFC 5952) of 4 or 16 bytes. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0));
  const run = zeroRun(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

/** `10.0.0.0/8`, `2001:db8::/32`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.bytes)}/${prefix.length}`;
}
