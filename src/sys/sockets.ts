import { lstatSync, mkdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { RingwayError } from '../util/errors.ts';
import { type Libc, loadLibc } from './libc.ts';
import { requireSys } from './linux.ts';

/** Values of the Linux headers (include/linux/socket.h, include/uapi: asm-generic/fcntl.h, linux/eventfd.h). */
const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC_NONBLOCK = 1 | 0o2000000 | 0o4000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_PEEK = 2;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const EFD_CLOEXEC_NONBLOCK = 0o2000000 | 0o4000;

/** sun_path has 108 bytes, with a zero behind it (unix(7)). */
const PATH_BYTES_MAX = 107;
/** Only the owner opens the socket. */
const SOCKET_MODE = 0o600;
/** Descriptors that a message may bring at most (SCM_MAX_FD). */
const FDS_MAX = 253;
const CMSG_HEADER_BYTES = 16;
/** Bytes of a call at most. */
const DATA_BYTES = 8192;

/** Where things lie in the scratch: struct sockaddr_un, iovec, msghdr (56 bytes), control data, bytes. */
const ADDRESS_AT = 0;
const IOVEC_AT = 128;
const MSGHDR_AT = 144;
const CONTROL_AT = 256;
const CONTROL_BYTES = CMSG_HEADER_BYTES + 4 * FDS_MAX + 4;
const DATA_AT = 2048;

/** What a call on a stream found: bytes, or that there are none now, or that the other side is gone. */
export type Received = { readonly data: Uint8Array; readonly fds: readonly number[] } | 'again' | 'closed';

/** Unix sockets that pass descriptors, and eventfds. Nothing waits: what cannot be done at once says so. */
export interface UnixSockets {
  /**
   * Listens at `path`, for this user alone (mode 0600). Missing directories are made; a socket that nobody listens on any more
   * is replaced.
   * @throws RingwayError `BUSY` when somebody listens there, `SYSTEM` when it cannot be made or `path` is something else.
   */
  listen(path: string): number;
  /** Takes the next client of a listening socket; undefined when none waits. */
  accept(listener: number): number | undefined;
  /** Connects to `path`. Undefined when nobody listens there, or too many wait already: try again later. */
  connect(path: string): number | undefined;
  /** Two sockets that are connected to each other. */
  pair(): [number, number];
  /** Up to `bytes` (1 to 8192) bytes of a stream, a copy, and the descriptors that came with the first of them. */
  receive(fd: number, bytes: number): Received;
  /** True when the other side has closed and nothing is left to receive. */
  isClosed(fd: number): boolean;
  /** Sends bytes, with `fds` on the first of them. Returns how many it took: 0 when the other side does not read. */
  send(fd: number, data: Uint8Array, fds?: readonly number[]): number | 'closed';
  /** A new eventfd, which no call blocks on. */
  eventfd(): number;
  /** Adds one to an eventfd. A counter that is full stays so. */
  signal(fd: number): void;
  /** Takes an eventfd's count, and sets it to 0. */
  drain(fd: number): number;
  /** Makes an eventfd of a peer one that no write blocks on. False when it is no eventfd. */
  adoptEventfd(fd: number): boolean;
}

/** Memory that the kernel reads and writes: never freed, since an address does not keep its buffer. */
function makeScratch({ koffi }: Libc) {
  const bytes = new Uint8Array(DATA_AT + DATA_BYTES);
  const view = new DataView(bytes.buffer);
  const base = Number(koffi.address(bytes));
  const pointer = (at: number, to: number): void => view.setBigUint64(at, BigInt(base + to), true);
  return {
    bytes,
    view,
    base,
    /** Fills in the msghdr for `length` bytes and `control` bytes of control data. */
    message(length: number, control: number): number {
      bytes.fill(0, MSGHDR_AT, MSGHDR_AT + 56);
      pointer(IOVEC_AT, DATA_AT);
      view.setBigUint64(IOVEC_AT + 8, BigInt(length), true);
      pointer(MSGHDR_AT + 16, IOVEC_AT);
      view.setBigUint64(MSGHDR_AT + 24, 1n, true);
      if (control > 0) pointer(MSGHDR_AT + 32, CONTROL_AT);
      view.setBigUint64(MSGHDR_AT + 40, BigInt(control), true);
      return base + MSGHDR_AT;
    },
    /** Writes a struct sockaddr_un. Returns its bytes. */
    address(path: string): number {
      const encoded = new TextEncoder().encode(path);
      if (encoded.length === 0 || encoded.length > PATH_BYTES_MAX || encoded.includes(0)) {
        throw new RingwayError(
          'SYSTEM',
          `${path}: a socket's path has 1 to ${PATH_BYTES_MAX} bytes; use a shorter one`,
        );
      }
      bytes.fill(0, ADDRESS_AT, IOVEC_AT);
      view.setUint16(ADDRESS_AT, AF_UNIX, true);
      bytes.set(encoded, ADDRESS_AT + 2);
      return 2 + encoded.length + 1;
    },
  };
}

function bindSockets(libc: Libc, closeFd: (fd: number) => void): UnixSockets {
  const { call, check, errorName } = libc;
  const socket = call('int socket(int domain, int type, int protocol)');
  const socketpair = call('int socketpair(int domain, int type, int protocol, uintptr_t descriptors)');
  const bind = call('int bind(int fd, uintptr_t address, unsigned int bytes)');
  const listen = call('int listen(int fd, int backlog)');
  const accept = call('int accept4(int fd, uintptr_t address, uintptr_t bytes, int flags)');
  const connect = call('int connect(int fd, uintptr_t address, unsigned int bytes)');
  const recvmsg = call('intptr_t recvmsg(int fd, uintptr_t message, int flags)');
  const sendmsg = call('intptr_t sendmsg(int fd, uintptr_t message, int flags)');
  const chmod = call('int fchmod(int fd, unsigned int mode)');
  const fcntl = call('int fcntl(int fd, int command, ...)');
  const eventfd = call('int eventfd(unsigned int value, int flags)');
  const write = call('intptr_t write(int fd, uintptr_t data, size_t bytes)');
  const read = call('intptr_t read(int fd, uintptr_t data, size_t bytes)');
  const scratch = makeScratch(libc);
  const { bytes, view, base } = scratch;

  const open = (): number => check(socket(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0), 'socket(AF_UNIX)');

  /** Connects, or says why not. */
  const tryConnect = (path: string): number | string => {
    const fd = open();
    if (Number(connect(fd, base + ADDRESS_AT, scratch.address(path))) === 0) return fd;
    const reason = errorName();
    closeFd(fd);
    return reason;
  };

  /** Removes what a dead process left. */
  const removeStale = (path: string): void => {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (!stat.isSocket()) throw new RingwayError('SYSTEM', `${path}: is no socket; remove it, or use another path`);
    const other = tryConnect(path);
    if (other !== 'ECONNREFUSED' && other !== 'ENOENT') {
      if (typeof other === 'number') closeFd(other);
      throw new RingwayError('BUSY', `${path}: somebody listens there already; stop it, or use another path`);
    }
    unlinkSync(path);
  };

  /** The descriptors in the control data of the last message. */
  const takeFds = (): number[] => {
    const length = Number(view.getBigUint64(MSGHDR_AT + 40, true));
    if (length < CMSG_HEADER_BYTES) return [];
    const isRights =
      view.getInt32(CONTROL_AT + 8, true) === SOL_SOCKET && view.getInt32(CONTROL_AT + 12, true) === SCM_RIGHTS;
    if (!isRights) return [];
    const count = (Number(view.getBigUint64(CONTROL_AT, true)) - CMSG_HEADER_BYTES) >> 2;
    return Array.from({ length: count }, (_, i) => view.getInt32(CONTROL_AT + CMSG_HEADER_BYTES + 4 * i, true));
  };

  return {
    listen(path) {
      mkdirSync(dirname(path), { recursive: true });
      removeStale(path);
      const fd = open();
      try {
        // Before bind, which gives the file the mode of the socket: never is it open to others, not for a moment.
        check(chmod(fd, SOCKET_MODE), 'fchmod(socket)');
        check(bind(fd, base + ADDRESS_AT, scratch.address(path)), `bind(${path})`);
        check(listen(fd, 16), `listen(${path})`);
        return fd;
      } catch (error) {
        closeFd(fd);
        throw error;
      }
    },

    accept(listener) {
      const fd = Number(accept(listener, 0, 0, SOCK_STREAM_CLOEXEC_NONBLOCK & ~1));
      return fd === -1 ? undefined : fd;
    },

    connect(path) {
      const result = tryConnect(path);
      if (typeof result === 'number') return result;
      if (result === 'ECONNREFUSED' || result === 'ENOENT' || result === 'EAGAIN') return undefined;
      throw new RingwayError('SYSTEM', `connect(${path}): ${result}`);
    },

    pair() {
      check(socketpair(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0, base + DATA_AT), 'socketpair');
      return [view.getInt32(DATA_AT, true), view.getInt32(DATA_AT + 4, true)];
    },

    receive(fd, length) {
      const result = Number(
        recvmsg(fd, scratch.message(Math.min(length, DATA_BYTES), CONTROL_BYTES), MSG_DONTWAIT | MSG_CMSG_CLOEXEC),
      );
      if (result > 0) return { data: bytes.slice(DATA_AT, DATA_AT + result), fds: takeFds() };
      if (result === 0) return 'closed';
      const reason = errorName();
      return reason === 'EAGAIN' || reason === 'EINTR' ? 'again' : 'closed';
    },

    isClosed(fd) {
      const result = Number(recvmsg(fd, scratch.message(1, 0), MSG_DONTWAIT | MSG_PEEK));
      return result === 0 || (result === -1 && errorName() !== 'EAGAIN' && errorName() !== 'EINTR');
    },

    send(fd, data, fds = []) {
      bytes.set(data, DATA_AT);
      const control = fds.length === 0 ? 0 : CMSG_HEADER_BYTES + 4 * fds.length;
      if (control > 0) {
        view.setBigUint64(CONTROL_AT, BigInt(control), true);
        view.setInt32(CONTROL_AT + 8, SOL_SOCKET, true);
        view.setInt32(CONTROL_AT + 12, SCM_RIGHTS, true);
        for (const [i, each] of fds.entries()) view.setInt32(CONTROL_AT + CMSG_HEADER_BYTES + 4 * i, each, true);
      }
      // Control data is padded to eight bytes.
      const result = Number(sendmsg(fd, scratch.message(data.length, (control + 7) & ~7), MSG_DONTWAIT | MSG_NOSIGNAL));
      if (result >= 0) return result;
      const reason = errorName();
      return reason === 'EAGAIN' || reason === 'EINTR' ? 0 : 'closed';
    },

    eventfd: () => check(eventfd(0, EFD_CLOEXEC_NONBLOCK), 'eventfd'),

    signal(fd) {
      view.setBigUint64(DATA_AT, 1n, true);
      write(fd, base + DATA_AT, 8);
    },

    drain(fd) {
      return Number(read(fd, base + DATA_AT, 8)) === 8 ? Number(view.getBigUint64(DATA_AT, true)) : 0;
    },

    adoptEventfd(fd) {
      if (readlinkSync(`/proc/self/fd/${fd}`) !== 'anon_inode:[eventfd]') return false;
      const flags = check(fcntl(fd, F_GETFL), `fcntl(${fd}, F_GETFL)`);
      check(fcntl(fd, F_SETFL, 'int', flags | O_NONBLOCK), `fcntl(${fd}, F_SETFL)`);
      return true;
    },
  };
}

let bound: UnixSockets | undefined;

/**
 * Unix sockets that pass descriptors.
 * @param what what they are wanted for, as the subject of a sentence: `a vhost-user port`.
 * @throws RingwayError `UNSUPPORTED` when they are not to be had here.
 */
export function requireSockets(what: string): UnixSockets {
  const { closeFd } = requireSys(what);
  bound ??= bindSockets(loadLibc(), closeFd);
  return bound;
}
