import { expect, test } from 'vitest';
import { loadObject } from '#build/bpf/object/load.js';
import { lineOf, placeOf } from '#build/bpf/program.js';
import { fixture, fixtureBytes, program } from './objects.ts';

/** A fixture with the number at an offset changed. */
function changed(name: string, at: number, value: number, bytes: 1 | 2 | 4 = 2): Uint8Array {
  const copy = fixtureBytes(name);
  const view = new DataView(copy.buffer);
  if (bytes === 1) view.setUint8(at, value);
  else if (bytes === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value, true);
  return copy;
}

/** Offset in the file of the header of the section with an index. */
const headerAt = (name: string, index: number): number => {
  const view = new DataView(fixtureBytes(name).buffer);
  return view.getUint32(40, true) + index * 64;
};

test('programs are listed with what their sections say', () => {
  expect(fixture('sections').programs).toEqual([
    { name: 'plain', section: 'xdp', type: 'xdp', frags: false },
    { name: 'frags', section: 'xdp.frags', type: 'xdp', frags: true },
    { name: 'devmap', section: 'xdp/devmap', type: 'xdp/devmap', frags: false },
    { name: 'frags_devmap', section: 'xdp.frags/devmap', type: 'xdp/devmap', frags: true },
    { name: 'cpumap', section: 'xdp/cpumap', type: 'xdp/cpumap', frags: false },
    { name: 'frags_cpumap', section: 'xdp.frags/cpumap', type: 'xdp/cpumap', frags: true },
    { name: 'replacement', section: 'freplace/prog0', type: 'freplace', frags: false },
    { name: 'classify', section: 'tc', type: undefined, frags: false },
  ]);
});

test('sections of old programs have any name that begins with xdp, and several programs', () => {
  const { programs, license, btf } = fixture('legacy');
  expect(programs.map(({ name, section, type }) => [name, section, type])).toEqual([
    ['pass_all', 'xdp_pass', 'xdp'],
    ['count_all', 'xdp_count', 'xdp'],
    ['count_some', 'xdp_count', 'xdp'],
  ]);
  expect(license).toBe('GPL');
  expect(btf).toBeUndefined();
});

test('the license is the text of its section', () => {
  expect(fixture('maps').license).toBe('Dual BSD/GPL');
});

test('instructions have their source lines', () => {
  const linked = program('maps', 'divert');
  const call = linked.code.findIndex(({ opcode, imm }) => opcode === 0x85 && imm === 131);
  expect(lineOf(linked, call)).toMatchObject({ file: './maps.c', line: 75 });
  expect(placeOf(linked, call)).toBe(
    './maps.c:75:29 (divert, instruction 5): struct counters *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);',
  );
  // Line 0 is what compilers say of code of their own.
  const raw = fixture('core').parts.ext.lines.get('xdp') ?? [];
  expect(raw.some(({ line }) => line === 0)).toBe(true);
  expect(program('core', 'fields').lines.every(({ line }) => line > 0)).toBe(true);
  expect(program('legacy', 'count_all').lines).toEqual([]);
});

test('the file may be changed when it has been read', () => {
  const bytes = fixtureBytes('maps');
  const object = loadObject(bytes);
  bytes.fill(0);
  expect(object.parts.elf.section('license')?.bytes[0]).toBe('D'.charCodeAt(0));
});

test.each([
  ['too short', new Uint8Array(63), /^x\.o: the file \(63 bytes\) is no ELF file\. Compile/],
  ['of another magic', changed('maps', 1, 0, 1), /is no ELF file/],
  ['of 32 bits', changed('maps', 4, 1, 1), /says class 1, .*must say class 2/],
  ['of another byte order', changed('maps', 5, 2, 1), /byte order 2/],
  ['linked', changed('maps', 16, 2), /type 2, .*type 1 \(relocatable\)/],
  ['of another machine', changed('maps', 18, 62), /machine 62.*machine 247/],
  ['with headers behind its end', changed('maps', 40, 0x7fffffff, 4), /section headers of 64 bytes at 0x7fffffff/],
  ['with headers of another size', changed('maps', 58, 40), /section headers of 40 bytes/],
  ['without sections', changed('maps', 60, 0), /says 0 section headers/],
  ['without names', changed('maps', 62, 99), /section 99 has the sections' names\. It must be a string table/],
  ['with a name that has no end', changed('maps', headerAt('maps', 2), 0xffff, 4), /section 2 has its name at 0xffff/],
  [
    'with a section behind its end',
    changed('maps', headerAt('maps', 2) + 24, 99999, 4),
    /section 2 has 0 bytes at 0x1869f/,
  ],
  [
    'with sections over each other',
    changed('maps', headerAt('maps', 3) + 32, 6000, 4),
    /section 3 has|must not overlap/,
  ],
])('a file %s is refused', (_, bytes, message) => {
  expect(() => loadObject(bytes, { file: 'x.o' })).toThrow(expect.objectContaining({ code: 'BAD_OBJECT' }));
  expect(() => loadObject(bytes, { file: 'x.o' })).toThrow(message);
});

test('sections that lie on each other are refused: they could stand for any number of bytes', () => {
  const bytes = fixtureBytes('maps');
  const view = new DataView(bytes.buffer);
  const [start, count] = [view.getUint32(40, true), view.getUint16(60, true)];
  for (let index = 1; index < count; index++) {
    const at = start + index * 64;
    if (view.getUint32(at + 4, true) === 1) {
      view.setUint32(at + 24, 64, true);
      view.setUint32(at + 32, bytes.length - 64, true);
    }
  }
  expect(() => loadObject(bytes)).toThrow(/Sections must not overlap/);
});

test('a symbol table that has been stripped is missed', () => {
  const bytes = fixtureBytes('legacy');
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < view.getUint16(60, true); index++) {
    const at = headerAt('legacy', index) + 4;
    if (view.getUint32(at, true) === 2) view.setUint32(at, 1, true);
  }
  expect(() => loadObject(bytes)).toThrow(/no symbol table/);
});
