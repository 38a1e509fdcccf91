import fc from 'fast-check';
import { expect } from 'vitest';
import { KIND_HASH, KIND_LPM_TRIE, KIND_LRU_HASH } from '#build/bpf/layout.js';
import { hasOrder, Interleaver, type Model, type Op } from './interleave.ts';

const [ENOENT, E2BIG, EEXIST, ENOSPC] = [-2, -7, -17, -28];
const MAX = 4;

const READS = ['lookup', 'read'] as const;
const WRITES = ['update', 'update', 'delete'] as const;

const op = (keys: number, whats: readonly Op['what'][]): fc.Arbitrary<Op> =>
  fc.record({
    what: fc.constantFrom(...whats),
    key: fc.nat(keys - 1),
    value: fc.integer({ min: 1, max: 1000 }),
    flags: fc.constantFrom(0, 0, 0, 1, 2),
  });

/** A model of a map that refuses what has no room with `full`, and in which `find` says what covers a key. */
const modelWith =
  (full: number, find: (state: Map<number, number>, key: number) => number | undefined): Model =>
  (state, { what, key, value, flags }) => {
    if (what === 'update') {
      const exists = state.has(key);
      if (exists && flags === 1) return EEXIST;
      if (!exists && flags === 2) return ENOENT;
      if (!exists && state.size === MAX) return full;
      state.set(key, value);
      return 0;
    }
    if (what === 'delete') return state.delete(key) ? 0 : ENOENT;
    const found = find(state, key);
    if (found === undefined) return undefined;
    return what === 'lookup' ? 'found' : [found, found, found, found].join();
  };

/** How many cases are tried, of look-ups that writers interrupt, and of writers that anybody does. */
export interface Runs {
  readonly readers: number;
  readonly writers: number;
}

/** Takes what is left away, and fills the map: no element has gone missing. */
function expectRoom(interleaver: Interleaver, model: Model, keys: number): void {
  for (let key = 0; key < keys; key++) interleaver.call(1, { what: 'delete', key, value: 0, flags: 0 });
  const filled = new Map<number, number>();
  for (let key = 0; key < keys; key++) {
    const fill: Op = { what: 'update', key, value: 1, flags: 0 };
    expect(interleaver.call(1, fill)).toBe(model(filled, fill));
  }
}

/** Calls interrupted before each of their accesses to memory, by others that run to their ends. */
function explore(interleaver: Interleaver, model: Model, keys: number, runs: Runs): void {
  const empty = interleaver.save();
  const check = (firsts: readonly Op['what'][], others: readonly Op['what'][], numRuns: number): void => {
    const shape = fc.tuple(
      fc.array(op(keys, WRITES), { minLength: 3, maxLength: 12 }),
      op(keys, firsts),
      fc.array(op(keys, others), { minLength: 1, maxLength: 6 }),
    );
    fc.assert(
      fc.property(shape, ([prepared, first, rest]) => {
        interleaver.restore(empty);
        const state = new Map<number, number>();
        for (const each of prepared) expect(interleaver.call(1, each)).toBe(model(state, each));
        const saved = interleaver.save();
        for (let at = 0; ; at++) {
          interleaver.restore(saved);
          const got = interleaver.interrupt(first, rest, at);
          if (got === undefined) break;
          if (!hasOrder(interleaver, model, state, first, rest, got)) {
            expect({ at, state: [...state], first, rest, got, content: interleaver.content() }).toBe('in some order');
          }
          if (firsts === WRITES) expectRoom(interleaver, model, keys);
        }
      }),
      { numRuns },
    );
  };
  check(READS, WRITES, runs.readers);
  check(WRITES, [...READS, ...WRITES], runs.writers);
}

const number = (key: number): Uint8Array => new Uint8Array(Uint32Array.of(key * 7).buffer);

/** A hash: whatever comes between two accesses of a call, there is an order of all of them. */
export function exploreHash(runs: Runs): void {
  const model = modelWith(E2BIG, (state, key) => state.get(key));
  explore(new Interleaver(KIND_HASH, 4, MAX, number), model, 7, runs);
}

/** Prefixes within each other: key n is the first n bits of one address, or of another that leaves it after bit 3. */
const PREFIXES: readonly [number, number][] = [
  [0, 0],
  [3, 0b10100000],
  [8, 0b10110000],
  [8, 0b10100000],
  [5, 0b10111000],
  [16, 0b10100000],
];
const prefix = (key: number): Uint8Array => {
  const [bits = 0, data = 0] = PREFIXES[key] ?? [];
  return Uint8Array.of(bits, 0, 0, 0, data, 0);
};
const covers = (a: number, b: number): boolean => {
  const [[bits = 0, data = 0], [others = 0, other = 0]] = [PREFIXES[a] ?? [], PREFIXES[b] ?? []];
  return bits <= others && (bits === 0 || (data ^ other) >> Math.max(0, 8 - bits) === 0);
};

/** The same of a trie. */
export function exploreTrie(runs: Runs): void {
  const model = modelWith(ENOSPC, (state, key) => {
    const covering = [...state.keys()].filter((each) => covers(each, key));
    const longest = covering.sort((a, b) => (PREFIXES[b]?.[0] ?? 0) - (PREFIXES[a]?.[0] ?? 0))[0];
    return longest === undefined ? undefined : state.get(longest);
  });
  explore(new Interleaver(KIND_LPM_TRIE, 6, MAX, prefix), model, PREFIXES.length, runs);
}

/** An LRU hash: values stay with their keys, and no element goes missing. */
export function exploreLru(numRuns: number): void {
  const interleaver = new Interleaver(KIND_LRU_HASH, 4, MAX, number);
  const empty = interleaver.save();
  fc.assert(
    fc.property(
      fc.array(op(7, WRITES), { minLength: 4, maxLength: 12 }),
      op(7, [...READS, ...WRITES]),
      fc.array(op(7, [...READS, ...WRITES]), { minLength: 1, maxLength: 5 }),
      (prepared, first, others) => {
        interleaver.restore(empty);
        // The value of a key is the key's.
        const own = (each: Op): Op => ({ ...each, value: each.key + 1, flags: 0 });
        for (const each of prepared) interleaver.call(1, own(each));
        const saved = interleaver.save();
        for (let at = 0; ; at++) {
          interleaver.restore(saved);
          const got = interleaver.interrupt(own(first), others.map(own), at);
          if (got === undefined) break;
          const content = interleaver.content();
          expect(new Set(content.map(([key]) => key)).size).toBe(content.length);
          expect(content.length).toBeLessThanOrEqual(MAX);
          const words = [first, ...others].map(({ key }) => [key + 1, key + 1, key + 1, key + 1].join());
          for (const [index, result] of [got.result, ...got.others].entries()) {
            if (typeof result === 'string' && result !== 'found') expect(result).toBe(words[index]);
            if (typeof result === 'number') expect([0, ENOENT, -12, -16]).toContain(result);
          }
          for (let key = 0; key < 7; key++) interleaver.call(1, { what: 'delete', key, value: 0, flags: 0 });
          for (let key = 0; key < MAX; key++) interleaver.call(1, { what: 'update', key, value: 1, flags: 0 });
          expect(interleaver.map.size).toBe(MAX);
        }
      },
    ),
    { numRuns },
  );
}
