import { Buffer } from 'node:buffer';
import type { Arena } from '../../memory/arena.ts';

/** Methods of Node's buffers that take positions; `write` and `toString` end in them, at twice the cost. */
interface Utf8Buffer {
  utf8Slice(from: number, to: number): string;
}

const encoder = new TextEncoder();
/** Up to so many characters a loop is faster than a call into Node. */
const SHORT = 16;
/** Views are found by address, in steps of what records are aligned to. */
const STEP_SHIFT = 6;

/** True when every character of `text` is of ASCII, and then it is at address `at`. */
function writeAscii(u8: Uint8Array, text: string, at: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 127) return false;
    u8[at + i] = unit;
  }
  return true;
}

/** Writes text of one kind, a field's say, into an arena. */
export class TextWriter {
  readonly #arena: Arena;
  readonly #base: number;
  readonly #max: number;
  /** Where texts go, as views: to make one costs more than to fill it. */
  readonly #views: Uint8Array[] = [];

  /** Texts of up to `max` bytes, at addresses from `base` on. Fastest where they are 64 bytes apart at least. */
  constructor(arena: Arena, base: number, max: number) {
    this.#arena = arena;
    this.#base = base;
    this.#max = max;
  }

  /** Writes `text` to address `at` as UTF-8. Returns its bytes, or -1 when they are too many. */
  write(text: string, at: number): number {
    const { u8 } = this.#arena;
    const { length } = text;
    if (length > this.#max) return -1;
    if (length <= SHORT && writeAscii(u8, text, at)) return length;
    const index = (at - this.#base) >>> STEP_SHIFT;
    let view = this.#views[index];
    if (view === undefined || view.byteOffset !== at) {
      view = u8.subarray(at, at + this.#max);
      this.#views[index] = view;
    }
    const { read, written } = encoder.encodeInto(text, view);
    return read === length ? written : -1;
  }
}

/** Reads text from an arena. */
export class TextReader {
  readonly #bytes: Utf8Buffer;

  constructor(arena: Arena) {
    this.#bytes = Buffer.from(arena.handle.memory.buffer) as unknown as Utf8Buffer;
  }

  /** The text of `bytes` bytes of UTF-8 at address `at`. */
  read(at: number, bytes: number): string {
    return this.#bytes.utf8Slice(at, at + bytes);
  }
}
