import type { Arena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { createStructCodec, type StructFields, type StructOf, structBytes } from './codec-struct.ts';
import { TextReader, TextWriter } from './text.ts';

/** How messages, or results, cross between threads: as JSON, or as fields of fixed size. `none` of results: not at all. */
export type Shape = 'json' | 'none' | StructFields;

/** What a shape carries. */
export type Shaped<S> = S extends StructFields ? StructOf<S> : S extends 'none' ? undefined : unknown;

/** Writes values into an arena, and reads them. */
export interface Codec {
  /** Bytes that a value takes at most. */
  readonly bytes: number;
  /**
   * Writes `value` to address `at`, and returns its bytes.
   * @throws RingwayError `BAD_ARGUMENT` naming the field, the value and what is allowed.
   */
  encode(value: unknown, at: number): number;
  /** The value of `bytes` bytes at address `at`: nothing in it refers to the arena. */
  decode(at: number, bytes: number): unknown;
}

const NONE: Codec = { bytes: 0, encode: () => 0, decode: () => undefined };

function createJsonCodec(arena: Arena, base: number, bytes: number, what: string): Codec {
  const writer = new TextWriter(arena, base, bytes);
  const reader = new TextReader(arena);
  return {
    bytes,
    encode(value, at) {
      let json: string | undefined;
      try {
        json = JSON.stringify(value);
      } catch (cause) {
        throw new RingwayError('BAD_ARGUMENT', `${what} cannot be written as JSON: ${String(cause)}`, { cause });
      }
      // Only undefined, functions and symbols have no JSON; a handler that returns nothing returns undefined.
      if (json === undefined) return 0;
      const n = writer.write(json, at);
      if (n >= 0) return n;
      throw new RingwayError(
        'BAD_ARGUMENT',
        `${what} takes ${Buffer.byteLength(json)} bytes as JSON, ${bytes} are allowed (messageBytes): ${json.slice(0, 60)}…`,
      );
    },
    decode: (at, length) => (length === 0 ? undefined : JSON.parse(reader.read(at, length))),
  };
}

/** Bytes that values of `shape` take; `bytes` those of JSON. @throws RingwayError `BAD_ARGUMENT` naming a bad field. */
export function shapeBytes(shape: Shape, bytes: number, what: string): number {
  if (shape === 'none') return 0;
  return shape === 'json' ? bytes : structBytes(shape, what);
}

/**
 * The codec of `shape`, for values at addresses from `base` on. `what` names them in messages of errors.
 * @throws RingwayError `BAD_ARGUMENT` naming a bad field.
 */
export function createCodec(arena: Arena, base: number, shape: Shape, bytes: number, what: string): Codec {
  if (shape === 'none') return NONE;
  return shape === 'json' ? createJsonCodec(arena, base, bytes, what) : createStructCodec(arena, base, shape, what);
}
