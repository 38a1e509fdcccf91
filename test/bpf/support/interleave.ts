import type { Arena } from 'ringway/memory';
import { CTX_BYTES, CTX_CPU } from '#build/bpf/layout.js';
import { createMap } from '#build/bpf/maps/create.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';
import { definition, type HelperKernels } from './maps.ts';

/** One call of a helper, or of TypeScript's `read`. */
export interface Op {
  readonly what: 'update' | 'delete' | 'lookup' | 'read';
  /** Number of the key. */
  readonly key: number;
  readonly value: number;
  readonly flags: number;
}

/** What a call gave: an error number, or the value, or undefined when nothing was found. */
export type Result = number | string | undefined;

/** What the map should do: gives the result, and changes `state`. */
export type Model = (state: Map<number, number>, op: Op) => Result;

interface Kernels extends HelperKernels {
  bpfMapRead(map: number, key: number, target: number): bigint;
}

const EBUSY = -16;
/** -E2BIG, -ENOSPC. */
const FULL = [-7, -28];

/** A map, and two lcores: one whose calls are interrupted at an access to memory, and one that calls meanwhile. */
export class Interleaver {
  readonly map: BpfMap;
  readonly #arena: Arena;
  readonly #traced: TracedArena;
  readonly #contexts: readonly number[];
  readonly #keyOf: (key: number) => Uint8Array;
  readonly #region: { address: number; bytes: number };

  constructor(kind: number, keyBytes: number, maxEntries: number, keyOf: (key: number) => Uint8Array) {
    const arena = testArena(1 << 20);
    this.#arena = arena;
    this.#traced = new TracedArena(arena);
    this.#keyOf = keyOf;
    this.map = createMap(arena, definition(kind, { keyBytes, valueBytes: 16, maxEntries, flags: 1 }), {
      cpus: 2,
      seed: 3,
    });
    this.#contexts = [0, 1].map((cpu) => {
      const context = arena.allocate(`context ${cpu}`, CTX_BYTES);
      arena.u32[(context + CTX_CPU) >>> 2] = cpu;
      return context;
    });
    const region = arena.regions().find(({ address }) => address === this.map.address);
    if (region === undefined) throw new Error('the map has no region');
    this.#region = region;
  }

  /** The whole map as it is now. */
  save(): Uint8Array {
    return this.#arena.u8.slice(this.#region.address, this.#region.address + this.#region.bytes);
  }

  restore(saved: Uint8Array): void {
    this.#arena.u8.set(saved, this.#region.address);
  }

  /** Makes one call; `cpu` 0 with traced kernels. */
  call(cpu: 0 | 1, op: Op): Result {
    const kernels = (cpu === 0 ? this.#traced : this.#arena).kernels<Kernels>();
    const ctx = this.#contexts[cpu] as number;
    const { u8, u32 } = this.#arena;
    const [key, value] = [ctx + 1024, ctx + 2048];
    u8.set(this.#keyOf(op.key), key);
    // All words say the same: a mixture would show.
    u32.fill(op.value, value >>> 2, (value + 16) >>> 2);
    const { address } = this.map;
    if (op.what === 'update') return Number(kernels.bpfMapUpdate(ctx, address, key, value, BigInt(op.flags)));
    if (op.what === 'delete') return Number(kernels.bpfMapDelete(ctx, address, key));
    if (op.what === 'lookup') return kernels.bpfMapLookup(ctx, address, key) === 0 ? undefined : 'found';
    if (kernels.bpfMapRead(address, key, value) !== 0n) return undefined;
    return u32.slice(value >>> 2, (value + 16) >>> 2).join();
  }

  /** Makes `op`, with `others` in between, before its access number `at`. Undefined when it has no so many. */
  interrupt(op: Op, others: readonly Op[], at: number): { result: Result; others: Result[] } | undefined {
    const results: Result[] = [];
    let left = at;
    let done = false;
    this.#traced.onAccess(() => {
      if (left-- !== 0) return;
      done = true;
      for (const other of others) results.push(this.call(1, other));
    });
    const result = this.call(0, op);
    this.#traced.onAccess();
    return done ? { result, others: results } : undefined;
  }

  /** What is in the map: keys' bytes and the first word of their values. */
  content(): [string, number][] {
    const keys = [...this.map.keys()].map((key) => toBytes(key, this.map.definition.keyBytes));
    return keys
      .map((key): [string, number] => [
        `${key}`,
        new Uint32Array(this.map.getBytes(key)?.buffer ?? new ArrayBuffer(4))[0] ?? 0,
      ])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** The same of a model. */
  expected(state: ReadonlyMap<number, number>): [string, number][] {
    return [...state]
      .map(([key, value]): [string, number] => [`${this.#keyOf(key)}`, value])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

function toBytes(key: unknown, bytes: number): Uint8Array {
  if (key instanceof Uint8Array) return key;
  const whole = new Uint8Array(8);
  new DataView(whole.buffer).setBigUint64(0, BigInt(key as number | bigint), true);
  return whole.slice(0, bytes);
}

/**
 * Whether there is an order of the calls, with the others in theirs and `op` somewhere among them, in which the model gives
 * these results and this content. Calls that found a place held did nothing; nor did those that found the map full when one
 * entry was about to come or to go, and had its room.
 */
export function hasOrder(
  interleaver: Interleaver,
  model: Model,
  before: ReadonlyMap<number, number>,
  op: Op,
  others: readonly Op[],
  got: { result: Result; others: Result[] },
): boolean {
  const content = JSON.stringify(interleaver.content());
  return Array.from({ length: others.length + 1 }, (_, place) => place).some((place) => {
    const state = new Map(before);
    const room = interleaver.map.definition.maxEntries - 1;
    const apply = (each: Op, result: Result): boolean => {
      if (result === EBUSY || (FULL.includes(result as number) && state.size >= room)) return true;
      return model(state, each) === result;
    };
    const fits = (from: number, to: number): boolean =>
      others.slice(from, to).every((other, index) => apply(other, got.others[from + index]));
    return (
      fits(0, place) &&
      apply(op, got.result) &&
      fits(place, others.length) &&
      JSON.stringify(interleaver.expected(state)) === content
    );
  });
}
