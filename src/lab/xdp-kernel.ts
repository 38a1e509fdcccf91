import { LinuxMap } from '../bpf/linux/map.ts';
import { loadIntoLinux } from '../bpf/linux/program.ts';
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
  const maps: LinuxMap[] = [];
  let loaded: number | undefined;
  const close = (): void => {
    if (loaded !== undefined) bpf.close(loaded);
    for (const map of maps) map.close();
  };
  try {
    for (const definition of program.maps) maps.push(new LinuxMap(definition));
    const descriptor = loadIntoLinux(program, maps);
    loaded = descriptor;
    // By the kernel's own clock, in whole ns: seen from here there would be what the system does in between.
    return { ns: () => bpf.progTestRun(descriptor, { dataIn: packet, repeat: REPEAT }).durationNs, close };
  } catch (error) {
    close();
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  }
}
