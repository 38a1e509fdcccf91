import { LinuxMap } from '#build/bpf/linux/map.js';
import { loadIntoLinux } from '#build/bpf/linux/program.js';
import type { MapDefinition, Program } from '#build/bpf/program.js';
import { requireBpf } from '#build/sys/index.js';

/** Maps in the kernel, made from definitions: until `closeAll`. */
export function kernelMaps(definitions: readonly MapDefinition[]): LinuxMap[] {
  return definitions.map((definition) => new LinuxMap(definition));
}

export function closeAll(maps: readonly LinuxMap[]): void {
  for (const map of maps) map.close();
}

/** What a run in the kernel left. */
export interface KernelRun {
  /** u32. */
  readonly r0: number;
  /** Metadata and packet. */
  readonly packet: Uint8Array;
  readonly metaBytes: number;
}

/** A program in the kernel, until `close`. */
export class KernelProgram {
  readonly descriptor: number;

  /** @throws RingwayError `SYSTEM` with what the kernel's verifier says when it refuses the program. */
  constructor(program: Program, maps: readonly LinuxMap[]) {
    this.descriptor = loadIntoLinux(program, maps);
  }

  /** Runs it once. */
  run(packet: Uint8Array): KernelRun {
    const ctxIn = new Uint8Array(24);
    new DataView(ctxIn.buffer).setUint32(4, packet.length, true);
    const { retval, dataOut, ctxOut } = requireBpf().progTestRun(this.descriptor, { dataIn: packet, ctxIn });
    // Data is counted from the start of the metadata.
    const metaBytes = new DataView((ctxOut as Uint8Array).buffer).getUint32(0, true);
    return { r0: retval, packet: dataOut, metaBytes };
  }

  close(): void {
    requireBpf().close(this.descriptor);
  }
}
