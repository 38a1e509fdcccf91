import { fstatSync, ftruncateSync, statfsSync } from 'node:fs';
import { alignUp } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import { baseOf as baseIn, type Libc, loadLibc } from './libc.ts';

/** Values of the Linux headers (include/uapi: asm-generic/mman-common.h, linux/mman.h, linux/memfd.h, linux/fcntl.h). */
const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MADV_HUGEPAGE = 14;
/** linux/time.h */
const CLOCK_THREAD_CPUTIME_ID = 3;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;
const F_SEAL_SEAL_SHRINK_GROW = 1 | F_SEAL_SHRINK | 4;
/** linux/magic.h. On such a file system, statfs gives the size of a huge page as the block size. */
const HUGETLBFS_MAGIC = 0x958458f6;

const PAGE_BYTES = 4096;
/** CPUs in a `cpu_set_t` (glibc's CPU_SETSIZE). */
const CPUS_MAX = 1024;

/** A file that could be mapped. */
export interface FileShape {
  readonly bytes: number;
  /** Places and lengths of mappings are multiples of it: 4,096, or a huge page's. */
  readonly pageBytes: number;
  /** It is sealed against shrinking: what is mapped stays. Else a window over it wants `guardWindow`. */
  readonly keepsSize: boolean;
}

/** Linux system calls. Each throws RingwayError `SYSTEM` with the call and the errno's name when the kernel refuses. */
export interface Sys {
  /**
   * Makes an anonymous file of `bytes` zeroed bytes. Returns its descriptor, closed on exec.
   * @param options.seal forbids everybody to change the size: a mapping of a shrunk file kills its readers.
   * @throws RingwayError `BAD_ARGUMENT` when `bytes` is not a whole number from 1.
   */
  memfdCreate(name: string, bytes: number, options: { readonly seal: boolean }): number;
  /**
   * Puts `length` bytes of the file `fd` from `fileOffset` in place of `memory`'s bytes at `offset`, in every thread
   * and every WebAssembly instance at once. What was there before is gone.
   * @throws RingwayError `BAD_ARGUMENT` when an offset or the length is not a multiple of the file's page size (4,096
   *   bytes, or a huge page's), or lies outside the memory or the file.
   */
  mapFile(memory: WebAssembly.Memory, offset: number, length: number, fd: number, fileOffset: number): void;
  /**
   * Takes a file out again: `length` bytes of private zeroes in its place. There is never a hole, since atomics and
   * JavaScript die with SIGSEGV on one.
   * @throws RingwayError `BAD_ARGUMENT` as `mapFile`.
   */
  unmap(memory: WebAssembly.Memory, offset: number, length: number): void;
  /**
   * Asks for huge pages behind `length` bytes at `offset`; a wish, which the system may ignore.
   * @throws RingwayError `BAD_ARGUMENT` as `mapFile`.
   */
  adviseHugePages(memory: WebAssembly.Memory, offset: number, length: number): void;
  /**
   * Keeps the calling thread on one CPU.
   * @param cpu 0 to 1,023; one of `currentCpus()`, or another that the process's cgroup allows.
   */
  pinThread(cpu: number): void;
  /** The CPUs that the calling thread may run on, ascending. */
  currentCpus(): number[];
  /** CPU time that the calling thread got so far, in ns. */
  threadCpuNs(): number;
  /** Bytes of a page: of which offsets in a memory are to be multiples. */
  readonly pageBytes: number;
  /**
   * What a file from a peer is like, before it is mapped.
   * @throws RingwayError `SYSTEM` when it is not an open file.
   */
  describeFile(fd: number): FileShape;
  /** Bytes from `offset` in the memory to the next place that a page of `page` bytes, a power of two, can be mapped at. */
  misalignment(memory: WebAssembly.Memory, offset: number, page: number): number;
  closeFd(fd: number): void;
}

/** Throws unless `value` is a multiple of `align` and both ends lie in `limit` bytes. */
function checkRange(what: string, offset: number, length: number, align: number, limit: number, base: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 1) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${what}: ${length} bytes at ${offset}, must be whole numbers, from 1 byte at 0`,
    );
  }
  if ((base + offset) % align !== 0 || length % align !== 0) {
    const place = base === 0 ? `${offset}` : `${offset} (address 0x${(base + offset).toString(16)})`;
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${what}: ${length} bytes at ${place}, both must be multiples of the page size ${align}`,
    );
  }
  if (offset + length > limit) {
    throw new RingwayError('BAD_ARGUMENT', `${what}: ${length} bytes at ${offset} end past its ${limit} bytes`);
  }
}

/** Bytes of the file `fd`, and its page size, of which mmap wants offsets and addresses to be multiples. */
function measureFile(fd: number): { bytes: number; pageBytes: number } {
  try {
    const { type, bsize } = statfsSync(`/proc/self/fd/${fd}`);
    return { bytes: fstatSync(fd).size, pageBytes: type === HUGETLBFS_MAGIC ? bsize : PAGE_BYTES };
  } catch (cause) {
    throw new RingwayError('SYSTEM', `map: file descriptor ${fd} is not an open file: ${cause}`, { cause });
  }
}

function bindSys({ koffi, call, check }: Libc): Sys {
  const memfd = call('int memfd_create(const char *name, unsigned int flags)');
  const fcntl = call('int fcntl(int fd, int command, ...)');
  const mmap = call(
    'intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
  );
  const madvise = call('int madvise(uintptr_t address, size_t length, int advice)');
  const setAffinity = call('int sched_setaffinity(int pid, size_t bytes, const void *mask)');
  const getAffinity = call('int sched_getaffinity(int pid, size_t bytes, void *mask)');
  const getTime = call('int clock_gettime(int clock, void *time)');
  const close = call('int close(int fd)');

  const mask = new Uint8Array(CPUS_MAX / 8);
  /** A struct timespec: seconds and nanoseconds, as halves of 64 bits each. */
  const time = new Uint32Array(4);

  const baseOf = (memory: WebAssembly.Memory): number => baseIn(koffi, memory);

  const closeFd = (fd: number): void => {
    check(close(fd), `close(${fd})`);
  };

  return {
    memfdCreate(name, bytes, { seal }) {
      if (!Number.isSafeInteger(bytes) || bytes < 1) {
        throw new RingwayError('BAD_ARGUMENT', `memfd ${name}: ${bytes} bytes, must be a whole number from 1`);
      }
      const fd = check(memfd(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), `memfd_create(${JSON.stringify(name)})`);
      try {
        ftruncateSync(fd, bytes);
        if (seal) check(fcntl(fd, F_ADD_SEALS, 'int', F_SEAL_SEAL_SHRINK_GROW), `fcntl(${fd}, F_ADD_SEALS)`);
      } catch (cause) {
        closeFd(fd);
        if (cause instanceof RingwayError) throw cause;
        throw new RingwayError('SYSTEM', `memfd ${JSON.stringify(name)} of ${bytes} bytes: ${cause}`, { cause });
      }
      return fd;
    },

    mapFile(memory, offset, length, fd, fileOffset) {
      const base = baseOf(memory);
      const { bytes, pageBytes } = measureFile(fd);
      checkRange('map: the memory', offset, length, pageBytes, memory.buffer.byteLength, base);
      // The last page is there as a whole, with zeroes behind the file's end.
      checkRange(`map: file descriptor ${fd}`, fileOffset, length, pageBytes, alignUp(bytes, pageBytes), 0);
      const mapped = mmap(base + offset, length, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED, fd, fileOffset);
      check(mapped, `mmap(${length} bytes of descriptor ${fd} from ${fileOffset} at offset ${offset})`);
    },

    unmap(memory, offset, length) {
      const base = baseOf(memory);
      checkRange('unmap: the memory', offset, length, PAGE_BYTES, memory.buffer.byteLength, base);
      const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
      const mapped = mmap(base + offset, length, PROT_READ_WRITE, flags, -1, 0);
      check(mapped, `mmap(${length} anonymous bytes at offset ${offset})`);
    },

    adviseHugePages(memory, offset, length) {
      const base = baseOf(memory);
      checkRange('huge pages: the memory', offset, length, PAGE_BYTES, memory.buffer.byteLength, base);
      const advised = madvise(base + offset, length, MADV_HUGEPAGE);
      check(advised, `madvise(${length} bytes at offset ${offset}, MADV_HUGEPAGE)`);
    },

    pinThread(cpu) {
      if (!Number.isInteger(cpu) || cpu < 0 || cpu >= CPUS_MAX) {
        throw new RingwayError('BAD_ARGUMENT', `pin: cpu ${cpu}, must be from 0 to ${CPUS_MAX - 1}`);
      }
      mask.fill(0);
      mask[cpu >> 3] = 1 << (cpu & 7);
      check(setAffinity(0, mask.length, mask), `sched_setaffinity(cpu ${cpu})`);
    },

    currentCpus() {
      mask.fill(0);
      check(getAffinity(0, mask.length, mask), 'sched_getaffinity');
      return Array.from({ length: CPUS_MAX }, (_, cpu) => cpu).filter(
        (cpu) => (mask[cpu >> 3] ?? 0) & (1 << (cpu & 7)),
      );
    },

    threadCpuNs() {
      check(getTime(CLOCK_THREAD_CPUTIME_ID, time), 'clock_gettime(CLOCK_THREAD_CPUTIME_ID)');
      return (time[0] as number) * 1e9 + (time[2] as number);
    },

    pageBytes: PAGE_BYTES,
    describeFile(fd) {
      // What is no memfd has no seals (EINVAL), so that anybody may truncate it.
      const seals = Number(fcntl(fd, F_GET_SEALS));
      return { ...measureFile(fd), keepsSize: seals !== -1 && (seals & F_SEAL_SHRINK) !== 0 };
    },
    misalignment: (memory, offset, page) => (page - ((baseOf(memory) + offset) % page)) % page,
    closeFd,
  };
}

let bound: { sys: Sys } | { reason: unknown } | undefined;

function bind(): { sys: Sys } | { reason: unknown } {
  try {
    return { sys: bindSys(loadLibc()) };
  } catch (reason) {
    return { reason };
  }
}

/** True on Linux when koffi is installed and loads. The first call of a thread loads it (about 50 ms). */
export function sysAvailable(): boolean {
  bound ??= bind();
  return 'sys' in bound;
}

/**
 * The system calls.
 * @param what what they are wanted for, as the subject of a sentence: `pinning a thread`.
 * @throws RingwayError `UNSUPPORTED` when they are not to be had here.
 */
export function requireSys(what: string): Sys {
  bound ??= bind();
  if ('sys' in bound) return bound.sys;
  const { reason } = bound;
  const why = String(reason instanceof Error ? reason.message : reason).split('\n', 1)[0];
  throw new RingwayError(
    'UNSUPPORTED',
    `${what} needs Linux and the optional dependency koffi (\`npm install koffi\`), and here ${why}`,
    { cause: reason },
  );
}
