import { LinuxMap } from '#build/bpf/linux/map.js';
import { loadIntoLinux } from '#build/bpf/linux/program.js';
import type { Program } from '#build/bpf/program.js';
import { requireBpf } from '#build/sys/index.js';

/** Loads a program into the kernel with maps of its own, and closes all. Gives what the kernel says of it when it is refused. */
export function tryLoad(program: Program): string | undefined {
  const maps: LinuxMap[] = [];
  try {
    for (const map of program.maps) maps.push(new LinuxMap({ ...map, maxEntries: map.maxEntries || 1 }));
    // What replaces a function is an XDP program by itself.
    const type = program.type === 'freplace' ? 'xdp' : program.type;
    requireBpf().close(loadIntoLinux({ ...program, type }, maps));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    for (const map of maps) map.close();
  }
}
