import { alignUp } from '../../util/bits.ts';
import { RingwayError } from '../../util/errors.ts';
import { CodecError, type MapCodec } from './codec.ts';

/** Keys and values of one map, between bytes and what TypeScript sees: values by CPU are arrays. */
export class EntryCodec<Key = unknown, Value = unknown> {
  readonly #name: string;
  readonly #codec: MapCodec<Key, Value>;
  readonly #valueBytes: number;
  readonly #cpus: number | undefined;

  /**
   * @param name the map's, for messages.
   * @param valueBytes of one value.
   * @param cpus CPUs that there are values for; undefined when all share one.
   */
  constructor(name: string, codec: MapCodec<Key, Value>, valueBytes: number, cpus: number | undefined) {
    this.#name = name;
    this.#codec = codec;
    this.#valueBytes = valueBytes;
    this.#cpus = cpus;
  }

  /** Bytes of what is written and read at once: one value, or one for each CPU, each at a multiple of 8. */
  get bytes(): number {
    return this.#cpus === undefined ? this.#valueBytes : this.#cpus * alignUp(this.#valueBytes, 8);
  }

  decodeKey(bytes: Uint8Array): Key {
    return this.#codec.decodeKey(bytes);
  }

  /** @throws RingwayError `BAD_ARGUMENT` when it is no key of the map. */
  encodeKey(key: Key): Uint8Array {
    return this.#encode('key', () => this.#codec.encodeKey(key));
  }

  decodeValue(bytes: Uint8Array): Value {
    if (this.#cpus === undefined) return this.#codec.decodeValue(bytes);
    const stride = alignUp(this.#valueBytes, 8);
    return Array.from({ length: this.#cpus }, (_, cpu) =>
      this.#codec.decodeValue(bytes.slice(cpu * stride, cpu * stride + this.#valueBytes)),
    ) as Value;
  }

  /** @throws RingwayError `BAD_ARGUMENT` when it is no value of the map; with values by CPU, no array with one for each. */
  encodeValue(value: Value): Uint8Array {
    if (this.#cpus === undefined) return this.#encode('value', () => this.#codec.encodeValue(value));
    if (!Array.isArray(value) || value.length !== this.#cpus) {
      throw new RingwayError('BAD_ARGUMENT', `map ${this.#name}: values by CPU must be an array of ${this.#cpus}`);
    }
    const stride = alignUp(this.#valueBytes, 8);
    const bytes = new Uint8Array(this.bytes);
    for (const [cpu, one] of value.entries()) {
      const encoded = this.#encode('value', () => this.#codec.encodeValue(one));
      checkSize(this.#name, encoded, this.#valueBytes, 'value');
      bytes.set(encoded, cpu * stride);
    }
    return bytes;
  }

  #encode(what: 'key' | 'value', encode: () => Uint8Array): Uint8Array {
    try {
      return encode();
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      throw new RingwayError('BAD_ARGUMENT', `map ${this.#name}: ${what} ${error.message}`, { cause: error });
    }
  }
}

/** @throws RingwayError `BAD_ARGUMENT` when `bytes` are not `size`. */
export function checkSize(map: string, bytes: Uint8Array, size: number, what: 'key' | 'value'): void {
  if (bytes.length === size) return;
  throw new RingwayError('BAD_ARGUMENT', `map ${map}: ${what} of ${bytes.length} bytes, must be ${size}`);
}
