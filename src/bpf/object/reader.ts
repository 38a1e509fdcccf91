import { RingwayError } from '../../util/errors.ts';

/** Longest name that is read, in bytes. Linux takes names of 511 (KSYM_NAME_LEN); those of Rust and C++ are longer. */
export const NAME_BYTES_MAX = 1024;

/** An error of an object file: which file, then what is wrong in it, what is allowed, what to do. */
export function badObject(file: string, problem: string): RingwayError {
  return new RingwayError('BAD_OBJECT', `${file}: ${problem}`);
}

/** Names in a message: the first of a list that may have any number. */
const LISTED_MAX = 20;

/** `a, b, c`: names that there are, for messages; `none` when there are none. */
export function listNames(names: readonly string[], none = 'none'): string {
  if (names.length === 0) return none;
  const rest = names.length - LISTED_MAX;
  return `${names.slice(0, LISTED_MAX).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

/** `0x1f`: a value of the file in messages. */
export const hex = (value: number): string => `0x${value.toString(16)}`;

/** Little-endian numbers and strings of foreign bytes. Who reads has checked that they are there. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #buffer: Buffer;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  i32(at: number): number {
    return this.#view.getInt32(at, true);
  }

  /** Above 2^53 it is not exact, and too large for whatever it is compared with. */
  u64(at: number): number {
    return this.u32(at + 4) * 2 ** 32 + this.u32(at);
  }

  /** The string that begins at `at` and ends with a 0; undefined when it has none within `max` bytes. */
  text(at: number, max: number = NAME_BYTES_MAX): string | undefined {
    const limit = Math.min(this.bytes.length, at + max);
    let end = at;
    while (end < limit && this.bytes[end] !== 0) end++;
    return end < limit ? this.#buffer.toString('utf8', at, end) : undefined;
  }

  /** The first bytes of a string that is too long for `text`. */
  start(at: number, max: number = NAME_BYTES_MAX): string {
    return this.#buffer.toString('utf8', at, Math.min(this.bytes.length, at + max));
  }
}
