import { baseOf, type Libc, loadLibc } from './libc.ts';
import { requireSys } from './linux.ts';

/** Values of the Linux headers (include/uapi/asm-generic/mman-common.h, linux/mman.h). */
const PROT_NONE = 0;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;

/**
 * Pages of one memory, moved and copied by system calls without any look at the arguments: who calls them has checked them.
 * Places are offsets in the memory, multiples of the page size.
 */
export interface Pages {
  /** Where the memory starts in the process: what an iovec in it adds to an offset. */
  readonly base: number;
  /** Puts the page at `fileOffset` of `fd` in place of the one at `offset`. False when the system refuses. */
  map(offset: number, fd: number, fileOffset: number, writable: boolean): boolean;
  /** Puts nothing in place of the `bytes` at `offset`: who touches them is killed. False when the system refuses. */
  unmap(offset: number, bytes: number): boolean;
  /**
   * Copies through the kernel, in one call: what the `count` iovecs at offset `sources` name to where those at `targets` say,
   * vector by vector of the same length.
   * @throws RingwayError `SYSTEM` when the kernel refuses, as it does under some sandboxes.
   */
  copy(targets: number, sources: number, count: number): number;
}

function bindPages({ koffi, call, check }: Libc, memory: WebAssembly.Memory): Pages {
  const mmap = call(
    'intptr_t mmap(uintptr_t address, size_t bytes, int protection, int flags, int fd, int64_t offset)',
  );
  const readv = call(
    'intptr_t process_vm_readv(int pid, uintptr_t local, unsigned long locals, uintptr_t remote, unsigned long remotes, unsigned long flags)',
  );
  const base = baseOf(koffi, memory);
  const { pageBytes } = requireSys('mapping a page');
  const { pid } = process;
  return {
    base,
    map: (offset, fd, fileOffset, writable) =>
      Number(
        mmap(
          base + offset,
          pageBytes,
          writable ? PROT_READ | PROT_WRITE : PROT_READ,
          MAP_SHARED | MAP_FIXED,
          fd,
          fileOffset,
        ),
      ) !== -1,
    unmap: (offset, bytes) =>
      Number(mmap(base + offset, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)) !== -1,
    copy: (targets, sources, count) =>
      check(readv(pid, base + targets, count, base + sources, count, 0), `process_vm_readv(${count} vectors)`),
  };
}

/**
 * The pages of `memory`.
 * @param what what they are wanted for, as the subject of a sentence: `a grant table`.
 * @throws RingwayError `UNSUPPORTED` when there are no system calls here.
 */
export function requirePages(memory: WebAssembly.Memory, what: string): Pages {
  requireSys(what);
  return bindPages(loadLibc(), memory);
}
