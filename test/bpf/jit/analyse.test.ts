import { expect, test } from 'vitest';
import { disassemble } from '#build/bpf/disassemble.js';
import { OP_LDDW } from '#build/bpf/instruction.js';
import { interpret, type Step } from '#build/bpf/interpreter.js';
import { analyse, stepAt } from '#build/bpf/jit/analyse.js';
import type { Kind, State } from '#build/bpf/jit/kinds.js';
import * as layout from '#build/bpf/layout.js';
import type { Program } from '#build/bpf/program.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { Random } from '#build/util/random.js';
import { effort } from '../../support/effort.ts';
import { generateHostile } from '../support/generate-hostile.ts';
import { generatePacket, generateValid } from '../support/generate-valid.ts';
import { StackWatch } from '../support/stack-watch.ts';
import { World } from '../support/world.ts';

/** What is said to be known before each instruction. */
function statesOf(program: Program): (State | undefined)[] {
  const states: (State | undefined)[] = [];
  for (const { graph, states: known } of analyse(program, true)) {
    for (const [index, { start, end }] of graph.blocks.entries()) {
      const state = (known[index] as State).copy();
      for (let pc = start; pc < end; pc++) {
        states[pc] = state.copy();
        stepAt(state, program.code, pc);
        if (program.code[pc]?.opcode === OP_LDDW) pc++;
      }
    }
  }
  return states;
}

const within = (value: bigint, from: number, spread = 0): boolean =>
  value >= BigInt(from) && value <= BigInt(from + spread);

/** Runs a program in the interpreter, and holds what registers and the stack have against what is said of them. */
class Watch {
  readonly #world = new World(2);
  readonly #stack = new StackWatch(this.#world);
  readonly seen = new Map<string, number>();

  #word(offset: number): number {
    return this.#world.arena.u32[(this.#world.context + offset) >>> 2] as number;
  }

  /** Whether a value is of this kind, as far as that is certain. */
  #is(kind: Kind, value: bigint, frame: bigint): boolean {
    const { arena, context, addresses } = this.#world;
    const signed = BigInt.asIntN(64, value);
    if (kind.tag === 'constant') return signed === BigInt(kind.value);
    if (kind.tag === 'number') {
      const more = value - BigInt(kind.min);
      return within(value, kind.min, kind.max - kind.min) && (kind.step === 0 || more % BigInt(kind.step) === 0n);
    }
    if (kind.tag === 'context') return value === BigInt(context);
    if (kind.tag === 'stack') return value === frame + BigInt(kind.offset);
    if (kind.tag === 'map') return value === BigInt(addresses[kind.map] as number);
    if (kind.tag === 'global') return within(signed, this.#world.valueAddress(kind.map) + kind.offset, kind.spread);
    if (kind.tag === 'end') return value === BigInt(this.#word(layout.CTX_DATA_END));
    if (kind.tag === 'packet' && kind.offset !== undefined) {
      return within(signed, this.#word(layout.CTX_DATA) + kind.offset, kind.spread);
    }
    if (kind.tag === 'value' && kind.offset !== undefined) {
      const map = (offset: number): number => arena.u32[((addresses[kind.map] as number) + offset) >>> 2] as number;
      // Look-ups in maps of maps give maps.
      const isOuter = [layout.KIND_ARRAY_OF_MAPS, layout.KIND_HASH_OF_MAPS].includes(map(layout.MAP_KIND));
      if (isOuter || (value === 0n && kind.mayBeNull === true)) return true;
      const at = Number(value) - map(layout.MAP_VALUES) - kind.offset;
      return at >= 0 && at % map(layout.MAP_STRIDE) <= (kind.spread ?? 0);
    }
    return true;
  }

  #check({ pc, registers }: Step, state: State): string | undefined {
    const length = this.#word(layout.CTX_DATA_END) - this.#word(layout.CTX_DATA);
    if (state.packetBytes > length) return `${pc}: ${state.packetBytes} bytes, of ${length}`;
    const frame = registers[10] as bigint;
    const view = new DataView(this.#world.arena.u8.buffer);
    const values: (readonly [string, Kind, bigint])[] = [
      ...state.registers.map((kind, index) => [`r${index}`, kind, registers[index] as bigint] as const),
      ...[...state.stack].map(([at, kind]) => [`fp${at}`, kind, view.getBigUint64(Number(frame) + at, true)] as const),
    ];
    for (const [name, kind, value] of values) {
      const what = `${kind.tag}${'spread' in kind ? ' spread' : ''}${'step' in kind && kind.step > 0 ? 's' : ''}`;
      this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
      if (!this.#is(kind, value, frame)) return `${pc}: ${name} is ${value}, not ${JSON.stringify(kind)}`;
    }
    return undefined;
  }

  run(program: Program, packet: Uint8Array, checked: boolean): string | undefined {
    const states = statesOf(program);
    let wrong: string | undefined;
    this.#stack.begin();
    this.#world.reset(packet);
    const onStep = (step: Step): void => {
      // What a hostile program does to memory by way of another's address, compiled code refuses.
      if (step.program !== program || this.#stack.isLoose || wrong !== undefined) return;
      wrong = this.#check(step, states[step.pc] as State);
      this.#stack.note(step);
    };
    interpret({ program, ...this.#world.execution(), checked, fuel: 3000, onStep });
    return wrong === undefined ? undefined : [wrong, ...disassemble(program)].join('\n');
  }
}

/** More with RINGWAY_PROGRAMS. */
const PROGRAMS = Number(process.env.RINGWAY_PROGRAMS ?? effort(50, 150));

test.each([
  ['valid', generateValid],
  ['hostile', generateHostile],
] as const)('what is certain of registers, of the stack and of the packet is so in %s programs', (name, generate) => {
  const watch = new Watch();
  const from = Number(process.env.RINGWAY_SEED ?? 1);
  for (let seed = from; seed < from + PROGRAMS; seed++) {
    const random = new Random(seed);
    const program = generate(random);
    verifyStructure(program);
    const wrong = watch.run(program, generatePacket(random), name === 'hostile');
    expect(wrong, `RINGWAY_SEED=${seed}`).toBeUndefined();
  }
  const tags = ['constant', 'number', 'numbers', 'context', 'stack', 'map', 'global', 'packet', 'end', 'value'];
  for (const tag of tags) expect(watch.seen.get(tag), tag).toBeGreaterThan(50);
});
