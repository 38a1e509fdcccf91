import type { Arena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { CONTROL_LOCK, CONTROL_SCRATCH, CURSOR_BYTES, CURSOR_KEYS } from './layout.ts';

/** The kernels of maps that TypeScript calls. */
export interface MapKernels {
  bpfMapRead(map: number, key: number, target: number): bigint;
  bpfMapWrite(map: number, key: number, value: number, flags: bigint): bigint;
  bpfMapErase(map: number, key: number): bigint;
  bpfMapKeys(map: number, cursor: number, target: number, room: number): number;
  bpfMapCount(map: number): number;
}

/** Looks at the word of a scratch area that another thread holds, before it is given up: some tenths of a second. */
const LOOKS_MAX = 1 << 24;
/** Times that a call is made again when lcores hold its bucket. */
const TRIES_MAX = 8;
const EBUSY = 16;

/** Reads and writes a map by bytes, through its scratch area, which one thread has at a time. */
export class MapAccess {
  readonly #arena: Arena;
  readonly #kernels: MapKernels;
  readonly #address: number;
  readonly #name: string;
  readonly #keyBytes: number;
  readonly #scratch: number;
  readonly #valueAt: number;

  constructor(arena: Arena, address: number, name: string, keyBytes: number) {
    this.#arena = arena;
    this.#kernels = arena.kernels<MapKernels>();
    this.#address = address;
    this.#name = name;
    this.#keyBytes = keyBytes;
    const keyRoom = Math.ceil(keyBytes / 8) * 8;
    // Scratch: a cursor, the key, keys of an iteration, the value.
    this.#scratch = arena.u32[(address + CONTROL_SCRATCH) >>> 2] ?? 0;
    this.#valueAt = this.#scratch + CURSOR_BYTES + keyRoom * (1 + CURSOR_KEYS);
  }

  get #keyAt(): number {
    return this.#scratch + CURSOR_BYTES;
  }

  #exclusively<T>(work: () => T): T {
    const { i32 } = this.#arena;
    const lock = (this.#address + CONTROL_LOCK) >>> 2;
    for (let looks = 0; Atomics.compareExchange(i32, lock, 0, 1) !== 0; looks++) {
      if (looks === LOOKS_MAX) {
        throw new RingwayError('BUSY', `map ${this.#name}: another thread does not end its call; did it die?`);
      }
    }
    try {
      return work();
    } finally {
      Atomics.store(i32, lock, 0);
    }
  }

  /** What `call` returns, as an error number (0: none), after some more calls while lcores hold its bucket. */
  #errno(call: () => bigint): number {
    let errno = 0;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      errno = -Number(call());
      if (errno !== EBUSY) break;
    }
    return errno;
  }

  /** Copies the value of `bytes` bytes under `key`. Undefined when there is none. */
  read(key: Uint8Array, bytes: number): Uint8Array | undefined {
    return this.#exclusively(() => {
      this.#arena.u8.set(key, this.#keyAt);
      const errno = this.#errno(() => this.#kernels.bpfMapRead(this.#address, this.#keyAt, this.#valueAt));
      return errno === 0 ? this.#arena.u8.slice(this.#valueAt, this.#valueAt + bytes) : undefined;
    });
  }

  /** Writes a value. Returns 0 or an error number. */
  write(key: Uint8Array, value: Uint8Array, flags: number): number {
    return this.#exclusively(() => {
      this.#arena.u8.set(key, this.#keyAt);
      this.#arena.u8.set(value, this.#valueAt);
      return this.#errno(() => this.#kernels.bpfMapWrite(this.#address, this.#keyAt, this.#valueAt, BigInt(flags)));
    });
  }

  /** Removes an entry. Returns 0 or an error number. */
  erase(key: Uint8Array): number {
    return this.#exclusively(() => {
      this.#arena.u8.set(key, this.#keyAt);
      return this.#errno(() => this.#kernels.bpfMapErase(this.#address, this.#keyAt));
    });
  }

  count(): number {
    return this.#kernels.bpfMapCount(this.#address);
  }

  /** The keys that there are, each batch of them a moment's. */
  *keys(): Generator<Uint8Array> {
    const { u32, u8 } = this.#arena;
    const cursor = this.#scratch >>> 2;
    const at = this.#keyAt + Math.ceil(this.#keyBytes / 8) * 8;
    let [bucket, skip] = [0, 0];
    while (true) {
      const batch = this.#exclusively(() => {
        u32[cursor] = bucket;
        u32[cursor + 1] = skip;
        const n = this.#kernels.bpfMapKeys(this.#address, this.#scratch, at, CURSOR_KEYS);
        [bucket, skip] = [u32[cursor] ?? 0, u32[cursor + 1] ?? 0];
        return u8.slice(at, at + n * this.#keyBytes);
      });
      if (batch.length === 0) return;
      for (let from = 0; from < batch.length; from += this.#keyBytes) {
        yield batch.slice(from, from + this.#keyBytes);
      }
    }
  }
}
