import { HELPER_LOOKUP } from '#build/bpf/helpers.js';
import { ALU, JMP } from '#build/bpf/instruction.js';
import type { MapDefinition } from '#build/bpf/program.js';
import { type Body, BUFFER, CONTEXT, FRAME, KEY, type Pointer, SCALARS } from './body.ts';
import type { Label } from './emitter.ts';
import { DEFINITIONS, MAPS } from './fixture.ts';
import { atomicAt, type Block } from './statements.ts';

const SIZES = [1, 2, 4, 8] as const;

/** Reads or writes through a pointer that there is. */
export function access(b: Body): boolean {
  if (b.pointers.length === 0) return false;
  const pointer = b.chance(70) ? (b.pointers.at(-1) as Pointer) : b.pick(b.pointers);
  const { where, bytes: room, kind } = pointer;
  let base: number | undefined;
  if ('register' in where) base = where.register;
  else {
    base = b.take();
    if (base === undefined) return false;
    b.e.load(8, base, FRAME, where.spill);
  }
  const bytes = b.pick(SIZES.filter((size) => size <= room));
  // The kernel wants the frame accessed at multiples, other memory anywhere.
  const offset = kind === 'stack' ? b.random.below(room / bytes) * bytes : b.random.below(room - bytes + 1);
  const index = kind === 'value' && b.chance(25) ? b.take() : undefined;
  const what = b.random.below(10);
  if (index !== undefined) byIndex(b, pointer, base, index, bytes);
  else if (pointer.writable && what < 4) b.e.store(bytes, base, offset, b.operand());
  else if (pointer.writable && what < 6 && kind !== 'packet' && room >= 8) {
    atomicAt(b, base, kind === 'stack', (wide) => b.random.below(room / wide) * wide);
  } else b.e.load(bytes, b.target(), base, offset, bytes < 8 && b.chance(35));
  b.give(index);
  if (!('register' in where)) b.give(base);
  return true;
}

/** An access at a place that is not known before. */
function byIndex(b: Body, { bytes: room, writable }: Pointer, base: number, index: number, bytes: number): void {
  // The highest mask that stays inside.
  const mask = 2 ** Math.floor(Math.log2(room - bytes + 1)) - 1;
  b.bounded(index, mask);
  b.e.alu(ALU.ADD, index, { register: base });
  const offset = b.random.below(room - bytes - mask + 1);
  if (writable && b.chance(50)) b.e.store(bytes, index, offset, b.operand());
  else b.e.load(bytes, b.target(), index, offset, bytes < 8 && b.chance(35));
}

/** Code that uses the pointer in `register`, which is put away in the frame now and then. */
function use(b: Body, register: number, pointer: Omit<Pointer, 'where'>, block: Block): void {
  const [spill] = b.spills;
  const away = spill !== undefined && b.chance(25);
  if (away) {
    b.e.store(8, FRAME, spill, { register });
    b.spills.delete(spill);
    b.give(register);
  }
  b.depth += 1;
  b.withPointer({ ...pointer, where: away ? { spill } : { register } }, () => {
    access(b);
    block(b, b.between(1, 4));
  });
  b.depth -= 1;
  if (away) b.spills.add(spill);
  else b.give(register);
}

/** Tests that `bytes` from `pointer` on end at `end` or before; `other` is for the sum. */
function checkEnd(b: Body, pointer: number, end: number, other: number, bytes: number, without: Label): void {
  b.e.move(other, pointer);
  b.e.alu(ALU.ADD, other, { imm: bytes });
  const inside = b.e.label();
  switch (b.random.below(5)) {
    case 0:
      b.e.jump(JMP.JGT, other, { register: end }, without);
      break;
    case 1:
      b.e.jump(JMP.JLT, end, { register: other }, without);
      break;
    case 2:
      // One byte more than is needed.
      b.e.jump(JMP.JGE, other, { register: end }, without);
      break;
    case 3:
      b.e.jump(JMP.JLE, other, { register: end }, inside);
      b.e.go(without);
      break;
    default:
      b.e.jump(JMP.JGE, end, { register: other }, inside);
      b.e.go(without);
  }
  b.e.bind(inside);
}

/** Code with a pointer into the packet, or into its metadata, when there are so many bytes. */
export function packet(b: Body, block: Block): boolean {
  if (b.depth > 3) return false;
  const pointer = b.take(b.chance(50) ? [7, 8, 9] : b.free());
  const end = pointer === undefined ? undefined : b.take();
  const other = end === undefined ? undefined : b.take();
  if (pointer === undefined || end === undefined || other === undefined) {
    for (const register of [pointer, end, other]) b.give(register);
    return false;
  }
  const isMeta = b.chance(20);
  const bytes = isMeta ? b.pick([4, 8]) : b.between(1, 48);
  b.e.load(4, pointer, CONTEXT, isMeta ? 8 : 0);
  b.e.load(4, end, CONTEXT, isMeta ? 0 : 4);
  if (!isMeta && b.chance(35)) {
    b.bounded(other, b.pick([3, 7, 15, 31, 63]));
    b.e.alu(ALU.ADD, pointer, { register: other });
  }
  const without = b.e.label();
  checkEnd(b, pointer, end, other, bytes, without);
  b.give(end);
  b.give(other);
  const before = new Set(b.ready);
  use(b, pointer, { kind: 'packet', bytes, writable: true }, block);
  b.e.bind(without);
  b.join(before);
  return true;
}

/** Code with a pointer to the value of a data section. */
export function global(b: Body, block: Block): boolean {
  if (b.depth > 3) return false;
  const pointer = b.take(b.chance(50) ? [7, 8, 9] : b.free());
  if (pointer === undefined) return false;
  const map = b.pick([MAPS.global, MAPS.global, MAPS.constants]);
  const offset = b.random.below(3) * 8;
  b.e.mapValue(pointer, map, offset);
  const bytes = (DEFINITIONS[map]?.valueBytes ?? 0) - offset;
  use(b, pointer, { kind: 'value', bytes, writable: map === MAPS.global }, block);
  return true;
}

/** Maps that a program may look up, and whether it may write what it finds. */
const READABLE: readonly (readonly [map: number, writable: boolean])[] = [
  [MAPS.hash, true],
  [MAPS.sparse, true],
  [MAPS.array, true],
  [MAPS.global, true],
  [MAPS.constants, false],
  [MAPS.cpuHash, true],
  [MAPS.cpuArray, true],
  [MAPS.lru, true],
  [MAPS.cpuLru, true],
  [MAPS.trie, true],
  [MAPS.innerHash, true],
  [MAPS.devices, false],
  [MAPS.deviceHash, false],
];

/** Writes a key of a map into the frame at KEY, and its address into `register`. */
export function key(b: Body, register: number, map: number): void {
  const { keyBytes } = DEFINITIONS[map] as MapDefinition;
  if (keyBytes === 4 && b.chance(10)) {
    b.frameAddress(register, SCALARS + 4 * b.random.below(8));
    return;
  }
  if (map === MAPS.trie) {
    b.bounded(register, 63);
    b.e.store(4, FRAME, KEY, { register });
    b.e.store(4, FRAME, KEY + 4, b.chance(70) ? { imm: b.pick([0, 16, 0x04030201, 0x8001, 1]) } : b.operand());
  } else if (b.chance(40)) b.e.store(keyBytes, FRAME, KEY, { imm: b.random.below(8) });
  else {
    b.bounded(register, 7);
    b.e.store(keyBytes, FRAME, KEY, { register });
  }
  b.frameAddress(register, KEY);
}

/** Code with the value that a call has just left in r0, when it is one. */
function whenFound(b: Body, write: (pointer: number) => void, otherwise?: () => void): void {
  const [none, end] = [b.e.label(), b.e.label()];
  b.clobber();
  b.reserved.add(0);
  if (b.chance(70)) b.e.jump(JMP.JEQ, 0, { imm: 0 }, none);
  else {
    const found = b.e.label();
    b.e.jump(JMP.JNE, 0, { imm: 0 }, found);
    b.e.go(none);
    b.e.bind(found);
  }
  const before = new Set(b.ready);
  const saved = b.chance(75) ? b.take([7, 8, 9]) : undefined;
  if (saved !== undefined) {
    b.e.move(saved, 0);
    b.give(0);
  }
  write(saved ?? 0);
  b.give(0);
  if (otherwise === undefined) b.e.bind(none);
  else {
    b.e.go(end);
    const after = b.ready;
    b.ready = new Set(before);
    b.e.bind(none);
    otherwise();
    b.e.bind(end);
    b.join(after);
  }
  b.join(before);
}

/** Looks something up, and uses it when it is there. */
export function lookup(b: Body, block: Block): boolean {
  if (!b.mayCall || b.depth > 3) return false;
  const [map, writable] = b.pick(READABLE);
  key(b, 2, map);
  b.e.map(1, map);
  b.e.call(HELPER_LOOKUP);
  const { valueBytes } = DEFINITIONS[map] as MapDefinition;
  const otherwise = b.chance(20) ? () => block(b, 1) : undefined;
  whenFound(b, (register) => use(b, register, { kind: 'value', bytes: valueBytes, writable }, block), otherwise);
  return true;
}

/** Looks a map up in a map, and something in that. */
export function lookupInner(b: Body, block: Block): boolean {
  if (!b.mayCall || b.depth > 2) return false;
  const [outer, inner] = b.pick([
    [MAPS.arrays, MAPS.innerArray],
    [MAPS.hashes, MAPS.innerHash],
  ] as const);
  key(b, 2, outer);
  b.e.map(1, outer);
  b.e.call(HELPER_LOOKUP);
  whenFound(b, (register) => {
    if (register === 0) {
      b.give(0);
      register = 1;
      b.e.move(1, 0);
    } else {
      b.e.move(1, register);
      b.give(register);
    }
    b.reserved.add(1);
    key(b, 2, inner);
    b.give(1);
    b.e.call(HELPER_LOOKUP);
    const { valueBytes } = DEFINITIONS[inner] as MapDefinition;
    whenFound(b, (found) => use(b, found, { kind: 'value', bytes: valueBytes, writable: true }, block));
  });
  return true;
}

/** Looks the value of some CPU up; what is there is not used, since engines run on different ones. */
export function lookupOfCpu(b: Body): boolean {
  if (!b.mayCall) return false;
  const map = b.pick([MAPS.cpuHash, MAPS.cpuArray, MAPS.cpuLru]);
  key(b, 2, map);
  b.e.map(1, map);
  b.e.set(3, b.random.below(4));
  b.e.call(195);
  whenFound(b, (register) => {
    b.e.load(4, register, register, 0);
    b.e.set(register, 0);
    if (register !== 0) b.give(register);
  });
  return true;
}

/** Maps that a program may change entries of. */
const CHANGEABLE = [
  MAPS.hash,
  MAPS.sparse,
  MAPS.array,
  MAPS.global,
  MAPS.cpuHash,
  MAPS.cpuArray,
  MAPS.lru,
  MAPS.cpuLru,
  MAPS.trie,
  MAPS.innerArray,
  MAPS.innerHash,
] as const;

/** A map's values lie in the frame from BUFFER on. */
const ROOM = KEY - BUFFER;

export function update(b: Body): boolean {
  if (!b.mayCall) return false;
  const map = b.pick(CHANGEABLE.filter((number) => (DEFINITIONS[number]?.valueBytes ?? 0) <= ROOM));
  const { valueBytes } = DEFINITIONS[map] as MapDefinition;
  const held = b.pointers.find(({ bytes, kind }) => bytes >= valueBytes && kind !== 'stack');
  for (let at = 0; at < valueBytes; at += 8) b.e.store(8, FRAME, BUFFER + at, b.operand());
  key(b, 2, map);
  if (held !== undefined && 'register' in held.where && b.chance(50)) b.e.move(3, held.where.register);
  else b.frameAddress(3, BUFFER);
  b.e.map(1, map);
  b.e.set(4, b.pick([0, 0, 0, 0, 1, 2, 3, 8, -1]));
  b.e.call(2);
  b.clobber();
  b.ready.add(0);
  return true;
}

export function remove(b: Body): boolean {
  if (!b.mayCall) return false;
  const map = b.pick(CHANGEABLE);
  key(b, 2, map);
  b.e.map(1, map);
  b.e.call(3);
  b.clobber();
  b.ready.add(0);
  return true;
}

/** Reserves a record of a ring, writes to it and gives it back. Whether there was room is not seen outside. */
export function record(b: Body): boolean {
  if (!b.mayCall) return false;
  const bytes = b.pick([8, 16, 40]);
  b.e.map(1, MAPS.ring);
  b.e.set(2, bytes);
  b.e.set(3, 0);
  b.e.call(131);
  whenFound(b, (register) => {
    for (let left = b.between(1, 4); left > 0; left--) {
      const size = b.pick(SIZES);
      b.e.store(size, register, b.random.below(bytes - size + 1), b.operand());
    }
    b.e.move(1, register);
    b.e.set(2, b.pick([0, 1, 2]));
    b.e.call(b.pick([132, 133]));
    b.clobber();
    if (register !== 0) b.give(register);
  });
  b.clobber();
  return true;
}
