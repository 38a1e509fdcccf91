import type { Arena } from '../memory/arena.ts';
import { ATOMIC } from './instruction.ts';
import {
  CTX_BYTES,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_MD_BYTES,
  CTX_RANGE_COUNT,
  CTX_RANGES,
  CTX_STACK,
  FAULT_ALIGNMENT,
  FAULT_MEMORY,
  RANGE_ADDRESS,
  RANGE_BYTES,
  RANGE_MAP,
  RANGE_SHIFT,
  RANGE_WRITABLE,
} from './layout.ts';

/** What ends a program: the interpreter catches it. */
export class Fault extends Error {
  /** FAULT_…. */
  readonly kind: number;
  /** The address that was wanted, or the number that was no map; 0 when it is about neither. */
  readonly address: bigint;

  constructor(kind: number, address: bigint) {
    super(`fault ${kind}`);
    this.kind = kind;
    this.address = address;
  }
}

/** The address in the arena's memory that a register means: its lower half. */
export const addressOf = (register: bigint): number => Number(BigInt.asUintN(32, register));

/**
 * The memory of a program: loads, stores and atomics. In checked mode an address is all of a register, and each access must
 * lie whole in the packet with its metadata, the stack, the part of the context that programs read, or one of the ranges;
 * else an address is the lower half, and must lie in the arena's memory.
 */
export class ProgramMemory {
  readonly #arena: Arena;
  readonly #context: number;
  readonly #checked: boolean;
  readonly #view: DataView;
  readonly #u64: BigUint64Array;

  constructor(arena: Arena, context: number, checked: boolean) {
    this.#arena = arena;
    this.#context = context;
    this.#checked = checked;
    const { buffer } = arena.handle.memory;
    this.#view = new DataView(buffer);
    this.#u64 = new BigUint64Array(buffer);
  }

  /** The u32 at `address`, which is ours, not the program's. */
  word(address: number): number {
    return this.#view.getUint32(address, true);
  }

  /** Whether the program may touch `bytes` at `pointer`. */
  reaches(pointer: bigint, bytes: number, write: boolean): boolean {
    const size = BigInt(bytes);
    if (!this.#checked) return BigInt.asUintN(32, pointer) + size <= BigInt(this.#view.byteLength);
    const within = (from: number, to: number): boolean => pointer >= BigInt(from) && pointer + size <= BigInt(to);
    const context = this.#context;
    if (within(this.word(context + CTX_DATA_META), this.word(context + CTX_DATA_END))) return true;
    if (within(context + CTX_STACK, context + CTX_BYTES)) return true;
    if (within(context, context + CTX_MD_BYTES) && !write) return true;
    return this.#ranges().some((entry) => {
      const from = this.word(entry + RANGE_ADDRESS);
      const allowed = !write || this.word(entry + RANGE_WRITABLE) !== 0;
      return allowed && within(from, from + this.word(entry + RANGE_BYTES));
    });
  }

  /** Whether one of the ranges belongs to the map at `descriptor`. */
  hasRangeOf(descriptor: bigint): boolean {
    return this.#ranges().some((entry) => BigInt(this.word(entry + RANGE_MAP)) === descriptor);
  }

  #ranges(): number[] {
    const first = this.word(this.#context + CTX_RANGES);
    const count = this.word(this.#context + CTX_RANGE_COUNT);
    return Array.from({ length: count }, (_, index) => first + (index << RANGE_SHIFT));
  }

  /** The address that `pointer` means. @throws Fault when `bytes` there are out of reach. */
  #reach(pointer: bigint, bytes: number, write: boolean): number {
    if (!this.reaches(pointer, bytes, write)) throw new Fault(FAULT_MEMORY, pointer);
    return addressOf(pointer);
  }

  /** The `bytes` (1, 2, 4 or 8) at `pointer`, zero-extended. */
  load(pointer: bigint, bytes: number): bigint {
    const address = this.#reach(pointer, bytes, false);
    if (bytes === 8) return this.#view.getBigUint64(address, true);
    if (bytes === 4) return BigInt(this.#view.getUint32(address, true));
    return BigInt(bytes === 2 ? this.#view.getUint16(address, true) : this.#view.getUint8(address));
  }

  /** Puts the lower `bytes` (1, 2, 4 or 8) of `value` at `pointer`. */
  store(pointer: bigint, bytes: number, value: bigint): void {
    const address = this.#reach(pointer, bytes, true);
    if (bytes === 8) this.#view.setBigUint64(address, BigInt.asUintN(64, value), true);
    else if (bytes === 4) this.#view.setUint32(address, Number(BigInt.asUintN(32, value)), true);
    else if (bytes === 2) this.#view.setUint16(address, Number(BigInt.asUintN(16, value)), true);
    else this.#view.setUint8(address, Number(BigInt.asUintN(8, value)));
  }

  /**
   * An atomic of 4 or 8 bytes (RFC 9669, section 5.3). Returns the old value, zero-extended, or undefined when there is
   * no such operation.
   * @param operation `imm` of the instruction, with or without FETCH.
   * @param expected what CMPXCHG compares with: r0.
   * @throws Fault out of reach, or not aligned: no machine does that as one.
   */
  atomic(pointer: bigint, bytes: number, operation: number, source: bigint, expected: bigint): bigint | undefined {
    const address = this.#reach(pointer, bytes, true);
    if (address % bytes !== 0) throw new Fault(FAULT_ALIGNMENT, pointer);
    if (bytes === 8) return atomic64(this.#u64, address / 8, operation, source, expected);
    const narrow = (value: bigint): number => Number(BigInt.asUintN(32, value));
    const old = atomic32(this.#arena.u32, address / 4, operation, narrow(source), narrow(expected));
    return old === undefined ? undefined : BigInt(old);
  }
}

function atomic64(
  words: BigUint64Array,
  index: number,
  operation: number,
  source: bigint,
  expected: bigint,
): bigint | undefined {
  switch (operation) {
    case ATOMIC.ADD:
    case ATOMIC.ADD | ATOMIC.FETCH:
      return Atomics.add(words, index, source);
    case ATOMIC.OR:
    case ATOMIC.OR | ATOMIC.FETCH:
      return Atomics.or(words, index, source);
    case ATOMIC.AND:
    case ATOMIC.AND | ATOMIC.FETCH:
      return Atomics.and(words, index, source);
    case ATOMIC.XOR:
    case ATOMIC.XOR | ATOMIC.FETCH:
      return Atomics.xor(words, index, source);
    case ATOMIC.XCHG:
      return Atomics.exchange(words, index, source);
    case ATOMIC.CMPXCHG:
      return Atomics.compareExchange(words, index, expected, source);
    default:
      return undefined;
  }
}

function atomic32(
  words: Uint32Array,
  index: number,
  operation: number,
  source: number,
  expected: number,
): number | undefined {
  switch (operation) {
    case ATOMIC.ADD:
    case ATOMIC.ADD | ATOMIC.FETCH:
      return Atomics.add(words, index, source);
    case ATOMIC.OR:
    case ATOMIC.OR | ATOMIC.FETCH:
      return Atomics.or(words, index, source);
    case ATOMIC.AND:
    case ATOMIC.AND | ATOMIC.FETCH:
      return Atomics.and(words, index, source);
    case ATOMIC.XOR:
    case ATOMIC.XOR | ATOMIC.FETCH:
      return Atomics.xor(words, index, source);
    case ATOMIC.XCHG:
      return Atomics.exchange(words, index, source);
    case ATOMIC.CMPXCHG:
      return Atomics.compareExchange(words, index, expected, source);
    default:
      return undefined;
  }
}
