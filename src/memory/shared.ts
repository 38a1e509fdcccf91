import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';

const PAGE_BYTES = 65536;
const MEMORY_PAGES_MAX = 65536;
const WHAT = 'sharing an arena with other processes';

/**
 * Puts a file without a name behind all of `memory`, which nobody has written to yet. Returns the path by which other
 * processes of this user open it, for as long as this process lives.
 * @throws RingwayError `UNSUPPORTED` when there are no system calls here, `SYSTEM` when one is refused.
 */
export function shareMemory(memory: WebAssembly.Memory): string {
  const sys = requireSys(WHAT);
  const bytes = memory.buffer.byteLength;
  const fd = sys.memfdCreate('ringway-arena', bytes, { seal: true });
  sys.mapFile(memory, 0, bytes, fd, 0);
  return `/proc/${process.pid}/fd/${fd}`;
}

/**
 * A memory over the file at `path`, which another process has behind one of its own.
 * @throws RingwayError `UNSUPPORTED` when there are no system calls here, `ARENA_LAYOUT` when the file cannot be one,
 *   `SYSTEM` when it cannot be opened or mapped.
 */
export function openMemory(path: string): WebAssembly.Memory {
  const sys = requireSys(WHAT);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new RingwayError('SYSTEM', `arena ${path}: ${why}; does the process that made it still run, as this user?`, {
      cause,
    });
  }
  try {
    const { size } = fstatSync(fd);
    const pages = size / PAGE_BYTES;
    if (!Number.isInteger(pages) || pages < 3 || pages > MEMORY_PAGES_MAX) {
      throw new RingwayError('ARENA_LAYOUT', `arena ${path}: ${size} bytes, which no arena has; is it the right file?`);
    }
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    sys.mapFile(memory, 0, size, fd, 0);
    return memory;
  } finally {
    // The mapping keeps the file.
    closeSync(fd);
  }
}

/** A number of this build's kernels (FNV-1a, 32 bits): processes that share an arena must be of one build. */
export function buildNumber(): number {
  let hash = 0x811c9dc5;
  for (const byte of readFileSync(new URL('../kernel.wasm', import.meta.url))) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}
