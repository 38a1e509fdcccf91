import { HELPER_NEXT, HELPERS } from '#build/bpf/helpers.js';
import { ALU, JMP } from '#build/bpf/instruction.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';
import type { Random } from '#build/util/random.js';
import { ATOMICS, CONDITIONS, Emitter, type Label, type Operand } from './emitter.ts';
import { DEFINITIONS, MAPS } from './fixture.ts';

const HELPER_IDS = [...HELPERS.keys()].filter((id) => id !== HELPER_NEXT);
const FRAME = 10;
/** Places of 8 bytes in the frame that a function writes first. */
const SLOTS = 12;

/** Writes one function of a program that no verifier of types would take. */
class HostileFunction {
  readonly #e: Emitter;
  readonly #random: Random;
  readonly #labels: Label[];
  readonly #callees: readonly Label[];

  constructor(e: Emitter, random: Random, callees: readonly Label[], isDeep: boolean) {
    this.#e = e;
    this.#random = random;
    this.#callees = callees;
    this.#labels = Array.from({ length: 3 + random.below(isDeep ? 8 : 30) }, () => e.label());
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)] as T;
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  /** A register to write to: seldom one that holds an address. */
  #register(): number {
    return this.#random.below(this.#chance(90) ? 6 : 10);
  }

  #any(): number {
    return this.#random.below(11);
  }

  #imm(): number {
    return this.#chance(60) ? this.#random.below(65) - 32 : this.#random.next() | 0;
  }

  #operand(): Operand {
    return this.#chance(60) ? { register: this.#any() } : { imm: this.#imm() };
  }

  /** Mostly near, now and then anywhere. */
  #offset(): number {
    const range = this.#pick([16, 64, 64, 600, 6000, 65536]);
    const offset = this.#random.below(range) - range / 2;
    return this.#chance(60) ? offset & ~7 : offset;
  }

  write(isMain: boolean): void {
    this.#e.move(6, 1);
    if (isMain || this.#chance(70)) this.#e.load(4, 7, 6, this.#chance(90) ? 0 : 4);
    if (this.#chance(90)) this.#e.mapValue(8, MAPS.global, 0);
    if (this.#chance(90)) this.#e.move(9, FRAME);
    // What is read of the stack is mostly written before: else engines need not agree on it.
    for (let at = 8; at <= SLOTS * 8; at += 8) this.#e.store(8, FRAME, -at, { imm: this.#imm() });
    for (const label of this.#labels) {
      this.#e.bind(label);
      this.#statement();
    }
    // Deep in calls now and then.
    const [next] = this.#callees;
    if (next !== undefined && this.#chance(50)) this.#e.callLocal(next);
    if (this.#chance(25)) {
      this.#e.move(1, 6);
      this.#e.map(2, MAPS.programs);
      this.#e.set(3, this.#random.below(4));
      this.#e.call(12);
    }
    if (this.#chance(80)) this.#e.exit();
    else this.#e.go(this.#pick(this.#labels));
  }

  #statement(): void {
    const what = this.#random.below(100);
    if (what < 20) this.#arithmetic();
    else if (what < 30) this.#pointer();
    else if (what < 54) this.#memory();
    else if (what < 58) this.#wander();
    else if (what < 63) this.#atomic();
    else if (what < 76) this.#jump();
    else if (what < 96) this.#call();
    else if (what < 97 && this.#callees.length > 0) this.#e.callLocal(this.#pick(this.#callees));
    else if (what < 99) this.#callByNumber();
    else this.#e.exit();
  }

  #arithmetic(): void {
    const e = this.#e;
    const wide = this.#chance(70);
    switch (this.#random.below(8)) {
      case 0:
        e.alu(ALU.MOV, this.#register(), { register: this.#any() }, wide, this.#pick(wide ? [8, 16, 32] : [8, 16]));
        break;
      case 1:
        e.emit(ALU.END | this.#pick([0x04, 0x0c, 0x07]), this.#register(), 0, 0, this.#pick([16, 32, 64]));
        break;
      case 2:
        e.alu(ALU.NEG, this.#register(), { imm: 0 }, wide);
        break;
      case 3:
        e.alu(this.#pick([ALU.DIV, ALU.MOD]), this.#register(), this.#operand(), wide, this.#random.below(2));
        break;
      default: {
        const operations = [ALU.ADD, ALU.SUB, ALU.MUL, ALU.OR, ALU.AND, ALU.XOR, ALU.LSH, ALU.RSH, ALU.ARSH, ALU.MOV];
        e.alu(this.#pick([...operations, ALU.ADD, ALU.SUB, ALU.MOV]), this.#register(), this.#operand(), wide);
      }
    }
  }

  /** Puts something into a register that is an address, or was one. */
  #pointer(): void {
    const e = this.#e;
    const dst = this.#register();
    switch (this.#random.below(7)) {
      case 0:
        e.move(dst, FRAME);
        break;
      case 1:
        e.map(dst, this.#random.below(DEFINITIONS.length));
        break;
      case 2: {
        const map = this.#pick([MAPS.global, MAPS.constants, MAPS.array, MAPS.hash, MAPS.programs, MAPS.cpuArray]);
        e.mapValue(dst, map, this.#random.below((DEFINITIONS[map] as MapDefinition).valueBytes));
        break;
      }
      case 3:
        e.constant(dst, (BigInt(this.#random.next()) << 32n) | BigInt(this.#random.next()));
        break;
      case 4:
        e.constant(dst, BigInt(this.#random.next() & 0x1fffff));
        break;
      case 5:
        e.move(dst, 6);
        break;
      default:
        e.load(4, dst, 6, this.#pick([0, 0, 4, 8, 20]));
    }
  }

  /** A register that may hold an address, more often than not. */
  #base(): number {
    if (this.#chance(50)) return FRAME;
    return this.#chance(85) ? this.#pick([7, 8, 9]) : this.#any();
  }

  #memory(): void {
    const base = this.#base();
    const bytes = this.#pick([1, 2, 4, 8]);
    // r7 is the packet's start, r8 a value, r9 the frame pointer, as long as nobody changes them.
    const isFrame = base === FRAME || base === 9;
    const near = isFrame
      ? -8 * (1 + this.#random.below(this.#chance(97) ? SLOTS : 64))
      : this.#random.below(base === 7 ? 60 : 57);
    const place = Math.max(-32768, Math.min(32767, this.#chance(94) ? near : this.#offset()));
    if (this.#chance(50)) this.#e.load(bytes, this.#register(), base, place, bytes < 8 && this.#chance(30));
    else this.#e.store(bytes, base, place, this.#operand());
  }

  /** Goes from an address that is known by a number of which something is known, and accesses what is there. */
  #wander(): void {
    const e = this.#e;
    const [address, number, end] = [1, 3, 2];
    const out = this.#pick(this.#labels);
    const what = this.#random.below(3);
    if (what === 0) {
      // The last value of an array: what lies behind it is not the map's.
      e.store(4, FRAME, -4, { imm: 3 });
      e.move(2, FRAME);
      e.alu(ALU.ADD, 2, { imm: -4 });
      e.map(1, MAPS.array);
      e.call(1);
      if (this.#chance(90)) e.jump(JMP.JEQ, 0, { imm: 0 }, out);
      e.move(address, 0);
    } else if (what === 1) e.mapValue(address, this.#pick([MAPS.global, MAPS.constants]), this.#random.below(8));
    else {
      e.load(4, address, 6, 0);
      e.load(4, end, 6, 4);
      e.move(number, address);
      e.alu(ALU.ADD, number, { imm: this.#random.below(80) });
      e.jump(this.#pick([JMP.JGT, JMP.JGE]), number, { register: end }, out);
    }
    e.load(this.#pick([1, 2]), number, FRAME, -8 * (1 + this.#random.below(SLOTS)));
    if (this.#chance(70)) e.alu(ALU.AND, number, { imm: this.#pick([1, 4, 7, 8, 12, 15, 24, 63]) });
    if (this.#chance(30)) e.alu(this.#pick([ALU.LSH, ALU.RSH, ALU.MUL]), number, { imm: this.#random.below(4) });
    if (this.#chance(40)) {
      e.jump(this.#pick(CONDITIONS), number, { imm: this.#random.below(64) }, out, this.#chance(70));
    }
    if (this.#chance(80)) e.alu(ALU.ADD, address, { register: number });
    else e.alu(ALU.SUB, address, { register: number });
    if (this.#chance(30)) e.jump(this.#pick([JMP.JEQ, JMP.JNE]), address, { imm: 0 }, out);
    const bytes = this.#pick([1, 2, 4, 8]);
    if (this.#chance(60)) e.load(bytes, this.#register(), address, this.#random.below(24));
    else e.store(bytes, address, this.#random.below(24), this.#operand());
  }

  #atomic(): void {
    const operation = this.#pick(ATOMICS);
    const fetches = operation !== 0xf1 && (operation & 1) !== 0;
    const base = this.#base();
    const isFrame = base === FRAME || base === 9;
    const bytes = this.#pick([4, 8]);
    const room = isFrame ? SLOTS * 8 : 56;
    const aligned = (isFrame ? -room : 0) + bytes * this.#random.below(room / bytes);
    const offset = this.#chance(90) ? aligned : aligned - 1 - this.#random.below(7);
    this.#e.atomic(bytes, operation, base, offset, fetches ? this.#register() : this.#any());
  }

  #jump(): void {
    const label = this.#pick(this.#labels);
    if (this.#chance(15)) this.#e.go(label, this.#chance(30));
    else this.#e.jump(this.#pick(CONDITIONS), this.#any(), this.#operand(), label, this.#chance(70));
  }

  /** A call whose arguments are about right, each with something wrong about it now and then. */
  #call(): void {
    const id = this.#chance(35) ? this.#pick([1, 1, 2, 3, 131]) : this.#pick(HELPER_IDS);
    const args = HELPERS.get(id)?.args ?? [];
    for (const [index, kind] of args.entries()) {
      if (this.#chance(3)) continue;
      this.#argument(index + 1, kind, id);
    }
    this.#e.call(id);
    if ((id === 131 || id === 1) && this.#chance(85)) this.#e.jump(0x15, 0, { imm: 0 }, this.#pick(this.#labels));
    if (id === 131 && this.#chance(70)) {
      this.#e.store(8, 0, 0, { imm: this.#imm() });
      this.#e.move(1, 0);
      this.#e.set(2, this.#random.below(3));
      this.#e.call(this.#pick([132, 133]));
    } else if (id === 1 && this.#chance(70))
      this.#e.load(this.#pick([1, 4, 8]), this.#register(), 0, this.#random.below(24));
  }

  #callByNumber(): void {
    const register = this.#register();
    if (this.#chance(75)) this.#e.set(register, this.#pick(HELPER_IDS));
    this.#e.emit(0x8d, register, 0, 0, 0);
  }

  #argument(register: number, kind: string, id: number): void {
    const e = this.#e;
    if (this.#chance(2)) {
      this.#wild(register);
      return;
    }
    if (kind === 'context') e.move(register, 6);
    else if (kind === 'map')
      e.map(register, this.#chance(10) ? this.#random.below(DEFINITIONS.length) : this.#mapFor(id));
    else if (kind === 'size') e.set(register, this.#chance(90) ? this.#random.below(SLOTS * 4) : this.#imm());
    else if (kind === 'u32' || kind === 'u64') e.set(register, this.#chance(70) ? this.#random.below(8) : this.#imm());
    else if (kind === 'readable or null' && this.#chance(20)) e.set(register, 0);
    else if (this.#chance(75)) {
      e.move(register, FRAME);
      e.alu(ALU.ADD, register, { imm: -8 * SLOTS + 8 * this.#random.below(SLOTS / 2) });
    } else e.move(register, this.#pick([7, 8, 9]));
  }

  /** A map of a kind that the helper is for. */
  #mapFor(id: number): number {
    if (id === 12) return MAPS.programs;
    if (id === 25) return MAPS.perf;
    if (id === 51) return this.#pick([MAPS.devices, MAPS.deviceHash, MAPS.cpus, MAPS.sockets]);
    if (id >= 130 && id <= 134) return MAPS.ring;
    return this.#random.below(MAPS.programs);
  }

  #wild(register: number): void {
    if (this.#chance(50)) this.#e.constant(register, BigInt(this.#random.next()));
    else this.#e.alu(ALU.ADD, register, { imm: this.#imm() });
  }
}

/**
 * A random program of correct form that does anything: wild addresses, arithmetic on pointers, sizes beyond all bounds, maps
 * that are none, loops without an end, atomics at odd addresses. It passes `verifyStructure`.
 */
export function generateHostile(random: Random): Program {
  const e = new Emitter();
  const labels = Array.from({ length: random.below(2) === 0 ? random.below(3) : random.below(8) }, () => e.label());
  const starts: number[] = [];
  for (const [index, label] of [e.label(), ...labels].entries()) {
    e.bind(label);
    starts.push(e.length);
    new HostileFunction(e, random, labels.slice(index), labels.length > 3).write(index === 0);
  }
  const code = e.finish();
  return {
    name: 'hostile',
    section: 'xdp',
    type: 'xdp',
    frags: false,
    code,
    functions: starts.map((start, index) => ({
      name: index === 0 ? 'hostile' : `function_${index}`,
      start,
      end: starts[index + 1] ?? code.length,
    })),
    maps: DEFINITIONS,
    lines: [],
  };
}
