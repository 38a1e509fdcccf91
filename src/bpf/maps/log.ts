import type { Arena } from '../../memory/arena.ts';
import { readByteRing, writeByteRing } from './byte-ring.ts';
import {
  BYTERING_BYTES,
  LOG_COUNT,
  LOG_CPU,
  LOG_FORMAT_BYTES,
  LOG_NUMBERS,
  LOG_NUMBERS_MAX,
  LOG_PROGRAM,
} from './layout.ts';

/** What a program said with bpf_trace_printk. */
export interface LogEntry {
  /** The program's number in the table of programs. */
  readonly program: number;
  readonly cpu: number;
  readonly text: string;
}

const RING_BYTES = 65536;

/** Bytes of an arena that a log takes. */
export const LOG_BYTES: number = BYTERING_BYTES + RING_BYTES;

/**
 * Makes an empty log, for one lcore: what CTX_LOG holds.
 * @throws RingwayError `ARENA_FULL` when it does not fit.
 */
export function createLog(arena: Arena, name: string): number {
  const address = arena.allocate(name, LOG_BYTES);
  writeByteRing(arena, address, RING_BYTES);
  return address;
}

/** A conversion of a format: flags, width, precision, length, and what it is. */
const CONVERSION = /%(?:%|([-+ #0]*)(\d*)(?:\.(\d+))?(hh|h|ll|l|z)?([diuxXcsp])([A-Za-z0-9]*))/g;
/** What may follow %p (Linux Documentation/core-api/printk-formats.rst). What is an address there is only a number here. */
const POINTER = /^(?:[KxsSB]|[kun]s|[iI][46][hnblc]?)?/;

function pad(text: string, flags: string, width: number): string {
  if (flags.includes('-')) return text.padEnd(width);
  if (!flags.includes('0')) return text.padStart(width);
  const [, sign = '', digits = ''] = /^([-+ ]?(?:0[xX])?)(.*)$/s.exec(text) ?? [];
  return sign + digits.padStart(width - sign.length, '0');
}

function integer(number: bigint, flags: string, length: string | undefined, kind: string): string {
  const bits =
    length === 'l' || length === 'll' || length === 'z' ? 64 : length === 'h' ? 16 : length === 'hh' ? 8 : 32;
  if (kind === 'd' || kind === 'i') {
    const text = `${BigInt.asIntN(bits, number)}`;
    return text.startsWith('-') ? text : `${flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : ''}${text}`;
  }
  const value = BigInt.asUintN(bits, number);
  if (kind === 'u') return `${value}`;
  const digits = value.toString(16);
  const hex = flags.includes('#') && value !== 0n ? `0x${digits}` : digits;
  return kind === 'X' ? hex.toUpperCase() : hex;
}

/**
 * What printk would make of a format and numbers, as far as numbers go: strings are not there any more when this is
 * called, so `%s` becomes `(s)`; pointers become their numbers. A conversion without a number stays as it is.
 */
export function formatLog(format: string, numbers: readonly bigint[]): string {
  let next = 0;
  return format.replace(
    CONVERSION,
    (
      whole: string,
      flags: string | undefined,
      width: string,
      _: unknown,
      length: string | undefined,
      kind: string,
      rest: string,
    ) => {
      if (flags === undefined) return '%';
      const number = numbers[next++];
      if (number === undefined) return whole;
      const behind = kind === 'p' ? rest.replace(POINTER, '') : rest;
      const text =
        kind === 's'
          ? '(s)'
          : kind === 'c'
            ? String.fromCharCode(Number(number & 0xffn))
            : kind === 'p'
              ? `0x${number.toString(16).padStart(16, '0')}`
              : integer(number, flags, length, kind);
      return pad(text, flags, Number(width)) + behind;
    },
  );
}

function entryOf(bytes: Uint8Array): LogEntry | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < LOG_NUMBERS) return undefined;
  const count = view.getUint32(LOG_COUNT, true);
  const textAt = LOG_NUMBERS + count * 8;
  if (count > LOG_NUMBERS_MAX || textAt + view.getUint32(LOG_FORMAT_BYTES, true) !== bytes.length) return undefined;
  const numbers = Array.from({ length: count }, (_, index) => view.getBigUint64(LOG_NUMBERS + index * 8, true));
  // The kernel takes ASCII only.
  const text = formatLog(String.fromCharCode(...bytes.subarray(textAt)), numbers);
  return { program: view.getUint32(LOG_PROGRAM, true), cpu: view.getUint32(LOG_CPU, true), text };
}

/**
 * Hands over what was said into the log at `address`, the oldest first, up to `limit` entries. One thread reads a log.
 * Returns how many entries found no room since the last call.
 */
export function readLog(arena: Arena, address: number, onEntry: (entry: LogEntry) => void, limit?: number): number {
  return readByteRing(
    arena,
    address,
    (bytes) => {
      const entry = entryOf(bytes);
      if (entry !== undefined) onEntry(entry);
    },
    limit,
  );
}
