import { disassemble } from '#build/bpf/disassemble.js';
import { LDDW, OP_LDDW } from '#build/bpf/instruction.js';
import { interpret, type Step } from '#build/bpf/interpreter.js';
import {
  compileProgram,
  createProgramTable,
  instantiateProgram,
  type ProgramInstance,
} from '#build/bpf/jit/compile.js';
import { FAULT_FUEL, FAULT_MAP, FAULT_MEMORY } from '#build/bpf/layout.js';
import type { LinuxMap } from '#build/bpf/linux/map.js';
import type { Program } from '#build/bpf/program.js';
import { type Proof, prove } from '#build/bpf/verifier/proof.js';
import { closeAll, KernelProgram, kernelMaps } from '../../support/kernel-program.ts';
import { DEFINITIONS, FIXTURE, HELD, MAPS, TARGETS } from './fixture.ts';
import { type Contents, entryText, type RunOutput, type World } from './world.ts';

/** A program of the fixture's maps, and a packet for it. */
export interface Case {
  readonly program: Program;
  readonly packet: Uint8Array;
}

/** A program that an engine has made ready. */
export interface Loaded {
  /** Runs it once on a packet, with the maps as they were at the start. */
  run(packet: Uint8Array): RunOutput;
  /** What the last run left in the maps of these numbers. */
  contents(maps: readonly number[]): Contents;
  close(): void;
}

/** What runs programs of the fixture's maps. */
export interface Engine {
  readonly name: string;
  /** @throws when it refuses the program. */
  load(program: Program): Loaded;
}

/** What runs a program in a world, once that is reset: gives r0. */
export type WorldRun = () => bigint;

/** An engine that runs programs of this process, in a world of its own. */
export function worldEngine(name: string, world: World, prepare: (program: Program) => WorldRun): Engine {
  return {
    name,
    load(program) {
      const run = prepare(program);
      return {
        run(packet) {
          world.reset(packet);
          return world.output(run());
        },
        contents: (maps) => world.contents(maps),
        close() {},
      };
    },
  };
}

/** How the interpreter runs programs. */
export interface InterpreterOptions {
  readonly checked?: boolean;
  readonly fuel?: number;
  readonly onStep?: (step: Step) => void;
}

/** The interpreter as an engine. */
export function interpreterEngine(world: World, options: InterpreterOptions = {}): Engine {
  const execution = world.execution();
  return worldEngine('interpreter', world, (program) => () => interpret({ program, ...execution, ...options }).r0);
}

/** How code is compiled: `isProven`, with checks only where the verifier has proven nothing. */
export interface CompiledOptions {
  readonly checked: boolean;
  readonly isProven?: boolean;
  readonly fuel?: number;
}

/** Compiled code as an engine: `jit`, `checked`, or `proven`. */
export function compiledEngine(world: World, { isProven = false, ...options }: CompiledOptions): Engine {
  const { arena, context, maps, targets } = world;
  const table = createProgramTable(targets.size + 1);
  const proofOf = (program: Program): { proof?: Proof } => {
    const proof = isProven ? prove(program) : undefined;
    return proof === undefined ? {} : { proof };
  };
  const instantiate = (program: Program): ProgramInstance =>
    instantiateProgram(arena, compileProgram(arena, program, { maps, ...options, ...proofOf(program) }), table);
  for (const [number, program] of targets) table.set(number, instantiate(program).main);
  return worldEngine(isProven ? 'proven' : options.checked ? 'checked' : 'jit', world, (program) => {
    const instance = instantiate(program);
    return () => instance.run(context, BigInt(context), 0n);
  });
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const keyOf = (entry: string): string => entry.slice(0, entry.indexOf(':'));

/** A value as system calls want it: on every CPU the same. */
export function spread({ valueBytes, cpus = 1 }: LinuxMap, value: Uint8Array): Uint8Array {
  const whole = new Uint8Array(valueBytes);
  for (let cpu = 0; cpu < cpus; cpu++) whole.set(value, (cpu * valueBytes) / cpus);
  return whole;
}

/** The kernel as an engine: the fixture's maps are made once, and put right after each run. */
export class KernelEngine implements Engine {
  readonly name = 'kernel';
  readonly #maps: readonly LinuxMap[];
  readonly #targets: KernelProgram[];
  readonly #initial: ReadonlyMap<string, readonly [key: Uint8Array, value: Uint8Array]>[];

  /** @throws RingwayError `UNSUPPORTED` without root. */
  constructor() {
    this.#maps = kernelMaps(DEFINITIONS);
    for (const [index, { initial }] of FIXTURE.entries()) {
      const map = this.#maps[index] as LinuxMap;
      for (const [key, value] of initial) map.setBytes(key, spread(map, value));
    }
    for (const [outer, held] of Object.entries(HELD)) {
      for (const [key, inner] of Object.entries(held)) {
        const { descriptor } = this.#maps[inner] as LinuxMap;
        this.#maps[Number(outer)]?.setBytes(u32(Number(key)), u32(descriptor));
      }
    }
    this.#targets = [...TARGETS.values()].map((program) => new KernelProgram(program, this.#maps));
    for (const [index, { descriptor }] of this.#targets.entries()) {
      this.#maps[MAPS.programs]?.setBytes(u32(index), u32(descriptor));
    }
    this.#initial = FIXTURE.map(({ isData }, index) => {
      const entries = isData ? [...(this.#maps[index] as LinuxMap).entryBytes()] : [];
      return new Map(entries.map(([key, value]) => [this.#text(index, key, value), [key, value] as const]));
    });
  }

  #text(map: number, key: Uint8Array, value: Uint8Array): string {
    return entryText(map, key, value, this.#maps[map]?.cpus ?? 1);
  }

  load(program: Program): Loaded {
    const loaded = new KernelProgram(program, this.#maps);
    const used = usedMaps(program);
    return {
      run: (packet) => loaded.run(packet),
      contents: () => used.flatMap((map) => this.#takeContents(map)),
      close: () => loaded.close(),
    };
  }

  /** What a map holds; afterwards it is as it was at the start. */
  #takeContents(map: number): string[] {
    const initial = this.#initial[map] as ReadonlyMap<string, readonly [Uint8Array, Uint8Array]>;
    const missing = new Map([...initial].map(([text, entry]) => [keyOf(text), entry]));
    const linux = this.#maps[map] as LinuxMap;
    const found = [...linux.entryBytes()].map(([key, value]) => {
      const text = this.#text(map, key, value);
      if (initial.has(text)) missing.delete(keyOf(text));
      else if (!missing.has(keyOf(text))) linux.deleteBytes(key);
      return text;
    });
    for (const [key, value] of missing.values()) linux.setBytes(key, value);
    return found.sort();
  }

  close(): void {
    for (const target of this.#targets) target.close();
    closeAll(this.#maps);
  }
}

/** The numbers of the maps that a run of `program` may change, and that are compared. */
export function usedMaps(program: Program): number[] {
  const found = new Set<number>();
  const add = ({ code }: Program): void => {
    for (const { opcode, src, imm } of code) {
      if (opcode !== OP_LDDW || (src !== LDDW.MAP_INDEX && src !== LDDW.MAP_INDEX_VALUE) || found.has(imm)) continue;
      found.add(imm);
      for (const inner of Object.values(HELD[imm] ?? {})) found.add(inner);
      if (imm === MAPS.programs) for (const target of TARGETS.values()) add(target);
    }
  };
  add(program);
  return [...found].filter((map) => FIXTURE[map]?.isData).sort((a, b) => a - b);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The fault in words, with what all engines agree on. */
export function faultText({ fault }: RunOutput): string {
  if (fault === undefined) return 'no fault';
  // The address of other faults is not said.
  const matters = fault.kind === FAULT_MEMORY || fault.kind === FAULT_MAP;
  return `fault ${fault.kind} at ${fault.pc}${matters ? ` address 0x${fault.address.toString(16)}` : ''}`;
}

const isOutOfFuel = ({ fault }: RunOutput): boolean => fault?.kind === FAULT_FUEL;

/** How two outcomes differ; empty when they do not. */
function difference(a: RunOutput, b: RunOutput, inMapsA: Contents, inMapsB: Contents): string[] {
  const found: string[] = [];
  const compare = (what: string, one: string | number, two: string | number): void => {
    if (one !== two) found.push(`${what}: ${one}, and ${two}`);
  };
  compare('fault', faultText(a), faultText(b));
  compare('r0', a.r0, b.r0);
  compare('metadata bytes', a.metaBytes, b.metaBytes);
  compare('packet', hex(a.packet), hex(b.packet));
  for (const entry of inMapsA) if (!inMapsB.includes(entry)) found.push(`only the first has ${entry}`);
  for (const entry of inMapsB) if (!inMapsA.includes(entry)) found.push(`only the second has ${entry}`);
  return found;
}

/**
 * Runs a program on its packets in all engines, with the maps as they were at the start each time, and holds every
 * engine against the first. Returns what differs, with the program's text; undefined when nothing does. A run that ends for want
 * of fuel is not held against anything, since engines count it by their own measure; nor is a program that is too large for
 * the kernel's verifier.
 */
export function compareEngines(
  engines: readonly Engine[],
  program: Program,
  packets: readonly Uint8Array[],
): string | undefined {
  const loaded: Loaded[] = [];
  const used = usedMaps(program);
  const text = (packet?: Uint8Array): string =>
    [...(packet === undefined ? [] : [`packet ${hex(packet)}`]), ...disassemble(program)].join('\n');
  try {
    for (const engine of engines) {
      try {
        loaded.push(engine.load(program));
      } catch (error) {
        // The verifier gives up on a few, whose ways through are too many: that says nothing of them.
        if ((error as Error).message.includes('BPF program is too large')) return undefined;
        return `${engine.name} refuses the program: ${(error as Error).message}\n${text()}`;
      }
    }
    for (const packet of packets) {
      const outputs = loaded.map((one) => ({ output: one.run(packet), contents: one.contents(used) }));
      const [first, ...others] = outputs as [(typeof outputs)[0], ...typeof outputs];
      for (const [index, { output, contents }] of others.entries()) {
        if (isOutOfFuel(first.output) || isOutOfFuel(output)) continue;
        const found = difference(first.output, output, first.contents, contents);
        if (found.length === 0) continue;
        const names = `${engines[0]?.name} and ${engines[index + 1]?.name} differ`;
        return `${names}\n${found.join('\n')}\n${text(packet)}`;
      }
    }
    return undefined;
  } finally {
    for (const one of loaded) one.close();
  }
}
