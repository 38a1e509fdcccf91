import type { Arena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { createStructCodec, type StructFields, type StructOf, structBytes } from './codec-struct.ts';
import { ArenaText } from './text.ts';

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

function createJsonCodec(arena: Arena, bytes: number, what: string): Codec {
  const text = new ArenaText(arena);
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
      const n = text.write(json, at, bytes);
      if (n >= 0) return n;
      throw new RingwayError(
        'BAD_ARGUMENT',
        `${what} takes ${Buffer.byteLength(json)} bytes as JSON, ${bytes} are allowed (messageBytes): ${json.slice(0, 60)}…`,
      );
    },
    decode: (at, length) => (length === 0 ? undefined : JSON.parse(text.read(at, length))),
  };
}

/** Bytes that values of `shape` take; `bytes` those of JSON. @throws RingwayError `BAD_ARGUMENT` naming a bad field. */
export function shapeBytes(shape: Shape, bytes: number, what: string): number {
  if (shape === 'none') return 0;
  return shape === 'json' ? bytes : structBytes(shape, what);
}

/**
 * The codec of `shape`. `what` names the values in messages of errors.
 * @throws RingwayError `BAD_ARGUMENT` naming a bad field.
 */
export function createCodec(arena: Arena, shape: Shape, bytes: number, what: string): Codec {
  if (shape === 'none') return NONE;
  return shape === 'json' ? createJsonCodec(arena, bytes, what) : createStructCodec(arena, shape, what);
}
