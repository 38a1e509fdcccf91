import { encodeInstructions, type Instruction, LDDW, OP_LDDW } from '#build/bpf/instruction.js';
import { KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS } from '#build/bpf/layout.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';
import { BPF_F_XDP_HAS_FRAGS, type KernelBpf, requireBpf } from '#build/sys/index.js';

/** Kinds of maps that have a value for each CPU. */
const PER_CPU = [5, 6, 10];

/** Maps in the kernel, made from definitions: until `close`. */
export class KernelMaps {
  readonly definitions: readonly MapDefinition[];
  /** Descriptors, in the order of the definitions. */
  readonly descriptors: readonly number[];
  /** CPUs that per-CPU maps have values for. */
  readonly cpus: number;
  readonly #bpf: KernelBpf = requireBpf();

  /** @param cpus CPUs that the kernel counts with: those in /sys/devices/system/cpu/possible. */
  constructor(definitions: readonly MapDefinition[], cpus: number) {
    this.definitions = definitions;
    this.cpus = cpus;
    this.descriptors = definitions.map((definition) => this.#create(definition));
  }

  #create(definition: MapDefinition): number {
    const { kind, keyBytes, valueBytes, maxEntries, flags, name } = definition;
    let inner: number | undefined;
    if (kind === KIND_ARRAY_OF_MAPS || kind === KIND_HASH_OF_MAPS) {
      if (definition.inner === undefined) throw new Error(`map ${name} has no inner map`);
      inner = this.#create(definition.inner);
    }
    const made = this.#bpf.mapCreate({
      kind,
      keyBytes,
      valueBytes,
      maxEntries,
      flags,
      name,
      ...(inner === undefined ? {} : { inner }),
    });
    if (inner !== undefined) this.#bpf.close(inner);
    return made;
  }

  #of(map: number): { definition: MapDefinition; descriptor: number } {
    return { definition: this.definitions[map] as MapDefinition, descriptor: this.descriptors[map] as number };
  }

  /** Bytes of a value as system calls have it: of all CPUs, each a multiple of 8. */
  valueBytes(map: number): number {
    const { kind, valueBytes } = this.#of(map).definition;
    return PER_CPU.includes(kind) ? Math.ceil(valueBytes / 8) * 8 * this.cpus : valueBytes;
  }

  set(map: number, key: Uint8Array, value: Uint8Array): void {
    this.#bpf.mapUpdate(this.#of(map).descriptor, key, value);
  }

  delete(map: number, key: Uint8Array): boolean {
    return this.#bpf.mapDelete(this.#of(map).descriptor, key);
  }

  /** Key and value of each entry, in the kernel's order. */
  entries(map: number): [key: Uint8Array, value: Uint8Array][] {
    const { definition, descriptor } = this.#of(map);
    const found: [Uint8Array, Uint8Array][] = [];
    let key = this.#bpf.mapNextKey(descriptor, undefined, definition.keyBytes);
    while (key !== undefined) {
      const value = this.#bpf.mapLookup(descriptor, key, this.valueBytes(map));
      if (value !== undefined) found.push([key, value]);
      key = this.#bpf.mapNextKey(descriptor, key, definition.keyBytes);
    }
    return found;
  }

  close(): void {
    for (const descriptor of this.descriptors) this.#bpf.close(descriptor);
  }
}

/** The instructions as bytes for the kernel, with maps by their descriptors. */
export function kernelCode(program: Program, maps: KernelMaps): Uint8Array {
  const code = program.code.map((instruction, pc): Instruction => {
    // The second half of an LDDW has opcode 0, and nothing else has.
    const { opcode, src, imm } = instruction;
    if (opcode !== OP_LDDW || (src !== LDDW.MAP_INDEX && src !== LDDW.MAP_INDEX_VALUE)) return instruction;
    const descriptor = maps.descriptors[imm];
    if (descriptor === undefined) throw new Error(`instruction ${pc} has map ${imm}, of ${maps.descriptors.length}`);
    return { ...instruction, src: src === LDDW.MAP_INDEX ? LDDW.MAP_FD : LDDW.MAP_VALUE, imm: descriptor };
  });
  return encodeInstructions(code);
}

/** What a run in the kernel left. */
export interface KernelRun {
  /** u32. */
  readonly r0: number;
  /** Metadata and packet. */
  readonly packet: Uint8Array;
  readonly metaBytes: number;
}

/** BTF with one type for all functions, 3: `static int f(void)`. The kernel wants it for tail calls in functions. */
function functionBtf(): Uint8Array {
  const strings = new TextEncoder().encode('\0int\0f\0');
  // BTF_KIND_INT, FUNC_PROTO and FUNC (Linux include/uapi/linux/btf.h): name, kind << 24, size or type, then INT's bits.
  const types = [1, 1 << 24, 4, (1 << 24) | 32, 0, 13 << 24, 1, 5, 12 << 24, 2];
  const header = [(1 << 16) | 0xeb9f, 24, 0, types.length * 4, types.length * 4, strings.length];
  return Uint8Array.of(...new Uint8Array(Uint32Array.from([...header, ...types]).buffer), ...strings);
}

const FUNCTION_TYPE = 3;
let btf: number | undefined;

function functionsOf({ functions }: Program): { descriptor: number; functions: Uint8Array } {
  btf ??= requireBpf().btfLoad(functionBtf());
  const records = functions.flatMap(({ start }) => [start, FUNCTION_TYPE]);
  return { descriptor: btf, functions: new Uint8Array(Uint32Array.from(records).buffer) };
}

/** A program in the kernel, until `close`. */
export class KernelProgram {
  readonly descriptor: number;
  readonly #bpf: KernelBpf = requireBpf();

  /** @throws RingwayError `SYSTEM` with what the kernel's verifier says when it refuses the program. */
  constructor(program: Program, maps: KernelMaps) {
    this.descriptor = this.#bpf.progLoad(kernelCode(program, maps), {
      name: program.name,
      flags: program.frags ? BPF_F_XDP_HAS_FRAGS : 0,
      ...(program.functions.length > 1 ? { btf: functionsOf(program) } : {}),
    });
  }

  /** Runs it once. */
  run(packet: Uint8Array): KernelRun {
    const ctxIn = new Uint8Array(24);
    new DataView(ctxIn.buffer).setUint32(4, packet.length, true);
    const { retval, dataOut, ctxOut } = this.#bpf.progTestRun(this.descriptor, { dataIn: packet, ctxIn });
    // Data is counted from the start of the metadata.
    const metaBytes = new DataView((ctxOut as Uint8Array).buffer).getUint32(0, true);
    return { r0: retval, packet: dataOut, metaBytes };
  }

  close(): void {
    this.#bpf.close(this.descriptor);
  }
}
