import { baseOf, loadLibc } from './libc.ts';
import { requireSys } from './linux.ts';

/** Numbers of io_uring_setup(2) and io_uring_enter(2), which are the same on all processors but Alpha. */
const SETUP = 425;
const ENTER = 426;
/** Linux include/uapi/linux/io_uring.h: rings in memory that we bring, and no array of indexes (since 6.6). */
const IORING_SETUP_NO_MMAP = 1 << 14;
const IORING_SETUP_NO_SQARRAY = 1 << 16;
/** struct io_uring_params: of each ring the offsets of its words, u32 each, and a u64 for where it is to be. */
const PARAMS_BYTES = 120;
const FLAGS = 8;
const SQ = 40;
const CQ = 80;
const USER_ADDRESS = 32;
const PAGE_BYTES = 4096;

/** An io_uring, and where the words of its rings are in the memory. */
export interface Uring {
  readonly fd: number;
  readonly sqHead: number;
  readonly sqTail: number;
  readonly cqHead: number;
  readonly cqTail: number;
  readonly completions: number;
}

/** System calls in bursts: requests are written to a ring in the memory, and one call makes them all. */
export interface Urings {
  /**
   * Makes a ring of `entries` requests, a power of two up to the 64 that a page has, with room for twice as many completions.
   * @param requests offset of the page that the requests are written to; `rings`: that of heads, tails and completions.
   * @returns undefined where there is none: Linux is older than 6.6, or whoever runs this container has forbidden it.
   */
  create(entries: number, requests: number, rings: number): Uring | undefined;
  /** Makes the first `count` requests of the ring. Returns how many it took, or -1. */
  submit(fd: number, count: number): number;
}

/**
 * io_uring over `memory`.
 * @param what what it is wanted for, as the subject of a sentence: `a tap port`.
 * @throws RingwayError `UNSUPPORTED` when there are no system calls here.
 */
export function requireUrings(memory: WebAssembly.Memory, what: string): Urings {
  requireSys(what);
  const { koffi, call } = loadLibc();
  const base = baseOf(koffi, memory);
  const setup = call('int64_t syscall(int64_t number, unsigned int entries, void *parameters)');
  const enter = call(
    'int64_t syscall(int64_t number, int fd, unsigned int submit, unsigned int wait, unsigned int flags, uintptr_t signals, size_t bytes)',
  );
  return {
    create(entries, requests, rings) {
      const parameters = new Uint8Array(PARAMS_BYTES);
      const view = new DataView(parameters.buffer);
      view.setUint32(FLAGS, IORING_SETUP_NO_MMAP | IORING_SETUP_NO_SQARRAY, true);
      view.setBigUint64(SQ + USER_ADDRESS, BigInt(base + requests), true);
      view.setBigUint64(CQ + USER_ADDRESS, BigInt(base + rings), true);
      // The kernel takes memory that is ours as it is.
      for (const page of [requests, rings]) new Uint8Array(memory.buffer, page, PAGE_BYTES).fill(0);
      const fd = Number(setup(SETUP, entries, parameters));
      if (fd === -1) return undefined;
      const word = (at: number): number => rings + view.getUint32(at, true);
      return {
        fd,
        sqHead: word(SQ),
        sqTail: word(SQ + 4),
        cqHead: word(CQ),
        cqTail: word(CQ + 4),
        completions: word(CQ + 20),
      };
    },
    submit: (fd, count) => Number(enter(ENTER, fd, count, 0, 0, 0, 0)),
  };
}
