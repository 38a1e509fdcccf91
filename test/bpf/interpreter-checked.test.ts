import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import type { Execution } from '#build/bpf/interpreter.js';
import * as layout from '#build/bpf/layout.js';
import type { MapDefinition } from '#build/bpf/program.js';
import { MISSING_TYPE } from '#build/bpf/verify.js';
import { type Ground, makeGround, PACKET_BYTES, RANGE_BYTES, runText } from './support/ground.ts';

const KINDS = {
  memory: layout.FAULT_MEMORY,
  alignment: layout.FAULT_ALIGNMENT,
  map: layout.FAULT_MAP,
  helper: layout.FAULT_HELPER,
};
const ground = makeGround();
const { context, packet, range } = ground;
const stack = context + layout.CTX_STACK;
const stackEnd = context + layout.CTX_BYTES;

function checked(text: string, on: Ground = ground, options: Partial<Execution> = {}) {
  return runText(on, text, { checked: true, ...options });
}

test.each<[string, number, number, boolean, boolean]>([
  ['packet, first', packet, 8, true, true],
  ['packet, last', packet + PACKET_BYTES - 8, 8, true, true],
  ['before the packet', packet - 1, 1, false, false],
  ['over the end of the packet', packet + PACKET_BYTES - 7, 8, false, false],
  ['behind the packet', packet + PACKET_BYTES, 1, false, false],
  ['stack, first', stack, 8, true, true],
  ['stack, last', stackEnd - 4, 4, true, true],
  ['over the end of the stack', stackEnd - 2, 4, false, false],
  ['before the stack', stack - 8, 8, false, false],
  ['context', context + 20, 4, true, false],
  ['behind what may be read of the context', context + 22, 4, false, false],
  ['words of the thread', context + layout.CTX_FUEL, 4, false, false],
  ['range, last', range + RANGE_BYTES - 2, 2, true, true],
  ['over the end of the range', range + RANGE_BYTES - 1, 2, false, false],
  ['null', 0, 1, false, false],
  ['the end of all', 0xffff_ffff, 1, false, false],
  ['over the end of all', 0xffff_fffc, 8, false, false],
])('%s', (_, address, bytes, read, write) => {
  const size = { 1: 'b', 2: 'h', 4: 'w', 8: 'dw' }[bytes];
  const wild = { kind: KINDS.memory, pc: 2, address: BigInt(address) };
  const of = (text: string) => checked(`lddw %r1, ${address}\n${text}\nmov %r0, 1\nexit`);
  expect(of(`ldx${size} %r0, [%r1]`)).toEqual(read ? { r0: 1n, steps: 4 } : { r0: 0n, steps: 1, fault: wild });
  expect(of(`st${size} [%r1], 0`).fault).toEqual(write ? undefined : wild);
  expect(of(`stx${size} [%r1], %r2`).fault).toEqual(write ? undefined : wild);
  if (bytes >= 4 && address % bytes === 0) {
    expect(of(`lock add${bytes === 4 ? '32' : ''} [%r1], %r2`).fault).toEqual(write ? undefined : wild);
  }
});

test('a range that is read only can be read, and its words are looked at each time', () => {
  const own = makeGround();
  const writable = (own.arena.u32[(own.context + layout.CTX_RANGES) >>> 2] ?? 0) + layout.RANGE_WRITABLE;
  const set = (value: number): void => {
    own.arena.u32[writable >>> 2] = value;
  };
  set(0);
  expect(checked(`lddw %r1, ${own.range}\nldxw %r0, [%r1]\nexit`, own).fault).toBeUndefined();
  expect(checked(`lddw %r1, ${own.range}\nstw [%r1], 1\nexit`, own).fault?.kind).toBe(KINDS.memory);
  set(1);
  expect(checked(`lddw %r1, ${own.range}\nstw [%r1], 1\nexit`, own).fault).toBeUndefined();
});

test('an address is all 64 bits', () => {
  expect(checked('lddw %r2, 0x100000000\nadd %r2, %r10\nldxb %r0, [%r2-1]\nexit').fault?.kind).toBe(KINDS.memory);
  expect(checked('mov %r2, %r10\nldxb %r0, [%r2-1]\nexit').fault).toBeUndefined();
});

test('metadata counts as packet', () => {
  const own = makeGround();
  const read = `mov %r6, %r1\nldxw %r1, [%r1]\nldxw %r0, [%r1-4]\nexit`;
  expect(checked(read, own).fault?.pc).toBe(2);
  own.arena.u32[(own.context + layout.CTX_DATA_META) >>> 2] = own.packet - 4;
  expect(checked(read, own).fault).toBeUndefined();
});

test('what failed is in the context, and nothing was changed', () => {
  const own = makeGround();
  const word = (offset: number) => own.arena.u32[(own.context + offset) >>> 2];
  checked('lddw %r1, 0x1122334400000010\nmov %r0, 2\nstw [%r1+4], 5\nexit', own);
  expect(word(layout.CTX_FAULT)).toBe(KINDS.memory);
  expect(word(layout.CTX_FAULT_PC)).toBe(3);
  expect(word(layout.CTX_FAULT_ADDRESS)).toBe(0x14);
  expect(word(layout.CTX_FAULT_ADDRESS + 4)).toBe(0x11223344);
  expect(own.arena.u32[5]).toBe(0);
  checked('exit', own);
  expect(word(layout.CTX_FAULT)).toBe(0);
});

test('a fault in a function ends the program', () => {
  const result = checked('mov %r0, 3\ncall local sub\nmov %r0, 2\nexit\nsub: ldxb %r0, [%r0]\nexit');
  expect(result).toEqual({ r0: 0n, steps: 2, fault: { kind: KINDS.memory, pc: 4, address: 0n } });
});

test.each([
  ['lock add [%r10-12], %r1', KINDS.alignment],
  ['lock add32 [%r10-6], %r1', KINDS.alignment],
  ['lock add32 [%r10-4], %r1', undefined],
  ['lock xchg [%r10-16], %r1', undefined],
])('%s', (text, kind) => {
  expect(checked(`${text}\nexit`).fault?.kind).toBe(kind);
});

// ---------------------------------------------------------------- helpers

const MAP: MapDefinition = {
  name: 'm',
  kind: layout.KIND_HASH,
  keyBytes: 8,
  valueBytes: 16,
  maxEntries: 4,
  flags: 0,
  pinned: false,
};

function withMap(kernels: Record<string, (...values: never[]) => number | bigint>, kind: number = MAP.kind) {
  const own = makeGround(kernels);
  const map = own.arena.allocate('map', layout.MAP_BYTES);
  const values = own.arena.allocate('values', 64);
  const words: [number, number][] = [
    [layout.MAP_KIND, kind],
    [layout.MAP_KEY_BYTES, MAP.keyBytes],
    [layout.MAP_VALUE_BYTES, MAP.valueBytes],
    [layout.MAP_MAX_ENTRIES, 4],
    [layout.MAP_VALUES, values],
    [layout.MAP_STRIDE, 8],
  ];
  for (const [offset, value] of words) own.arena.u32[(map + offset) >>> 2] = value;
  const run = (text: string, options: Partial<Execution> = {}) =>
    checked(text, own, { program: programOf(assemble(text), 'main', [MAP]), maps: [map], ...options });
  return { ...own, map, values, run };
}

test('a helper gets the context and its arguments by their kinds; r1 to r5 stay', () => {
  const calls: unknown[][] = [];
  const {
    run,
    context: own,
    map,
  } = withMap({
    bpfMapUpdate: (...values) => {
      calls.push(values);
      return -17n;
    },
  });
  const { r0, fault } = run(`lddw %r1, map 0
    mov %r2, %r10
    add %r2, -8
    mov %r3, %r10
    add %r3, -32
    lddw %r4, 0xffffffffffffffff
    mov %r5, 5
    call map_update_elem
    jne %r5, 5, exit
    jne %r4, -1, exit
    exit`);
  expect(fault).toBeUndefined();
  expect(r0).toBe(2n ** 64n - 17n);
  const frame = own + layout.CTX_STACK + layout.FRAME_BYTES;
  expect(calls).toEqual([[own, map, frame - 8, frame - 32, -1n]]);
});

test.each<[string, number | bigint, string, bigint]>([
  ['address', -16, 'bpfMapLookup', 0xffff_fff0n],
  ['u32', -1, 'bpfPrandom', 0xffff_ffffn],
  ['i64', -2n, 'bpfKtime', 2n ** 64n - 2n],
])('a result of kind %s', (_, result, kernel, expected) => {
  const { run } = withMap({ [kernel]: () => result });
  const call = { bpfMapLookup: 'map_lookup_elem', bpfPrandom: 'get_prandom_u32', bpfKtime: 'ktime_get_ns' }[kernel];
  expect(run(`lddw %r1, map 0\nmov %r2, %r10\nadd %r2, -8\ncall ${call}\nexit`).r0).toBe(expected);
});

test.each<[string, string, number | undefined]>([
  ['a map', 'lddw %r1, map 0\nmov %r2, %r10\nadd %r2, -8\ncall map_lookup_elem', undefined],
  ['no map', 'mov %r1, %r10\nmov %r2, %r10\nadd %r2, -8\ncall map_lookup_elem', KINDS.map],
  ['a place in a map', 'lddw %r1, map 0\nadd %r1, 4\nmov %r2, %r10\ncall map_lookup_elem', KINDS.map],
  ['a wild key', 'lddw %r1, map 0\nmov %r2, 8\ncall map_lookup_elem', KINDS.memory],
  ['a key over the end', `lddw %r1, map 0\nlddw %r2, ${range + RANGE_BYTES - 7}\ncall map_lookup_elem`, KINDS.memory],
  [
    'a value over the end',
    `lddw %r1, map 0\nmov %r2, %r10\nlddw %r3, ${stackEnd - 15}\ncall map_update_elem`,
    KINDS.memory,
  ],
  ['the context', 'call xdp_get_buff_len', undefined],
  ['no context', 'mov %r1, %r10\ncall xdp_get_buff_len', KINDS.memory],
  ['memory', 'mov %r2, 4\nmov %r3, %r10\nmov %r4, 16\nadd %r3, -16\ncall xdp_load_bytes', undefined],
  ['too much memory', 'mov %r2, 4\nmov %r3, %r10\nmov %r4, -1\nadd %r3, -16\ncall xdp_load_bytes', KINDS.memory],
  ['memory that is read only', 'mov %r3, %r1\nmov %r4, 4\ncall xdp_load_bytes', KINDS.memory],
  ['memory to read from', 'mov %r3, %r1\nmov %r4, 4\ncall xdp_store_bytes', undefined],
  ['no memory of no bytes', 'mov %r3, 0\nmov %r4, 0\ncall xdp_store_bytes', undefined],
  ['null of no bytes', 'mov %r1, 0\nmov %r2, 0\nmov %r3, 0\nmov %r4, 0\ncall csum_diff', undefined],
  ['null of some', 'mov %r1, 0\nmov %r2, 8\nmov %r3, 0\nmov %r4, 0\ncall csum_diff', KINDS.memory],
  ['a record, which its kernel looks at', 'mov %r1, 4\ncall ringbuf_submit', undefined],
  [
    'what an odd upper half makes of a map',
    'lddw %r1, map 0\nlddw %r2, 0x100000000\nadd %r1, %r2\ncall map_lookup_elem',
    KINDS.map,
  ],
  ['what it makes of the context', 'lddw %r2, 0x100000000\nadd %r1, %r2\ncall xdp_get_buff_len', KINDS.memory],
  [
    'what it makes of memory',
    'lddw %r3, 0x100000000\nadd %r3, %r10\nadd %r3, -8\nmov %r4, 8\ncall xdp_load_bytes',
    KINDS.memory,
  ],
  ['no memory to write of no bytes', 'mov %r3, 7\nlddw %r4, 0x100000000\ncall xdp_load_bytes', undefined],
])('%s', (_, text, kind) => {
  let called = 0;
  const count = (result: number | bigint) => () => {
    called += 1;
    return result;
  };
  const { run } = withMap({
    bpfMapLookup: count(0),
    bpfMapUpdate: count(0n),
    bpfBuffLen: count(0n),
    bpfLoadBytes: count(0n),
    bpfStoreBytes: count(0n),
    bpfCsumDiff: count(0n),
    bpfRingbufSubmit: count(0n),
  });
  expect(run(`${text}\nexit`).fault?.kind).toBe(kind);
  expect(called).toBe(kind === undefined ? 1 : 0);
});

test('LDDW of a map gives its address, or a place in its value', () => {
  const { run, map, values } = withMap({});
  expect(run('lddw %r0, map 0\nexit').r0).toBe(BigInt(map));
  expect(run('lddw %r0, value 0 + 24\nexit').r0).toBe(BigInt(values + 24));
});

test('a map that a map gave is known by its range', () => {
  const inner = 0x1234;
  const on = withMap({ bpfMapDelete: () => 0n });
  const text = `mov %r1, ${inner}\nmov %r2, %r10\nadd %r2, -8\ncall map_delete_elem\nexit`;
  expect(on.run(text).fault?.kind).toBe(KINDS.map);
  const ranges = on.arena.u32[(on.context + layout.CTX_RANGES) >>> 2] ?? 0;
  on.arena.u32[(ranges + layout.RANGE_MAP) >>> 2] = inner;
  expect(on.run(text).fault).toBeUndefined();
});

test('a helper whose kernel is not in the build is named', () => {
  const own = makeGround({ bpfKtime: undefined });
  expect(() => runText(own, 'call ktime_get_ns\nexit')).toThrow(
    'program, instruction 0: helper 5, ktime_get_ns, has no kernel bpfKtime',
  );
});

test('a call of what is missing ends the program', () => {
  expect(checked(`mov %r0, 1\ncall ${MISSING_TYPE}\nexit`).fault).toEqual({
    kind: KINDS.helper,
    pc: 1,
    address: BigInt(MISSING_TYPE),
  });
});

test('a helper by its number in a register', () => {
  const { run } = withMap({ bpfKtime: () => 9n });
  expect(run('mov %r3, 5\ncall %r3\nexit').r0).toBe(9n);
  expect(run('mov %r3, 4444\ncall %r3\nexit').fault).toEqual({ kind: KINDS.helper, pc: 1, address: 4444n });
  expect(run('mov %r3, 12\ncall %r3\nexit').fault?.kind, 'a tail call').toBe(KINDS.helper);
});

// ---------------------------------------------------------------- tail calls

const CALL = 'mov %r6, %r1\nmov %r0, 77\nlddw %r2, map 0\nmov %r3, 1\ncall tail_call\n';

function withPrograms(texts: Record<number, string>) {
  const on = withMap({}, layout.KIND_PROG_ARRAY);
  const set = (index: number, number: number): void => {
    on.arena.u32[(on.values + index * 8) >>> 2] = number;
  };
  const programs = (number: number) => {
    const text = texts[number];
    return text === undefined
      ? undefined
      : { program: programOf(assemble(text), `target ${number}`, [MAP]), maps: [on.map] };
  };
  return { ...on, set, run: (text: string) => on.run(text, { programs }) };
}

test('a tail call goes on in the other program, with the context in r1 and nothing else', () => {
  const on = withPrograms({ 5: 'mov %r0, %r1\nadd %r0, %r6\nadd %r0, %r2\nexit' });
  on.set(1, 5);
  expect(on.run(`${CALL}mov %r0, 1\nexit`).r0).toBe(BigInt(on.context));
  expect(on.arena.u32[(on.context + layout.CTX_TAIL_CALLS) >>> 2]).toBe(1);
});

test('a tail call that finds nothing leaves r0 and goes on', () => {
  const on = withPrograms({ 5: 'mov %r0, 5\nexit' });
  expect(on.run(`${CALL}exit`).r0).toBe(77n);
  on.set(1, 6);
  expect(on.run(`${CALL}exit`).r0).toBe(77n);
  on.set(1, 5);
  expect(on.run(`${CALL.replace('%r3, 1', '%r3, 4')}exit`).r0).toBe(77n);
  expect(on.run(`${CALL.replace('%r3, 1', '%r3, -1')}exit`).r0).toBe(77n);
  expect(on.run(`${CALL}exit`).r0).toBe(5n);
});

test('33 tail calls are the most', () => {
  const again = 'lddw %r2, map 0\nmov %r3, 1\ncall tail_call\nmov %r0, 9\nexit';
  const on = withPrograms({ 5: again });
  on.set(1, 5);
  const { r0, steps } = on.run(`${CALL}exit`);
  expect(r0).toBe(9n);
  expect(steps).toBe(5 + 33 * 3 + 2);
  expect(on.arena.u32[(on.context + layout.CTX_TAIL_CALLS) >>> 2]).toBe(33);
});

test('a tail call in a function ends that function', () => {
  const on = withPrograms({ 5: 'mov %r0, 5\nexit' });
  on.set(1, 5);
  const text = `call local sub\nadd %r0, 100\nexit\nsub:\n${CALL.replace('mov %r6, %r1', `lddw %r1, ${on.context}`)}exit`;
  expect(on.run(text).r0).toBe(105n);
});

test('a tail call takes only arrays of programs', () => {
  expect(withMap({}).run(`${CALL}exit`).fault?.kind).toBe(KINDS.map);
});
