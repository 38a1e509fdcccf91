import { encodeInstructions, type Instruction, LDDW, OP_LDDW } from '../bpf/instruction.ts';
import type { Program } from '../bpf/program.ts';
import { bpfUnavailable, requireBpf } from '../sys/index.ts';
import { NOT_WANTED, type PeerFigure, reasonOf } from './peers.ts';

/** Runs between two looks at the clock, in the kernel. */
const REPEAT = 1_000_000;
const ROUNDS = 5;

/** ns that the kernel's JIT takes for one run of a program on a packet, by BPF_PROG_TEST_RUN: the best of some. */
export function kernelNs(program: Program, packet: Uint8Array, wanted: boolean): PeerFigure {
  if (!wanted) return NOT_WANTED;
  const missing = bpfUnavailable();
  if (missing !== undefined) return { value: null, note: `no peer: ${missing}` };
  const bpf = requireBpf();
  const open: number[] = [];
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
    const times = Array.from(
      { length: ROUNDS },
      () => bpf.progTestRun(loaded, { dataIn: packet, repeat: REPEAT }).durationNs,
    );
    return { value: Math.min(...times), note: '' };
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  } finally {
    for (const descriptor of open) bpf.close(descriptor);
  }
}
