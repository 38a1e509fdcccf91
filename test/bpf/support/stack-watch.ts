import { HELPERS } from '#build/bpf/helpers.js';
import {
  ALU,
  accessBytes,
  accessMode,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  MODE,
  OP_CALL,
  OP_CALLX,
  opcodeClass,
  operation,
  SOURCE_REGISTER,
} from '#build/bpf/instruction.js';
import type { Step } from '#build/bpf/interpreter.js';
import * as layout from '#build/bpf/layout.js';
import type { World } from './world.ts';

const low = (value: bigint | undefined): number => Number(BigInt.asUintN(32, value ?? 0n));

/**
 * Watches a program in the interpreter for what engines need not agree on: compiled code keeps places of the stack in locals,
 * and compares an address with the memory that its register was made for. So a run is loose from where it reads a place of
 * the stack that it has not written, or goes from one memory to another by an offset or by what is added.
 */
export class StackWatch {
  /** The run has done something of the kind. */
  isLoose = false;
  readonly #world: World;
  readonly #stack: number;
  readonly #written = new Uint8Array(layout.FRAMES_MAX * layout.FRAME_BYTES);
  #depth = 0;

  constructor(world: World) {
    this.#world = world;
    this.#stack = world.context + layout.CTX_STACK;
  }

  begin(): void {
    this.isLoose = false;
    this.#depth = 0;
    this.#written.fill(0);
  }

  /** For `onStep` of the interpreter. */
  readonly note = ({ program, pc, registers, depth }: Step): void => {
    const instruction = program.code[pc] as Instruction;
    if (depth > this.#depth) this.#written.fill(0, depth * layout.FRAME_BYTES, (depth + 1) * layout.FRAME_BYTES);
    this.#depth = depth;
    const { opcode, dst, src, offset, imm } = instruction;
    const kind = opcodeClass(opcode);
    if (kind === CLASS.LDX) this.#access(registers[src], offset, accessBytes(opcode), true, false);
    else if (kind === CLASS.ST || kind === CLASS.STX) {
      const isAtomic = kind === CLASS.STX && accessMode(opcode) === MODE.ATOMIC;
      this.#access(registers[dst], offset, accessBytes(opcode), isAtomic, true);
    } else if (kind === CLASS.ALU64) this.#add(instruction, registers);
    else if (opcode === OP_CALL && src === CALL_LOCAL) return;
    else if (opcode === OP_CALL && src === CALL_HELPER) this.#helper(imm, registers);
    else if (opcode === OP_CALLX) this.#helper(Number(registers[dst]), registers);
  };

  /** An address may become one in another memory by what is added to it, or taken off. */
  #add({ opcode, dst, src, imm }: Instruction, registers: BigUint64Array): void {
    const what = operation(opcode);
    if (what !== ALU.ADD && what !== ALU.SUB) return;
    const one = registers[dst] ?? 0n;
    const other = (opcode & SOURCE_REGISTER) === 0 ? BigInt(imm) : (registers[src] ?? 0n);
    const own = this.#world.placeOf(low(what === ALU.ADD ? one + other : one - other));
    const places = [low(one), low(one) - 1, low(other)].map((address) => this.#world.placeOf(address));
    if (own >= 0 && !places.includes(own)) this.isLoose = true;
  }

  #access(base: bigint | undefined, offset: number, bytes: number, reads: boolean, writes: boolean): void {
    const from = low(base) + offset;
    const own = this.#world.placeOf(from);
    // One behind the end of a frame, where r10 points to, is that frame's.
    const places = [low(base), low(base) - 1].map((address) => this.#world.placeOf(address));
    if (own >= 0 && !places.includes(own)) this.isLoose = true;
    this.#touch(from, bytes, reads, writes);
  }

  #touch(from: number, bytes: number, reads: boolean, writes: boolean): void {
    const at = from - this.#stack;
    if (at < 0 || at + bytes > this.#written.length) return;
    const part = this.#written.subarray(at, at + bytes);
    if (reads && part.includes(0)) this.isLoose = true;
    if (writes) part.fill(1);
  }

  #helper(id: number, registers: BigUint64Array): void {
    const { u32 } = this.#world.arena;
    let map = 0;
    for (const [index, kind] of (HELPERS.get(id)?.args ?? []).entries()) {
      const value = low(registers[index + 1]);
      const size = Math.min(low(registers[index + 2]), this.#written.length);
      const item = (offset: number): number =>
        this.#world.addresses.includes(map) ? (u32[(map + offset) >>> 2] ?? 0) : 0;
      if (kind === 'map') map = value;
      else if (kind === 'map key') this.#touch(value, item(layout.MAP_KEY_BYTES), true, false);
      else if (kind === 'map value') this.#touch(value, item(layout.MAP_VALUE_BYTES), true, false);
      else if (kind === 'readable' || kind === 'readable or null') this.#touch(value, size, true, false);
      else if (kind === 'writable') this.#touch(value, size, true, true);
    }
  }
}
