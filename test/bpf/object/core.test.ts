import { expect, test } from 'vitest';
import { disassemble } from '#build/bpf/disassemble.js';
import { resolveCore } from '#build/bpf/object/core-relocations.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { fixture, program } from './objects.ts';

const FIELD = { OFFSET: 0, BYTES: 1, EXISTS: 2, SIGNED: 3, LSHIFT: 4, RSHIFT: 5 };
const TYPE = { LOCAL: 6, TARGET: 7, EXISTS: 8, SIZE: 9, MATCHES: 12 };
const ENUM = { EXISTS: 10, VALUE: 11 };

const { btf, parts } = fixture('core');
const fail = (problem: string): Error => new Error(problem);

/** The result of each record of the fixture about a type, by path and kind: its value, or what is missing. */
const results = new Map(
  [...parts.ext.core.values()].flat().map((record) => {
    const result = resolveCore(btf as never, record, fail);
    const key = `${btf?.describe(record.type)} ${btf?.text(record.access)} ${record.kind}`;
    return [key, 'value' in result ? Number(result.value) : result.missing];
  }),
);

test.each([
  // struct own: a word, a bitfield of 7 bits and one of 9 bits in the next word, 8 bytes, an array of u16.
  ['struct own', '0:1', FIELD.OFFSET, 4],
  ['struct own', '0:1', FIELD.BYTES, 4],
  ['struct own', '0:1', FIELD.SIGNED, 0],
  ['struct own', '0:1', FIELD.LSHIFT, 64 - 7],
  ['struct own', '0:1', FIELD.RSHIFT, 64 - 7],
  ['struct own', '0:2', FIELD.SIGNED, 1],
  ['struct own', '0:2', FIELD.LSHIFT, 64 - 16],
  ['struct own', '0:2', FIELD.RSHIFT, 64 - 9],
  ['struct own', '0:3', FIELD.OFFSET, 8],
  ['struct own', '0:3', FIELD.BYTES, 8],
  ['struct own', '0:4:2', FIELD.OFFSET, 20],
  ['struct own', '0', TYPE.SIZE, 24],
  ['struct own', '0', TYPE.EXISTS, 1],
  ['struct task_struct', '0', TYPE.EXISTS, 0],
  ['struct task_struct', '0:0', FIELD.EXISTS, 0],
  ['struct task_struct', '0:1', FIELD.OFFSET, 'struct task_struct.tgid'],
  ['enum bpf_func_id___here', '0', ENUM.EXISTS, 1],
  ['enum bpf_func_id___here', '1', ENUM.EXISTS, 0],
  ['enum colour', '1', ENUM.VALUE, 5],
  // Its fields are in another order than the dataplane's, and one is not there.
  ['struct xdp_md___kernel', '0:0', FIELD.OFFSET, 16],
  ['struct xdp_md___kernel', '0:3', FIELD.EXISTS, 0],
  ['struct xdp_md___kernel', '0:3', FIELD.OFFSET, 'struct xdp_md___kernel.color'],
])('%s %s, kind %i: %s', (type, path, kind, expected) => {
  expect(results.get(`${type} ${path} ${kind}`)).toBe(expected);
});

test('the number of a type is its own', () => {
  const id = btf?.find('own', 'struct')?.id;
  expect(results.get(`struct own 0 ${TYPE.LOCAL}`)).toBe(id);
});

test('results are in the instructions', () => {
  const text = disassemble(program('core', 'fields'));
  // ctx->rx_queue_index, own->list[2], own->wide.
  expect(text).toContain('       3: r7 = *(u32 *)(r6 + 16)');
  expect(text).toContain('      18: r2 = *(u16 *)(r0 + 20)');
  expect(text).toContain('      19: r1 = *(u64 *)(r0 + 8)');
  // FUNC_LOOP does not exist; GREEN is 5.
  expect(text).toContain('      95: r2 = 0 ll');
  expect(text).toContain('      99: r2 = 5 ll');
});

test('what is missing is removed where a check leads past it', () => {
  for (const name of ['fields', 'guarded']) {
    const linked = program('core', name);
    expect(linked.missing).toBeUndefined();
    verifyStructure(linked);
  }
});

test('what is missing and used is an error that names it and the line', () => {
  expect(() => verifyStructure(program('core', 'unguarded'))).toThrow(
    /struct task_struct\.pid is used, which exists only in a kernel.*core\.c:\d+:\d+ \(unguarded, instruction \d+\)/,
  );
});

test.each([
  [{ type: 0, path: '0:1', kind: FIELD.OFFSET }, /member 1 of .*none such/],
  [{ type: 'own', path: '0:9', kind: FIELD.OFFSET }, /member 9 of struct own, which has none such/],
  [{ type: 'own', path: '0:0:0', kind: FIELD.OFFSET }, /member 0 of struct own\.first/],
  [{ type: 'own', path: '0', kind: 99 }, /kind 99\. Kinds are 0 to 12/],
  [{ type: 'own', path: '0', kind: ENUM.VALUE }, /value 0 of struct own/],
  [{ type: 'own', path: 'x', kind: FIELD.OFFSET }, /path x\. A path is up to 64 numbers/],
  [{ type: 'own', path: '1e99', kind: FIELD.OFFSET }, /path 1e99/],
])('a relocation %o is refused', ({ type, path, kind }, message) => {
  const id = typeof type === 'string' ? (btf?.find(type, 'struct')?.id ?? 0) : type;
  const text = (offset: number): string => (offset === -1 ? path : (btf?.text(offset) ?? ''));
  const patched = Object.assign(Object.create(btf as object), { text });
  for (const name of ['type', 'resolve', 'size', 'describe']) {
    patched[name] = (...args: unknown[]) =>
      (btf as never as Record<string, (...all: unknown[]) => unknown>)[name]?.(...args);
  }
  expect(() => resolveCore(patched, { pc: 0, type: id, access: -1, kind }, fail)).toThrow(message);
});
