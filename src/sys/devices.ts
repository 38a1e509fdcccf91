import { baseOf, type Libc, loadLibc } from './libc.ts';
import { requireSys } from './linux.ts';

/** Values of the Linux headers (include/uapi: asm-generic/mman-common.h, asm-generic/fcntl.h, linux/socket.h). */
const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 0x01;
const MAP_FIXED = 0x10;
const MAP_POPULATE = 0x8000;
const O_RDWR_CLOEXEC_NONBLOCK = 2 | 0o2000000 | 0o4000;
const SOCK_RAW_CLOEXEC_NONBLOCK = 3 | 0o2000000 | 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/**
 * The calls that sockets and character devices of network interfaces take. What a call fails with is RingwayError `SYSTEM` with
 * the call and the errno's name; those of the packet path answer -1, and `errorName` says why.
 */
export interface Devices {
  /** Where the memory starts in the process: what an address that is given to a device adds to an offset. */
  readonly base: number;
  /** A raw socket, which no call blocks on. */
  socket(domain: number, protocol: number): number;
  /** Opens a character device; no call blocks on it. */
  open(path: string): number;
  bind(fd: number, address: Uint8Array, what: string): void;
  setOption(fd: number, level: number, option: number, value: Uint8Array, what: string): void;
  /** Reads an option into `value`, as much as there is. Returns its bytes. */
  getOption(fd: number, level: number, option: number, value: Uint8Array, what: string): number;
  /** An ioctl whose argument is a struct, which it may write to, or a number. */
  ioctl(fd: number, request: number, argument: Uint8Array | number, what: string): void;
  /** An ioctl of the packet path, whose argument lies in the memory at `place`. Returns its result, or -1. */
  control(fd: number, request: number, place: number): number;
  /** Puts `length` bytes of what `fd` shares from `place` on over the memory at `offset`, a multiple of the page size. */
  map(offset: number, length: number, fd: number, place: number, what: string): void;
  /** Reads into the `count` vectors (struct iovec) at offset `vectors`. Returns the bytes, or -1. */
  readv(fd: number, vectors: number, count: number): number;
  /** Writes the `bytes` bytes at `offset`. Returns the bytes, or -1. */
  write(fd: number, offset: number, bytes: number): number;
  /** Writes what the `count` vectors at offset `vectors` name. Returns the bytes, or -1. */
  writev(fd: number, vectors: number, count: number): number;
  /** Has a socket send what lies in its ring. Returns -1 when it could not. */
  kick(fd: number): number;
  /** Name of an errno, such as EAGAIN; why the last call of this thread failed when not given. */
  errorName(errno?: number): string;
}

function bind({ koffi, call, check, errorName }: Libc, memory: WebAssembly.Memory): Devices {
  const socket = call('int socket(int domain, int type, int protocol)');
  const open = call('int open(const char *path, int flags)');
  const bindSocket = call('int bind(int fd, const void *address, unsigned int bytes)');
  const setsockopt = call('int setsockopt(int fd, int level, int option, const void *value, unsigned int bytes)');
  const getsockopt = call('int getsockopt(int fd, int level, int option, void *value, void *bytes)');
  const ioctlStruct = call('int ioctl(int fd, unsigned long request, void *argument)');
  const ioctlNumber = call('int ioctl(int fd, unsigned long request, unsigned long argument)');
  const mmap = call(
    'intptr_t mmap(uintptr_t address, size_t bytes, int protection, int flags, int fd, int64_t offset)',
  );
  const readv = call('intptr_t readv(int fd, uintptr_t vectors, int count)');
  const write = call('intptr_t write(int fd, uintptr_t data, size_t bytes)');
  const writev = call('intptr_t writev(int fd, uintptr_t vectors, int count)');
  const sendto = call(
    'intptr_t sendto(int fd, uintptr_t data, size_t bytes, int flags, uintptr_t address, unsigned int length)',
  );
  const base = baseOf(koffi, memory);
  return {
    base,
    socket: (domain, protocol) =>
      check(socket(domain, SOCK_RAW_CLOEXEC_NONBLOCK, protocol), `socket(${domain}, SOCK_RAW, ${protocol})`),
    open: (path) => check(open(path, O_RDWR_CLOEXEC_NONBLOCK), `open(${path})`),
    bind(fd, address, what) {
      check(bindSocket(fd, address, address.length), `bind(${what})`);
    },
    setOption(fd, level, option, value, what) {
      check(setsockopt(fd, level, option, value, value.length), `setsockopt(${what})`);
    },
    getOption(fd, level, option, value, what) {
      const bytes = Uint32Array.of(value.length);
      check(getsockopt(fd, level, option, value, bytes), `getsockopt(${what})`);
      return bytes[0] as number;
    },
    ioctl(fd, request, argument, what) {
      const ioctl = typeof argument === 'number' ? ioctlNumber : ioctlStruct;
      check(ioctl(fd, request, argument), `ioctl(${what})`);
    },
    control: (fd, request, place) => Number(ioctlNumber(fd, request, base + place)),
    map(offset, length, fd, place, what) {
      const flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
      check(mmap(base + offset, length, PROT_READ_WRITE, flags, fd, place), `mmap(${what}, ${length} bytes)`);
    },
    readv: (fd, vectors, count) => Number(readv(fd, base + vectors, count)),
    write: (fd, offset, bytes) => Number(write(fd, base + offset, bytes)),
    writev: (fd, vectors, count) => Number(writev(fd, base + vectors, count)),
    kick: (fd) => Number(sendto(fd, 0, 0, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0)),
    errorName,
  };
}

/**
 * The calls that network interfaces take, over `memory`.
 * @param what what they are wanted for, as the subject of a sentence: `a tap port`.
 * @throws RingwayError `UNSUPPORTED` when there are no system calls here.
 */
export function requireDevices(memory: WebAssembly.Memory, what: string): Devices {
  requireSys(what);
  return bind(loadLibc(), memory);
}
