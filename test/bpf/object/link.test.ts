import { expect, test } from 'vitest';
import { disassemble, instructionText } from '#build/bpf/disassemble.js';
import { linkProgram } from '#build/bpf/object/load.js';
import { functionOf } from '#build/bpf/program.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { fixture, program } from './objects.ts';

const names = (list: readonly { readonly name: string }[]): string[] => list.map(({ name }) => name);

test('without a name it is the only program', () => {
  expect(program('data').name).toBe('vary');
  expect(program('data')).toMatchObject({ section: 'xdp.frags', type: 'xdp', frags: true });
});

test.each([
  ['maps', undefined, 'NOT_FOUND', /maps\.o: it has 2 programs .* Its programs: count \(xdp\), divert \(xdp\)\./],
  ['maps', 'absent', 'NOT_FOUND', /it has no program absent\. Its programs: count/],
  [
    'sections',
    'classify',
    'UNSUPPORTED',
    /program classify is in section tc\. Programs that can be run are .* xdp\/devmap/,
  ],
] as const)('%s.o has no program %s to link', (file, name, code, message) => {
  const link = () => linkProgram(fixture(file), name);
  expect(link).toThrow(expect.objectContaining({ code }));
  expect(link).toThrow(message);
});

test('a program comes with all functions that it calls, each once', () => {
  const linked = program('calls', 'first');
  expect(names(linked.functions)).toEqual(['first', 'global_one', 'elsewhere', 'middle', 'deepest']);
  expect(linked.functions.map(({ start }) => start)).toEqual([
    0,
    ...linked.functions.slice(0, -1).map(({ end }) => end),
  ]);
  expect(linked.functions.at(-1)?.end).toBe(linked.code.length);
  verifyStructure(linked);
});

test('calls lead to the functions that the source calls', () => {
  const linked = program('calls', 'second');
  const calls = linked.code.flatMap(({ opcode, src, imm }, pc) => {
    if (opcode !== 0x85 || src !== 1) return [];
    const target = functionOf(linked, pc + 1 + imm);
    expect(target?.start).toBe(pc + 1 + imm);
    return [`${functionOf(linked, pc)?.name} ${target?.name}`];
  });
  expect(new Set(calls)).toEqual(
    new Set([
      'second middle',
      'second first',
      'first global_one',
      'first elsewhere',
      'global_one middle',
      'elsewhere deepest',
      'middle deepest',
    ]),
  );
});

test('lines go with their functions', () => {
  const linked = program('calls', 'first');
  for (const { pc, text } of linked.lines.filter(({ text }) => text.includes('int middle('))) {
    expect([functionOf(linked, pc)?.name, text]).toEqual(['middle', expect.stringContaining('middle')]);
  }
  const pcs = linked.lines.map(({ pc }) => pc);
  expect(pcs).toEqual([...pcs].sort((a, b) => a - b));
});

test('maps are numbered by their first use, and those that they hold follow', () => {
  expect(names(program('maps', 'count').maps)).toEqual(['totals', 'flows']);
  expect(names(program('maps', 'divert').maps)).toEqual(['events', 'devices']);
  expect(names(program('nested', 'entry').maps)).toEqual(['outer', 'tenants', 'jumps', 'first', 'third']);
});

test('variables are offsets in the value of their section', () => {
  const linked = program('data');
  const references = linked.code.flatMap(({ opcode, src, imm }, pc) =>
    opcode === 0x18 ? [[src, linked.maps[imm]?.name, linked.code[pc + 1]?.imm]] : [],
  );
  expect(references).toContainEqual([6, '.data.special', 0]);
  expect(references).toContainEqual([6, '.rodata', 0]);
  expect(references).toContainEqual([6, '.bss', 0]);
  expect(references.every(([src]) => src === 6)).toBe(true);
});

test('the address of a function is its distance', () => {
  const linked = program('externs', 'looping');
  const pc = linked.code.findIndex(({ opcode, src }) => opcode === 0x18 && src === 4);
  expect(names(linked.functions)).toEqual(['looping', 'step', 'bpf_loop.step']);
  expect(pc + 1 + (linked.code[pc]?.imm ?? 0)).toBe(linked.functions[1]?.start);
  expect(instructionText(linked, pc)).toBe('r2 = 0 ll # function step');
});

test('what is weak and missing is 0, and a call of it is gone when a check leads past it', () => {
  const linked = program('externs', 'asked');
  expect(linked.missing).toBeUndefined();
  expect(disassemble(linked)).toEqual([
    'asked:',
    '       0: r0 = 2',
    '       1: r2 = 0 ll',
    '       3: if r2 == 0 goto +1',
    '       4: r0 = 0',
    '       5: exit',
  ]);
  verifyStructure(linked);
});

test('a call of what is missing is an error where it can run', () => {
  const linked = program('externs', 'weak');
  expect(linked.missing).toEqual(new Map([[4, 'weak_function']]));
  expect(instructionText(linked, 4)).toBe('call 2002000000 # missing: weak_function');
  expect(() => verifyStructure(linked)).toThrow(
    /program weak: weak_function is used, which exists only in a kernel.*At .*externs\.c:20:/,
  );
});

test('configuration is 0, but for the version', () => {
  const linked = program('externs', 'configured');
  expect(linked.maps).toEqual([expect.objectContaining({ name: '.kconfig', flags: 128, valueBytes: 16 })]);
  expect(linked.maps[0]?.initial).toEqual(Uint8Array.of(0, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  expect(linked.code.slice(0, 2).map(({ src, imm }) => [src, imm])).toEqual([
    [6, 0],
    [0, 8],
  ]);
  expect(program('externs', 'versioned').code[1]?.imm).toBe(0);
});

test.each([
  ['strong', /externs\.o: \.\/externs\.c:41, function strong, instruction 0: it needs strong_function/],
  ['variable', /it needs strong_variable, which the file only declares/],
] as const)('what is missing and not weak is an error: %s', (name, message) => {
  expect(() => program('externs', name)).toThrow(message);
});

test('variables that hold addresses are an error where they are used', () => {
  expect(() => program('pointers', 'named')).toThrow(/section \.rodata, which has pointers/);
  expect(names(program('pointers', 'unaffected').maps)).toEqual(['.data']);
});

test('a program can take the place of a function', () => {
  const maps = fixture('maps');
  const linked = linkProgram(fixture('dispatcher'), 'dispatch', {
    replace: {
      slot0: { object: maps, program: 'count' },
      slot1: { object: fixture('sections'), program: 'replacement' },
      slot2: { object: maps, program: 'divert' },
    },
  });
  verifyStructure(linked);
  expect(names(linked.functions)).toEqual(['dispatch', 'count', 'replacement', 'divert']);
  expect(names(linked.maps)).toEqual(['.rodata', 'totals', 'flows', 'events', 'devices']);
  // The code is that of the programs by themselves, but for the numbers of maps.
  const alone = program('maps', 'divert');
  const { start = 0, end } = linked.functions[3] ?? {};
  const renumbered = linked.code
    .slice(start, end)
    .map((each) => (each.src === 5 ? { ...each, imm: each.imm - 3 } : each));
  expect(renumbered).toEqual(alone.code);
});

test('one program in the place of two functions is there once', () => {
  const object = fixture('sections');
  const replace = { slot0: { object, program: 'plain' }, slot1: { object, program: 'plain' } };
  const linked = linkProgram(fixture('dispatcher'), 'dispatch', { replace });
  expect(names(linked.functions)).toEqual(['dispatch', 'plain', 'slot2']);
});

test('what is not there cannot be replaced', () => {
  const replace = { absent: { object: fixture('maps'), program: 'count' } };
  expect(() => linkProgram(fixture('dispatcher'), 'dispatch', { replace })).toThrow(
    /dispatcher\.o: it has no function absent to be replaced\. Its global functions: slot0, slot1, slot2, dispatch\./,
  );
});
