import { CTX_CPU, KIND_ARRAY, KIND_PERCPU_ARRAY } from '../layout.ts';
import { BUCKET_SHIFT, CHAIN_END, ELEMENT_HASH, ELEMENT_KEY, HASH_TAKEN } from '../maps/layout.ts';
import { ATOMIC_OP, OP, VALUE } from './encoder.ts';
import { writeAddress } from './memory.ts';
import type { HashConstants, MapConstants, Writer } from './writer.ts';

/** Puts the address of the value of an index on the stack, as i64; the index is on the stack. */
function writeValueAddress({ code, locals }: Writer, map: MapConstants): void {
  code
    .i32(map.stride)
    .op(OP.I32_MUL)
    .i32(map.values | 0)
    .op(OP.I32_ADD);
  if (map.cpuSpan !== 0) {
    code.get(locals.context).access(OP.I32_LOAD, CTX_CPU).i32(map.cpuSpan).op(OP.I32_MUL, OP.I32_ADD);
  }
  code.op(OP.I64_EXTEND_I32_U);
}

function writeArrayLookup(writer: Writer, map: MapConstants, pc: number): void {
  const { code, index } = writer;
  const more = writeAddress(writer, 2, 0, 4, false, pc);
  code
    .access(OP.I32_LOAD, more)
    .tee(index)
    .i32(map.maxEntries | 0)
    .op(OP.I32_LT_U);
  writer.if(VALUE.I64);
  code.get(index);
  writeValueAddress(writer, map);
  writer.else();
  code.i64(0n);
  writer.end();
  code.set(writer.register(0));
}

/** Bytes of the longest key that is hashed and compared in place. */
const KEY_MAX = 16;

const PART_LOADS: readonly (readonly [bytes: number, op: number])[] = [
  [8, OP.I64_LOAD],
  [4, OP.I64_LOAD32_U],
  [2, OP.I64_LOAD16_U],
  [1, OP.I64_LOAD8_U],
];

/** Puts the `bytes` (1 to 8) at the address in a local and `offset` on the stack as a number, as `wordOf` of the kernel. */
function writeWord({ code }: Writer, address: number, offset: number, bytes: number): void {
  let at = 0;
  for (const [size, op] of PART_LOADS) {
    if (bytes - at < size) continue;
    code.get(address).access(op, offset + at);
    if (at > 0) code.i64(BigInt(at * 8)).op(OP.I64_SHL, OP.I64_OR);
    at += size;
  }
}

/** Keys of up to 8 bytes are one word, of up to 16 two: where each begins, and its bytes. */
function wordsOf(keyBytes: number): (readonly [at: number, bytes: number])[] {
  return keyBytes <= 8
    ? [[0, keyBytes]]
    : [
        [0, 8],
        [8, keyBytes - 8],
      ];
}

/** Puts the hash of the key at `keyAt` on the stack, without its lowest bit, as `hashKey` of the kernel; keeps its words. */
function writeHash(writer: Writer, keyBytes: number, seed: bigint): void {
  const { code, keyAt, words } = writer;
  for (const [index, [at, bytes]] of wordsOf(keyBytes).entries()) {
    const word = words[index] as number;
    writeWord(writer, keyAt, at, bytes);
    code.set(word);
    if (index === 0) continue;
    // What the first word comes to goes into the second.
    const first = words[0] as number;
    const factor = ((seed << 32n) | (seed >> 32n) | 1n) & ((1n << 64n) - 1n);
    code.get(first).i64(BigInt.asIntN(64, seed)).op(OP.I64_XOR);
    code.i64(BigInt.asIntN(64, factor)).op(OP.I64_MUL).set(writer.product);
    code.get(writer.product).get(writer.product).i64(32n).op(OP.I64_SHR_U, OP.I64_XOR);
  }
  code.get(words[wordsOf(keyBytes).length - 1] as number);
  if (keyBytes > 8) code.op(OP.I64_XOR);
  code.i64(BigInt.asIntN(64, seed)).op(OP.I64_MUL).i64(32n).op(OP.I64_SHR_U, OP.I32_WRAP_I64);
}

/**
 * The two most frequent ends of a look-up: an empty bucket, and the first element. What else there is (`maps/hash.kernel.ts`
 * says why each load is where it is) the kernel does.
 */
function writeHashLookup(writer: Writer, map: MapConstants, hash: HashConstants, pc: number): void {
  const { code, module, locals, index, number, words } = writer;
  const keyAt = writer.keyAt;
  const more = writeAddress(writer, 2, 0, map.keyBytes, false, pc);
  if (more !== 0) code.i32(more).op(OP.I32_ADD);
  code.set(keyAt);
  writer.block();
  writer.block();
  writeHash(writer, map.keyBytes, hash.seed);
  code.i32(HASH_TAKEN).op(OP.I32_OR).tee(writer.hash).i32(hash.shift).op(OP.I32_SHR_U).tee(number);
  code
    .i32(BUCKET_SHIFT)
    .op(OP.I32_SHL)
    .i32(hash.buckets | 0)
    .op(OP.I32_ADD);
  code.atomic(ATOMIC_OP.LOAD64, 3).op(OP.I32_WRAP_I64).tee(index);
  code.get(number).i32(CHAIN_END).op(OP.I32_OR, OP.I32_EQ);
  writer.if();
  code.i64(0n).set(writer.register(0));
  writer.br(2);
  writer.end();
  code.get(index).i32(CHAIN_END).op(OP.I32_GE_U);
  writer.brIf(0);
  const element = number;
  code
    .get(index)
    .i32(hash.elementSize)
    .op(OP.I32_MUL)
    .i32(hash.elements | 0)
    .op(OP.I32_ADD)
    .tee(element);
  code.atomic(ATOMIC_OP.LOAD32, 2, ELEMENT_HASH).get(writer.hash).op(OP.I32_NE);
  writer.brIf(0);
  for (const [at, [offset, bytes]] of wordsOf(map.keyBytes).entries()) {
    writeWord(writer, element, ELEMENT_KEY + offset, bytes);
    code.get(words[at] as number).op(OP.I64_NE);
    writer.brIf(0);
  }
  code.get(element).atomic(ATOMIC_OP.LOAD32, 2, ELEMENT_HASH).get(writer.hash).op(OP.I32_NE);
  writer.brIf(0);
  if (hash.used !== 0) {
    code.get(index).access(OP.I32_LOAD8_U, hash.used).op(OP.I32_EQZ);
    writer.if();
    code.get(index).i64(1n).access(OP.I64_STORE8, hash.used);
    writer.end();
  }
  code.get(index);
  writeValueAddress(writer, map);
  code.set(writer.register(0));
  writer.br(1);
  writer.end();
  code
    .get(locals.context)
    .i32(map.address | 0)
    .get(keyAt);
  code
    .call(module.kernels.get('bpfMapLookup') as number)
    .op(OP.I64_EXTEND_I32_U)
    .set(writer.register(0));
  writer.end();
}

/**
 * Writes map_lookup_elem of a map that is known, in place. Returns false, and writes nothing, when its kind or the size of its
 * keys leaves that to the kernel.
 */
export function writeLookup(writer: Writer, map: MapConstants, pc: number): boolean {
  if (map.kind === KIND_ARRAY || map.kind === KIND_PERCPU_ARRAY) {
    writeArrayLookup(writer, map, pc);
    return true;
  }
  if (map.hash === undefined || map.keyBytes > KEY_MAX) return false;
  writeHashLookup(writer, map, map.hash, pc);
  return true;
}
