import { expect, test } from 'vitest';
import { Btf } from '#build/bpf/object/btf.js';
import { readBtfExt } from '#build/bpf/object/btf-ext.js';
import { decodeValue } from '#build/bpf/object/values.js';
import { fixture } from './objects.ts';

const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
};

/** Makes a section .BTF type by type. */
class Builder {
  readonly #types: number[] = [];
  #strings = '\0';
  #count = 0;

  name(text: string): number {
    if (text === '') return 0;
    const at = this.#strings.length;
    this.#strings += `${text}\0`;
    return at;
  }

  /** Adds a type; gives its id. `words` follow the first three; `word` is its size or the type that it is about. */
  add(kind: number, name: string, word: number, words: number[] = [], { count = 0, flag = false } = {}): number {
    const info = (flag ? 0x80000000 : 0) + kind * 2 ** 24 + count;
    this.#types.push(this.name(name), info, word, ...words);
    return ++this.#count;
  }

  bytes(): Uint8Array {
    const strings = Buffer.from(this.#strings, 'latin1');
    const bytes = new Uint8Array(24 + this.#types.length * 4 + strings.length);
    const view = new DataView(bytes.buffer);
    const typeBytes = this.#types.length * 4;
    view.setUint16(0, 0xeb9f, true);
    view.setUint8(2, 1);
    for (const [index, word] of [24, 0, typeBytes, typeBytes, strings.length].entries())
      view.setUint32(4 + index * 4, word, true);
    for (const [index, word] of this.#types.entries()) view.setUint32(24 + index * 4, word, true);
    bytes.set(strings, 24 + typeBytes);
    return bytes;
  }

  build(): Btf {
    return new Btf(this.bytes(), 'x.o');
  }
}

test('types of every kind are read', () => {
  const b = new Builder();
  const int = b.add(KIND.INT, 'int', 4, [0x01000020]);
  const bool = b.add(KIND.INT, '_Bool', 1, [0x04000008]);
  const pointer = b.add(KIND.PTR, '', int);
  const array = b.add(KIND.ARRAY, '', 0, [int, int, 5]);
  const struct = b.add(KIND.STRUCT, 's', 8, [b.name('a'), int, 0, b.name('b'), int, (5 << 24) | 32], {
    count: 2,
    flag: true,
  });
  const union = b.add(KIND.UNION, 'u', 4, [b.name('c'), int, 0], { count: 1 });
  const enumeration = b.add(KIND.ENUM, 'e', 4, [b.name('E'), 0xffffffff], { count: 1, flag: true });
  const forward = b.add(KIND.FWD, 'f', 0, [], { flag: true });
  const typedef = b.add(KIND.TYPEDEF, 't', struct);
  const chain = [KIND.VOLATILE, KIND.CONST, KIND.RESTRICT, KIND.TYPE_TAG].reduce(
    (id, kind) => b.add(kind, 'tag', id),
    typedef,
  );
  const proto = b.add(KIND.FUNC_PROTO, '', int, [b.name('p'), pointer], { count: 1 });
  const func = b.add(KIND.FUNC, 'main', proto, [], { count: 1 });
  const variable = b.add(KIND.VAR, 'v', int, [1]);
  const section = b.add(KIND.DATASEC, '.data', 4, [variable, 0, 4], { count: 1 });
  const float = b.add(KIND.FLOAT, 'double', 8);
  const tag = b.add(KIND.DECL_TAG, 'note', struct, [0xffffffff]);
  const wide = b.add(KIND.ENUM64, 'w', 8, [b.name('W'), 1, 2], { count: 1 });
  const btf = b.build();

  expect(btf.count).toBe(wide + 1);
  expect(btf.type(0)).toEqual({ id: 0, name: '', kind: 'void' });
  expect(btf.type(int)).toEqual({ id: int, name: 'int', kind: 'int', bytes: 4, bits: 32, signed: true, bool: false });
  expect(btf.type(bool)).toMatchObject({ bytes: 1, bits: 8, bool: true });
  expect(btf.type(pointer)).toMatchObject({ kind: 'ptr', type: int });
  expect(btf.type(array)).toMatchObject({ kind: 'array', type: int, count: 5 });
  expect(btf.type(struct)).toMatchObject({
    kind: 'struct',
    bytes: 8,
    members: [
      { name: 'a', type: int, bitOffset: 0, bits: 0 },
      { name: 'b', type: int, bitOffset: 32, bits: 5 },
    ],
  });
  expect(btf.type(union)).toMatchObject({ kind: 'union', members: [{ name: 'c', bitOffset: 0, bits: 0 }] });
  expect(btf.type(enumeration)).toMatchObject({ kind: 'enum', signed: true, values: [{ name: 'E', value: -1n }] });
  expect(btf.type(forward)).toMatchObject({ kind: 'fwd', union: true });
  expect(btf.resolve(chain)).toBe(btf.type(struct));
  expect(btf.type(proto)).toMatchObject({ kind: 'func_proto', type: int, parameters: [{ name: 'p', type: pointer }] });
  expect(btf.type(func)).toMatchObject({ kind: 'func', type: proto, linkage: 1 });
  expect(btf.type(variable)).toMatchObject({ kind: 'var', type: int, linkage: 1 });
  expect(btf.type(section)).toMatchObject({
    kind: 'datasec',
    bytes: 4,
    variables: [{ type: variable, offset: 0, bytes: 4 }],
  });
  expect(btf.type(float)).toMatchObject({ kind: 'float', bytes: 8 });
  expect(btf.type(tag)).toMatchObject({ kind: 'decl_tag', type: struct });
  expect(btf.type(wide)).toMatchObject({ kind: 'enum64', values: [{ name: 'W', value: (2n << 32n) | 1n }] });

  expect([int, pointer, array, struct, chain, wide].map((id) => btf.size(id))).toEqual([4, 8, 20, 8, 8, 8]);
  expect([pointer, array, chain, forward, func].map((id) => btf.describe(id))).toEqual([
    'int *',
    'int[5]',
    'const volatile t',
    'union f',
    'main',
  ]);
  expect(btf.find('s')).toBe(btf.type(struct));
  expect(btf.find('s', 'union')).toBeUndefined();
  expect(btf.find('absent')).toBeUndefined();
});

test('chains that lead to themselves end', () => {
  const b = new Builder();
  const [first, second] = [b.add(KIND.TYPEDEF, 'a', 2), b.add(KIND.CONST, '', 1)];
  const array = b.add(KIND.ARRAY, '', 0, [3, 3, 1]);
  const pointer = b.add(KIND.PTR, '', 4);
  const struct = b.add(KIND.STRUCT, 's', 8, [b.name('s'), 5, 0], { count: 1 });
  const variable = b.add(KIND.VAR, 'v', 6, [1]);
  const btf = b.build();
  expect(() => btf.resolve(first)).toThrow(
    /x\.o: section \.BTF: type 1 is named and qualified more than 32 times over/,
  );
  expect(() => btf.size(second)).toThrow(/more than 32 times/);
  expect(() => btf.size(array)).toThrow(/array of more than 32 dimensions/);
  expect(btf.size(pointer)).toBe(8);
  expect(btf.describe(pointer)).toContain('…');
  expect(() => decodeValue(btf, struct, new Uint8Array(8))).toThrow(/deeper than 32/);
  expect(() => decodeValue(btf, variable, new Uint8Array(8))).toThrow(/deeper than 32/);
});

test('a section among its own variables is one type', () => {
  const b = new Builder();
  const section = b.add(KIND.DATASEC, '.data', 4, [1, 0, 4], { count: 1 });
  const btf = new Btf(b.bytes(), 'x.o', { bytesOf: () => 4, offsetOf: () => 0 });
  expect(btf.type(section)).toMatchObject({ kind: 'datasec' });
});

test('sizes that no memory has are refused', () => {
  const b = new Builder();
  const int = b.add(KIND.INT, 'int', 4, [0x20]);
  const large = b.add(KIND.ARRAY, '', 0, [int, int, 0xffffffff]);
  const larger = b.add(KIND.ARRAY, '', 0, [large, int, 0xffffffff]);
  const empty = b.add(KIND.STRUCT, 'empty', 0);
  const many = b.add(KIND.ARRAY, '', 0, [empty, int, 0xffffffff]);
  const btf = b.build();
  expect(() => btf.size(large)).toThrow(/type 2 has 17179869180 bytes\. Types have 4294967295 or fewer/);
  expect(() => btf.size(larger)).toThrow(/bytes/);
  expect(btf.size(many)).toBe(0);
  expect(decodeValue(btf, many, new Uint8Array(1))).toEqual([]);
  expect(() => btf.size(0)).toThrow(/type 0 \(\(anonymous void\)\) has no size/);
});

test('unions within unions cannot stand for any number of values', () => {
  const b = new Builder();
  let inner = b.add(KIND.INT, 'int', 4, [0x20]);
  for (let depth = 0; depth < 30; depth++) {
    inner = b.add(KIND.UNION, `u${depth}`, 4, [b.name('a'), inner, 0, b.name('b'), inner, 0], { count: 2 });
  }
  expect(() => decodeValue(b.build(), inner, new Uint8Array(4))).toThrow(/more than 4194304 parts/);
});

const good = (): Uint8Array => {
  const b = new Builder();
  b.add(KIND.INT, 'int', 4, [0x20]);
  return b.bytes();
};
const broken = (at: number, value: number): (() => Btf) => {
  const bytes = good();
  new DataView(bytes.buffer).setUint32(at, value, true);
  return () => new Btf(bytes, 'x.o');
};

test.each([
  ['no header', () => new Btf(new Uint8Array(23), 'x.o'), /\(23 bytes\) has no header of BTF/],
  ['another magic', broken(0, 0), /has no header/],
  ['another version', broken(0, 0x0002eb9f), /must begin with 0xeb9f, version 1/],
  ['types behind the end', broken(12, 1000), /1000 bytes of types at 0 .* must end within its/],
  ['strings behind the end', broken(20, 1000), /1000 of strings/],
  ['a header behind the end', broken(4, 0xffffffff), /header of 4294967295/],
  ['an unknown kind', broken(28, 31 << 24), /type 1 at 0x0 has kind 31\. Kinds are 1 to 19/],
  ['void among its types', broken(28, 0), /has kind 0/],
  ['a type that is cut', broken(28, (KIND.STRUCT << 24) | 2), /type 1 ends at 0x24\. The types have 0x10 bytes/],
  ['a name that is not there', () => broken(24, 999)().type(1), /there is no string at 0x3e7/],
  ['no such type', () => new Btf(good(), 'x.o').type(2), /type 2 is asked for\. There are types 0 to 1/],
])('%s is refused', (_, run, message) => {
  expect(run).toThrow(expect.objectContaining({ code: 'BAD_OBJECT' }));
  expect(run).toThrow(message);
});

test('an enum of an old compiler has signs where its values say so', () => {
  const b = new Builder();
  const signed = b.add(KIND.ENUM, 'a', 4, [b.name('A'), 0xfffffffe, b.name('B'), 1], { count: 2 });
  const unsigned = b.add(KIND.ENUM, 'b', 4, [b.name('C'), 0x80000000], { count: 1 });
  const btf = b.build();
  expect(btf.type(signed)).toMatchObject({ signed: true, values: [{ value: -2n }, { value: 1n }] });
  expect(btf.type(unsigned)).toMatchObject({ signed: false, values: [{ value: 0x80000000n }] });
});

test('.BTF.ext has functions, lines and relocations by section', () => {
  const { btf, parts } = fixture('core');
  const functions = parts.ext.functions.get('xdp') ?? [];
  expect(functions.map(({ type }) => btf?.type(type).name)).toEqual(['fields', 'guarded', 'unguarded']);
  const lines = parts.ext.lines.get('xdp') ?? [];
  expect(lines.length).toBeGreaterThan(20);
  expect(lines.map(({ pc }) => pc)).toEqual(lines.map(({ pc }) => pc).sort((a, b) => a - b));
  expect(parts.ext.core.get('xdp')?.length).toBeGreaterThan(10);
});

const extension = (words: number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer);
const HEADER = [0x0001eb9f, 24];

test.each([
  ['no header', [0], /\(4 bytes\) has no header/],
  ['another magic', [1, 24, 0, 0, 0, 0], /has no header/],
  ['a table behind the end', [...HEADER, 0, 100, 0, 0], /func_info: 100 bytes at 0x18, with records of 0/],
  ['records that are too small', [...HEADER, 0, 4, 0, 0, 4], /func_info: .*records of 4\. .*records have 8 or more/],
  ['records of odd sizes', [...HEADER, 0, 0, 0, 4, 18], /line_info: .*a multiple of 4/],
  ['more records than bytes', [...HEADER, 0, 12, 0, 0, 8, 1, 0xffffffff], /4294967295 records at 0x1c/],
  ['no records', [...HEADER, 0, 12, 0, 0, 8, 1, 0], /0 records at/],
  ['half an instruction', [...HEADER, 0, 20, 0, 0, 8, 1, 1, 12, 1], /a record at .* for offset 12 of a section/],
])('.BTF.ext with %s is refused', (_, words, message) => {
  expect(() => readBtfExt(extension(words), new Btf(good(), 'x.o'), 'x.o')).toThrow(message);
});
