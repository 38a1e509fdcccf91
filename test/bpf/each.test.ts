import fc from 'fast-check';
import { createArena } from 'ringway/memory';
import { loadXdp } from 'ringway/xdp';
import { describe, expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { initContext } from '#build/bpf/context.js';
import { CTX_BYTES, FAULT_FUEL, KIND_HASH, KIND_LRU_HASH, KIND_PERCPU_HASH } from '#build/bpf/layout.js';
import { withLoops, withoutLoops } from '#build/bpf/loops.js';
import { createMap, mapBytes, releaseMap } from '#build/bpf/maps/create.js';
import { EACH_AGAIN, EACH_KEY } from '#build/bpf/maps/layout.js';
import type { Program } from '#build/bpf/program.js';
import { prove } from '#build/bpf/verifier/proof.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { closeAll, KernelProgram, kernelMaps } from '../support/kernel-program.ts';
import { definition } from './jit/support.ts';
import { program as clangProgram, fixturePath } from './object/objects.ts';
import { compiledEngine, usedMaps } from './support/differential.ts';
import { DEFINITIONS, FIXTURE, MAPS } from './support/fixture.ts';
import { makeEngines } from './support/sweep.ts';
import { World } from './support/world.ts';

const { interpreter, compiled, kernel } = makeEngines();
const engines = [interpreter, ...compiled, compiledEngine(new World(2), { checked: true, isProven: true }), ...kernel];
const packet = new Uint8Array(64);

const raw = (text: string): Program => programOf(assemble(text), 'each', DEFINITIONS);
function programFrom(text: string): Program {
  const program = withLoops(raw(text));
  verifyStructure(program);
  return program;
}

/** Goes through a map: r0 = 1000 for each entry that it says there were, and what rounds added to the data. */
const over = (map: number, round: string, flags = 0): string => `
  stdw [%r10-8], 0
  lddw %r1, map ${map}
  lddw %r2, function round
  mov %r3, %r10
  add %r3, -8
  mov %r4, ${flags}
  call 164
  mul %r0, 1000
  ldxdw %r1, [%r10-8]
  add %r0, %r1
  exit
  round: ${round}
  exit`;

/** Adds the first bytes of key and value. */
const ADD = `ldxb %r0, [%r2]
  ldxb %r5, [%r3]
  add %r0, %r5
  ldxdw %r5, [%r4]
  add %r5, %r0
  stxdw [%r4], %r5
  mov %r0, 0`;

function run(program: Program): number[] {
  return engines.map((engine) => {
    const loaded = engine.load(program);
    const { r0, fault } = loaded.run(packet);
    // The kernel's maps are put right by it.
    loaded.contents(usedMaps(program));
    loaded.close();
    expect(fault, engine.name).toBeUndefined();
    return r0;
  });
}

const everywhere = (value: number): number[] => engines.map(() => value >>> 0);

describe('bpf_for_each_map_elem', () => {
  const kinds = ['hash', 'sparse', 'array', 'cpuHash', 'cpuArray', 'lru', 'cpuLru', 'innerArray', 'innerHash'] as const;
  test.each(kinds)('tells each entry of %s', (name) => {
    const { definition: map, initial } = FIXTURE[MAPS[name]] as (typeof FIXTURE)[0];
    const isArray = name === 'array' || name === 'cpuArray' || name === 'innerArray';
    const values = new Map(initial.map(([key, value]) => [key[0], value[0] ?? 0]));
    const keys = isArray ? Array.from({ length: map.maxEntries }, (_, index) => index) : [...values.keys()];
    const sum = keys.reduce<number>((all, key) => all + (key ?? 0) + (values.get(key) ?? 0), 0);
    expect(run(programFrom(over(MAPS[name], ADD)))).toEqual(everywhere(keys.length * 1000 + sum));
  });

  test('ends where a round says so, and takes no flags', () => {
    expect(run(programFrom(over(MAPS.array, ADD.replace('mov %r0, 0', 'mov %r0, 1'))))).toEqual(
      run(programFrom(over(MAPS.array, `ldxb %r0, [%r3]\nstxdw [%r4], %r0\nmov %r0, 1`))),
    );
    expect(run(programFrom(over(MAPS.hash, ADD, 1)))).toEqual(everywhere(-22 * 1000));
  });

  test('the entry that is told may be removed, or given another value', () => {
    const count = FIXTURE[MAPS.hash]?.initial.length ?? 0;
    const removed = over(MAPS.hash, 'call 3\nmov %r0, 0').replace(
      '  mul %r0, 1000',
      `mov %r6, %r0
      lddw %r1, map ${MAPS.hash}
      lddw %r2, function round
      mov %r3, 0
      mov %r4, 0
      call 164
      mul %r0, 100
      add %r0, %r6`,
    );
    expect(run(programFrom(removed))).toEqual(everywhere(count));
    expect(run(programFrom(over(MAPS.hash, 'mov %r4, 0\ncall 2\nmov %r0, 0')))).toEqual(everywhere(count * 1000));
  });

  test.each([
    ['fill', 6 * 1000 + 55],
    ['sweep', 40 * 10_000 + 21 * 100 + 19],
    ['nested', 3 * 600 + 3 * 6],
  ] as const)('what clang makes of it gives the same everywhere, and is accepted: %s', async (prog, expected) => {
    const program = clangProgram('each', prog);
    const verdict = verifyProgram(program);
    expect(verdict.accepted ? '' : verdict.rejection.text).toBe('');
    expect(prove(program)).toBeDefined();
    for (const engine of ['jit', 'interpreter'] as const) {
      for (const trusted of [false, true]) {
        expect((await loadXdp(fixturePath('each'), { prog, engine, trusted })).run(packet).returned).toBe(expected);
      }
    }
    if (kernel.length === 0) return;
    const maps = kernelMaps(program.maps);
    const loaded = new KernelProgram(program, maps);
    expect(loaded.run(packet).r0).toBe(expected);
    loaded.close();
    closeAll(maps);
  });

  test('kernels get what the object has, and nobody else may ask for the next entry', () => {
    const before = raw(over(MAPS.hash, ADD));
    const { loops, ...after } = withoutLoops(withLoops(before));
    expect(loops?.calls.size).toBe(1);
    expect(after).toEqual(before);
    expect(() => verifyStructure(raw('mov %r0, 0\ncall 65536\nexit'))).toThrow(/helper 65536 is called/);
  });

  test('a checked program whose rounds take too long is ended', () => {
    const program = programFrom(over(MAPS.hash, `mov %r1, 0\nagain: add %r1, 1\njne %r1, 0, again\nmov %r0, 0`));
    for (const engine of [interpreter, ...compiled.slice(1)]) {
      const loaded = engine.load(program);
      expect(loaded.run(packet).fault?.kind, engine.name).toBe(FAULT_FUEL);
    }
  });
});

const ENTRIES = 24;
const KEYS = 40;

/** What is done to a map between two steps: a key is given a value, or removed. */
const change = fc.record({ key: fc.nat(KEYS - 1), isRemoval: fc.boolean() });

test.each([KIND_HASH, KIND_LRU_HASH, KIND_PERCPU_HASH])(
  'entries of kind %i that stay as they are while others come and go are told once, and there is an end',
  (kind) => {
    const map = definition('each', kind, { maxEntries: ENTRIES });
    const arena = createArena({ bytes: mapBytes(map, 2) + (64 << 10) });
    const context = arena.allocate('context', CTX_BYTES);
    initContext(arena, context, { cpu: 1, clock: arena.allocate('clock', 8), seed: 1 });
    const place = arena.allocate('place', 64);
    const { bpfNextElement } = arena.kernels<{ bpfNextElement(c: number, m: number, p: number, s: number): number }>();
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(KEYS - 1), { maxLength: ENTRIES / 2 }),
        fc.array(fc.array(change, { maxLength: 3 }), { maxLength: 60 }),
        fc.nat(),
        (keys, steps, seed) => {
          const one = createMap<number>(arena, map, { cpus: 2, seed });
          const value = one.cpus === undefined ? 7n : [7n, 7n];
          for (const key of keys) one.set(key, value);
          const touched = new Set<number>();
          const told: number[] = [];
          arena.u8.fill(0, place, place + 64);
          for (let step = 0; ; step++) {
            expect(step).toBeLessThan(4 * (ENTRIES + 3));
            const found = bpfNextElement(context, one.address, place, 64) >>> 0;
            if (found === 0) break;
            if (found === EACH_AGAIN) continue;
            const key = arena.u32[(place + EACH_KEY) >>> 2] ?? 0;
            told.push(key);
            let isGone = false;
            for (const { key: other, isRemoval } of steps[step] ?? []) {
              touched.add(other);
              // One that comes back in its own round may bring back those behind it.
              if (other === key && !isRemoval && isGone) continue;
              isGone ||= isRemoval && other === key;
              if (isRemoval) one.delete(other);
              else if (one.size < ENTRIES - 1 || one.has(other)) one.set(other, value);
            }
          }
          const stayed = keys.filter((key) => !touched.has(key));
          for (const key of stayed) expect(told.filter((each) => each === key).length).toBe(1);
          releaseMap(arena, one);
        },
      ),
      { numRuns: 200 },
    );
  },
);

test('what is written over where it stands leads nowhere else, and there is an end', () => {
  const map = definition('each', KIND_HASH, { maxEntries: ENTRIES });
  const arena = createArena({ bytes: mapBytes(map, 1) + (64 << 10) });
  const context = arena.allocate('context', CTX_BYTES);
  initContext(arena, context, { cpu: 0, clock: arena.allocate('clock', 8), seed: 1 });
  const place = arena.allocate('place', 64);
  const one = createMap<number>(arena, map, { cpus: 1, seed: 1 });
  for (let key = 0; key < ENTRIES; key++) one.set(key, 1n);
  const [range] = one.ranges();
  const { bpfNextElement } = arena.kernels<{ bpfNextElement(c: number, m: number, p: number, s: number): number }>();
  const word = fc.oneof(
    fc.nat(80),
    fc.integer().map((value) => value >>> 0),
  );
  fc.assert(
    fc.property(fc.tuple(word, word, word), fc.nat(64), (words, size) => {
      arena.u32.set(words, place >>> 2);
      const found = bpfNextElement(context, one.address, place, size) >>> 0;
      const { address, bytes } = range as { address: number; bytes: number };
      expect(found === 0 || found === EACH_AGAIN || (found >= address && found < address + bytes)).toBe(true);
      if (size < EACH_KEY + 4) expect(found).toBe(0);
    }),
    { numRuns: 500 },
  );
});
