import { readFileSync } from 'node:fs';
import {
  assemble,
  compileProgram,
  createContext,
  createMap,
  decodeInstructions,
  disassemble,
  encodeInstructions,
  instantiateProgram,
  interpret,
  linkProgram,
  loadObject,
  type Program,
  programOf,
  verifyStructure,
} from 'ringway/bpf';
import { createArena } from 'ringway/memory';
import { expect, test } from 'vitest';

/** r0 of a program without a packet: compiled, and interpreted. */
function both(program: Program, r1 = 0n, r2 = 0n, setup: { seed?: number; nowNs?: bigint } = {}): bigint[] {
  verifyStructure(program);
  const arena = createArena({ bytes: 1 << 20 });
  const maps = program.maps.map((map) => createMap(arena, map, { cpus: 1, seed: 1 }));
  const options = { maps, checked: true, hasContext: false };
  const context = createContext(arena, { ...setup, maps });
  const compiled = instantiateProgram(arena, compileProgram(arena, program, options)).run(context, r1, r2);
  const fresh = createContext(arena, { ...setup, name: 'other', maps });
  const addresses = maps.map(({ address }) => address);
  const { r0 } = interpret({ arena, context: fresh, program, maps: addresses, checked: true, registers: { r1, r2 } });
  return [BigInt.asUintN(64, compiled), r0];
}

test('a program is assembled, verified, compiled and interpreted', () => {
  expect(both(programOf(assemble('mov %r0, %r1\nmul %r0, %r2\nexit')), 6n, 7n)).toEqual([42n, 42n]);
});

test('the time stands still where it is set, and random numbers are those of the seed', () => {
  const nowNs = 1_700_000_000_123_456_789n;
  expect(both(programOf(assemble('call ktime_get_ns\nexit')), 0n, 0n, { nowNs })).toEqual([nowNs, nowNs]);
  const random = programOf(assemble('call get_prandom_u32\nexit'));
  const [one, two] = [both(random, 0n, 0n, { seed: 1 }), both(random, 0n, 0n, { seed: 2 })];
  expect(one[0]).toBe(one[1]);
  expect(one[0]).not.toBe(two[0]);
});

test('a checked program reaches the maps that its context was made for, and no others', () => {
  const text = `
    lddw %r1, map 0
    stw [%r10-4], 1
    mov %r2, %r10
    add %r2, -4
    call map_lookup_elem
    jne %r0, 0, found
    exit
  found:
    ldxdw %r3, [%r0+0]
    add %r3, 41
    stxdw [%r0+0], %r3
    ldxdw %r0, [%r0+0]
    exit`;
  const definition = { name: 'counts', kind: 2, keyBytes: 4, valueBytes: 8, maxEntries: 2, flags: 0, pinned: false };
  // Both engines run over one map.
  expect(both(programOf(assemble(text), 'count', [definition]))).toEqual([41n, 82n]);
});

test('an object file is read and linked, and its text names lines, helpers and maps', () => {
  const bytes = readFileSync(new URL('../../examples/xdp/drop-list.o', import.meta.url));
  const object = loadObject(bytes, { file: 'drop-list.o' });
  const program = linkProgram(object);
  verifyStructure(program);
  expect(program.maps.map(({ name }) => name).sort()).toEqual(object.maps.map(({ name }) => name).sort());
  const text = disassemble(program, { source: true }).join('\n');
  expect(text).toMatch(/; .*drop-list\.c:\d+: /);
  expect(text).toContain('map_lookup_elem');
  expect(decodeInstructions(encodeInstructions(program.code))).toEqual(program.code);
  expect(() => linkProgram(object, 'nothing')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  expect(() => loadObject(bytes.subarray(0, 100), { file: 'cut.o' })).toThrow(/cut\.o/);
});
