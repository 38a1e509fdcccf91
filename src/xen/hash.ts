import type { Arena } from '../memory/arena.ts';
import { RSS_KEY, RSS_TYPES, TOEPLITZ_KEY_BYTES } from '../packet/layout.ts';
import {
  CTRL_HASH_NONE,
  CTRL_HASH_TOEPLITZ,
  CTRL_STATUS_INVALID,
  CTRL_STATUS_OVERFLOW,
  CTRL_STATUS_SUCCESS,
  VIFHASH_ALGORITHM,
  VIFHASH_BYTES,
  VIFHASH_MAPPING,
  VIFHASH_RSS,
  VIFHASH_SIZE,
  VIFHASH_SIZE_MAX,
} from './control-layout.ts';

/** NETIF_CTRL_HASH_TYPE_…: bits by family and protocol, and what `rssHash` calls them: bit r - 1 of HASH_REPORT_r. */
const TYPES: readonly (readonly [bit: number, rss: number])[] = [
  [1, 1],
  [2, 2],
  [4, 8],
  [8, 16],
];
/** All of them: addresses of IPv4 and IPv6, with the ports of TCP or without: 8, 12, 32 or 36 bytes. */
export const HASH_FLAGS = 15;

/** What a frontend has set of how packets are spread over its queues. Kernels read it, `vifSteer` for one. */
export class HashSettings {
  readonly #arena: Arena;
  readonly #address: number;
  /** Queues that the frontend has. */
  readonly #queues: number;

  /** @param address VIFHASH_BYTES, which are made what they are before anything is set. */
  constructor(arena: Arena, address: number, queues: number) {
    this.#arena = arena;
    this.#address = address;
    this.#queues = queues;
    this.reset();
  }

  #set(offset: number, value: number): void {
    this.#arena.u32[(this.#address + offset) >>> 2] = value;
  }

  reset(): void {
    this.#arena.u8.fill(0, this.#address, this.#address + VIFHASH_BYTES);
  }

  /** Each returns a CTRL_STATUS_…; what is refused changes nothing. */
  setAlgorithm(algorithm: number): number {
    if (algorithm !== CTRL_HASH_NONE && algorithm !== CTRL_HASH_TOEPLITZ) return CTRL_STATUS_INVALID;
    this.#set(VIFHASH_ALGORITHM, algorithm);
    return CTRL_STATUS_SUCCESS;
  }

  setFlags(flags: number): number {
    if ((flags & ~HASH_FLAGS) !== 0) return CTRL_STATUS_INVALID;
    const types = TYPES.reduce((mask, [bit, rss]) => (flags & bit ? mask | rss : mask), 0);
    this.#set(VIFHASH_RSS + RSS_TYPES, types);
    return CTRL_STATUS_SUCCESS;
  }

  /** @param key at most 40 bytes; a shorter one ends in zeroes. */
  setKey(key: Uint8Array): number {
    if (key.length > TOEPLITZ_KEY_BYTES) return CTRL_STATUS_OVERFLOW;
    const at = this.#address + VIFHASH_RSS + RSS_KEY;
    this.#arena.u8.fill(0, at, at + TOEPLITZ_KEY_BYTES).set(key, at);
    return CTRL_STATUS_SUCCESS;
  }

  /** Makes a mapping of `size` entries, all of queue 0; of none, the hash alone decides. */
  setMappingSize(size: number): number {
    if (size > VIFHASH_SIZE_MAX) return CTRL_STATUS_INVALID;
    this.#set(VIFHASH_SIZE, 0);
    for (let i = 0; i < size; i++) this.#set(VIFHASH_MAPPING + i * 4, 0);
    this.#set(VIFHASH_SIZE, size);
    return CTRL_STATUS_SUCCESS;
  }

  /** True when `count` entries from `offset` on are in the mapping. */
  fits(offset: number, count: number): boolean {
    // Numbers of JavaScript: the sum of two u32 does not wrap.
    return offset + count <= (this.#arena.u32[(this.#address + VIFHASH_SIZE) >>> 2] ?? 0);
  }

  setMapping(offset: number, queues: readonly number[]): number {
    if (!this.fits(offset, queues.length)) return CTRL_STATUS_OVERFLOW;
    if (queues.some((queue) => queue >= this.#queues)) return CTRL_STATUS_INVALID;
    for (const [i, queue] of queues.entries()) this.#set(VIFHASH_MAPPING + (offset + i) * 4, queue);
    return CTRL_STATUS_SUCCESS;
  }
}
