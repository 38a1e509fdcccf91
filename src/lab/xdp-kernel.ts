import { encodeInstructions, type Instruction, LDDW, OP_LDDW } from '../bpf/instruction.ts';
import type { Program } from '../bpf/program.ts';
import { bpfUnavailable, requireBpf } from '../sys/index.ts';
import { NOT_WANTED, type PeerFigure, reasonOf } from './peers.ts';

/** Runs between two looks at the clock, in the kernel. */
const REPEAT = 200_000;

/** A program in the kernel, until `close`. */
export interface KernelRun {
  /** ns that the kernel's JIT takes for one run on the packet, by BPF_PROG_TEST_RUN. */
  ns(): number;
  close(): void;
}

/** Loads a program into the kernel, to run on `packet`. Says why there is none when there is none. */
export function kernelRun(program: Program, packet: Uint8Array, wanted: boolean): KernelRun | PeerFigure {
  if (!wanted) return NOT_WANTED;
  const missing = bpfUnavailable();
  if (missing !== undefined) return { value: null, note: `no peer: ${missing}` };
  const bpf = requireBpf();
  const open: number[] = [];
  const close = (): void => {
    for (const descriptor of open.splice(0)) bpf.close(descriptor);
  };
  try {
    const maps = program.maps.map(({ kind, keyBytes, valueBytes, maxEntries, flags }) => {
      const map = bpf.mapCreate({ kind, keyBytes, valueBytes, maxEntries, flags });
      open.push(map);
      return map;
    });
    const code = program.code.map((instruction): Instruction => {
      const { opcode, src, imm } = instruction;
      const isMap = opcode === OP_LDDW && src === LDDW.MAP_INDEX;
      return isMap ? { ...instruction, src: LDDW.MAP_FD, imm: maps[imm] ?? 0 } : instruction;
    });
    const loaded = bpf.progLoad(encodeInstructions(code));
    open.push(loaded);
    // By the kernel's own clock, in whole ns: seen from here there would be what the system does in between.
    return { ns: () => bpf.progTestRun(loaded, { dataIn: packet, repeat: REPEAT }).durationNs, close };
  } catch (error) {
    close();
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  }
}
