/**
 * The WebAssembly binary format, as much of it as the JIT needs (WebAssembly core specification 2.0, chapter 5; threads
 * proposal for atomics). No validation: V8 does that.
 */

export const VALUE = { I32: 0x7f, I64: 0x7e, V128: 0x7b } as const;
/** Type of a block that leaves nothing. */
export const VOID = 0x40;

/** Opcodes without immediates, and those whose immediates `Code` writes. */
export const OP = {
  UNREACHABLE: 0x00,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  ELSE: 0x05,
  END: 0x0b,
  BR: 0x0c,
  BR_IF: 0x0d,
  BR_TABLE: 0x0e,
  RETURN: 0x0f,
  CALL: 0x10,
  CALL_INDIRECT: 0x11,
  DROP: 0x1a,
  SELECT: 0x1b,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  LOCAL_TEE: 0x22,
  I32_LOAD: 0x28,
  I64_LOAD: 0x29,
  I64_LOAD8_S: 0x30,
  I64_LOAD8_U: 0x31,
  I64_LOAD16_S: 0x32,
  I64_LOAD16_U: 0x33,
  I64_LOAD32_S: 0x34,
  I64_LOAD32_U: 0x35,
  I32_STORE: 0x36,
  I64_STORE: 0x37,
  I64_STORE8: 0x3c,
  I64_STORE16: 0x3d,
  I64_STORE32: 0x3e,
  I32_LOAD8_U: 0x2d,
  I32_LOAD16_U: 0x2f,
  I32_CONST: 0x41,
  I64_CONST: 0x42,
  I32_EQZ: 0x45,
  I32_EQ: 0x46,
  I32_NE: 0x47,
  I32_LT_S: 0x48,
  I32_LT_U: 0x49,
  I32_GT_S: 0x4a,
  I32_GT_U: 0x4b,
  I32_LE_S: 0x4c,
  I32_LE_U: 0x4d,
  I32_GE_S: 0x4e,
  I32_GE_U: 0x4f,
  I64_EQZ: 0x50,
  I64_EQ: 0x51,
  I64_NE: 0x52,
  I64_LT_S: 0x53,
  I64_LT_U: 0x54,
  I64_GT_S: 0x55,
  I64_GT_U: 0x56,
  I64_LE_S: 0x57,
  I64_LE_U: 0x58,
  I64_GE_S: 0x59,
  I64_GE_U: 0x5a,
  I32_ADD: 0x6a,
  I32_SUB: 0x6b,
  I32_MUL: 0x6c,
  I32_DIV_S: 0x6d,
  I32_DIV_U: 0x6e,
  I32_REM_S: 0x6f,
  I32_REM_U: 0x70,
  I32_AND: 0x71,
  I32_OR: 0x72,
  I32_XOR: 0x73,
  I32_SHL: 0x74,
  I32_SHR_S: 0x75,
  I32_SHR_U: 0x76,
  I32_ROTL: 0x77,
  I64_ADD: 0x7c,
  I64_SUB: 0x7d,
  I64_MUL: 0x7e,
  I64_DIV_S: 0x7f,
  I64_DIV_U: 0x80,
  I64_REM_S: 0x81,
  I64_REM_U: 0x82,
  I64_AND: 0x83,
  I64_OR: 0x84,
  I64_XOR: 0x85,
  I64_SHL: 0x86,
  I64_SHR_S: 0x87,
  I64_SHR_U: 0x88,
  I64_ROTL: 0x89,
  I32_WRAP_I64: 0xa7,
  I64_EXTEND_I32_S: 0xac,
  I64_EXTEND_I32_U: 0xad,
  I64_EXTEND8_S: 0xc2,
  I64_EXTEND16_S: 0xc3,
  I64_EXTEND32_S: 0xc4,
  I32_EXTEND8_S: 0xc0,
  I32_EXTEND16_S: 0xc1,
} as const;

/** Second byte of the atomics (0xfe): loads of i32 and i64; of i64 on 64 and on 32 bits, which are what eBPF has. */
export const ATOMIC_OP = {
  LOAD32: 0x10,
  LOAD64: 0x11,
  ADD64: 0x1f,
  ADD32: 0x24,
  AND64: 0x2d,
  AND32: 0x32,
  OR64: 0x34,
  OR32: 0x39,
  XOR64: 0x3b,
  XOR32: 0x40,
  XCHG64: 0x42,
  XCHG32: 0x47,
  CMPXCHG64: 0x49,
  CMPXCHG32: 0x4e,
} as const;

/** An unsigned LEB128. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const byte = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? byte | 0x80 : byte);
  } while (rest > 0);
  return bytes;
}

/** A signed LEB128 of a 32-bit number. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (byte & 0x40) === 0) || (rest === -1 && (byte & 0x40) !== 0)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

function signedBig(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asIntN(64, value);
  for (;;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

const encoder = new TextEncoder();

/** A name: its length in bytes, then UTF-8. */
export function nameBytes(text: string): number[] {
  const bytes = encoder.encode(text);
  return [...unsigned(bytes.length), ...bytes];
}

/** Several parts as one. Bodies of functions are long, and neither spread nor flat are fast. */
function concat(parts: readonly (readonly number[])[]): number[] {
  const all: number[] = [];
  for (const part of parts) for (let at = 0; at < part.length; at++) all.push(part[at] as number);
  return all;
}

/** A section: id, length, contents. */
export function section(id: number, contents: readonly number[]): number[] {
  return concat([[id], unsigned(contents.length), contents]);
}

/** A vector: how many, then each. */
export function vector(items: readonly (readonly number[])[]): number[] {
  return concat([unsigned(items.length), ...items]);
}

/** A module of these sections. */
export function moduleBytes(sections: readonly (readonly number[])[]): Uint8Array {
  return Uint8Array.from(concat([[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], ...sections]));
}

/** The body of a function, written instruction by instruction. */
export class Code {
  readonly bytes: number[] = [];
  /** Types of the locals behind the parameters. */
  readonly #locals: number[] = [];
  readonly #params: number;

  /** @param params how many parameters the function has. */
  constructor(params: number) {
    this.#params = params;
  }

  /** Makes a local. Returns its index. */
  local(type: number): number {
    this.#locals.push(type);
    return this.#params + this.#locals.length - 1;
  }

  op(...opcodes: number[]): this {
    for (const opcode of opcodes) this.bytes.push(opcode);
    return this;
  }

  get(local: number): this {
    return this.op(OP.LOCAL_GET, ...unsigned(local));
  }

  set(local: number): this {
    return this.op(OP.LOCAL_SET, ...unsigned(local));
  }

  tee(local: number): this {
    return this.op(OP.LOCAL_TEE, ...unsigned(local));
  }

  i32(value: number): this {
    return this.op(OP.I32_CONST, ...signed(value));
  }

  i64(value: bigint): this {
    return this.op(OP.I64_CONST, ...signedBig(value));
  }

  /** A load or store at `offset` from the address on the stack; no alignment is promised. */
  access(opcode: number, offset = 0): this {
    return this.op(opcode, 0, ...unsigned(offset));
  }

  /** An atomic: its alignment, as the power of two, must be the natural one. */
  atomic(opcode: number, alignment: number, offset = 0): this {
    return this.op(0xfe, opcode, alignment, ...unsigned(offset));
  }

  block(): this {
    return this.op(OP.BLOCK, VOID);
  }

  loop(): this {
    return this.op(OP.LOOP, VOID);
  }

  if(type: number = VOID): this {
    return this.op(OP.IF, type);
  }

  else(): this {
    return this.op(OP.ELSE);
  }

  end(): this {
    return this.op(OP.END);
  }

  br(depth: number): this {
    return this.op(OP.BR, ...unsigned(depth));
  }

  brIf(depth: number): this {
    return this.op(OP.BR_IF, ...unsigned(depth));
  }

  brTable(depths: readonly number[], otherwise: number): this {
    return this.op(OP.BR_TABLE, ...unsigned(depths.length), ...depths.flatMap(unsigned), ...unsigned(otherwise));
  }

  call(index: number): this {
    return this.op(OP.CALL, ...unsigned(index));
  }

  callIndirect(type: number): this {
    return this.op(OP.CALL_INDIRECT, ...unsigned(type), 0);
  }

  /** Puts the number of entries of table 0 on the stack. */
  tableSize(): this {
    return this.op(0xfc, 0x10, 0);
  }

  /** Takes a number from the stack; 1 when table 0 has nothing there. */
  isNoEntry(): this {
    return this.op(0x25, 0, 0xd1);
  }

  /** The function's entry in the code section. */
  finish(): number[] {
    const runs: [number, number][] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last !== undefined && last[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    const locals = vector(runs.map(([count, type]) => [...unsigned(count), type]));
    const length = locals.length + this.bytes.length + 1;
    return concat([unsigned(length), locals, this.bytes, [OP.END]]);
  }
}
