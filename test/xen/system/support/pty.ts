import { ReadStream } from 'node:tty';
import { loadLibc } from '#build/sys/libc.js';

const O_RDWR_NOCTTY = 2 | 0o400;

/** A character device that is opened by its path, and the stream that has its other end: bytes pass both ways as they are. */
export function openPty(): { readonly path: string; readonly stream: ReadStream } {
  const { call, check } = loadLibc();
  const master = check(call('int posix_openpt(int flags)')(O_RDWR_NOCTTY), 'posix_openpt');
  check(call('int grantpt(int fd)')(master), 'grantpt');
  check(call('int unlockpt(int fd)')(master), 'unlockpt');
  const path = call('const char *ptsname(int fd)')(master) as unknown as string;
  // struct termios, which is smaller: no echo, no lines, no signals.
  const termios = new Uint8Array(256);
  check(call('int tcgetattr(int fd, void *termios)')(master, termios), 'tcgetattr');
  call('void cfmakeraw(void *termios)')(termios);
  check(call('int tcsetattr(int fd, int when, const void *termios)')(master, 0, termios), 'tcsetattr');
  return { path, stream: new ReadStream(master) };
}
