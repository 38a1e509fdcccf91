import { Buffer } from 'node:buffer';
import type { Arena } from '../../memory/arena.ts';

/** Methods of Node's buffers that take positions; `write` and `toString` end in them, at twice the cost. */
interface Utf8Buffer {
  utf8Write(text: string, at: number, bytes: number): number;
  utf8Slice(from: number, to: number): string;
}

/** The longest UTF-8 character: what is left of the room when a text was cut. */
const CHARACTER_BYTES = 4;

/** Text in an arena. */
export class ArenaText {
  readonly #bytes: Utf8Buffer;

  constructor(arena: Arena) {
    this.#bytes = Buffer.from(arena.handle.memory.buffer) as unknown as Utf8Buffer;
  }

  /** Writes `text` to address `at` as UTF-8. Returns its bytes, or -1 when they are more than `max`. */
  write(text: string, at: number, max: number): number {
    if (text.length > max) return -1;
    const written = this.#bytes.utf8Write(text, at, max);
    // A text that was cut has left less room than a character needs.
    if (written > max - CHARACTER_BYTES && Buffer.byteLength(text) > max) return -1;
    return written;
  }

  /** The text of `bytes` bytes at address `at`. */
  read(at: number, bytes: number): string {
    return this.#bytes.utf8Slice(at, at + bytes);
  }
}
