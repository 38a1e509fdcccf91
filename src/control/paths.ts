import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RingwayError } from '../util/errors.ts';

const SUFFIX = '.sock';
/** Bytes of a Unix socket's path: sun_path has 108, with a zero behind it (unix(7)). */
const PATH_BYTES_MAX = 107;

/** Where the control sockets of this user are: `$XDG_RUNTIME_DIR/ringway`, else `ringway-UID` in the temporary one. */
export function controlDirectory(): string {
  const runtime = process.env.XDG_RUNTIME_DIR;
  // After `su` it often names a directory that is not there.
  if (runtime !== undefined && runtime !== '' && existsSync(runtime)) return join(runtime, 'ringway');
  return join(tmpdir(), `ringway-${process.getuid?.() ?? 0}`);
}

/**
 * Path of the control socket of the dataplane `name`.
 * @throws RingwayError `SYSTEM` when it is longer than a socket's path may be.
 */
export function socketPath(directory: string, name: string): string {
  const path = join(directory, `${name}${SUFFIX}`);
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return path;
  throw new RingwayError(
    'SYSTEM',
    `${path}: a socket's path has at most ${PATH_BYTES_MAX} bytes; set XDG_RUNTIME_DIR to a shorter directory`,
  );
}

/**
 * Makes `directory`, for this user alone.
 * @throws RingwayError `SYSTEM` when it cannot be made, is a link, or belongs to somebody else.
 */
export function makeControlDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new RingwayError(
        'SYSTEM',
        `${directory}: cannot be made for control sockets: ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
  }
  const stat = lstatSync(directory);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.()) {
    const what = stat.isDirectory() ? `belongs to user ${stat.uid}` : 'is no directory';
    throw new RingwayError(
      'SYSTEM',
      `${directory}: ${what}; remove it, or set XDG_RUNTIME_DIR to a directory of yours`,
    );
  }
  if ((stat.mode & 0o077) !== 0) chmodSync(directory, 0o700);
}

/** True when somebody listens on the socket at `path`. */
export function isLive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    // A dataplane that is stopped in a debugger accepts nothing when its backlog is full; it is alive all the same.
    socket.setTimeout(1000, () => finish(true));
    const finish = (live: boolean): void => {
      socket.destroy();
      resolve(live);
    };
    socket.on('connect', () => finish(true));
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code === 'EAGAIN'));
  });
}

/** Names of the dataplanes of this user that run, sorted. */
export async function listDataplanes(directory = controlDirectory()): Promise<string[]> {
  let files: string[];
  try {
    files = readdirSync(directory).filter((file) => file.endsWith(SUFFIX));
  } catch {
    return [];
  }
  const sockets = files.filter((file) => statSync(join(directory, file), { throwIfNoEntry: false })?.isSocket());
  const live = await Promise.all(sockets.map((file) => isLive(join(directory, file))));
  return sockets
    .filter((_, index) => live[index])
    .map((file) => file.slice(0, -SUFFIX.length))
    .sort();
}

/** @throws RingwayError `BUSY` when a dataplane of that name runs. */
export async function refuseRunning(name: string, directory = controlDirectory()): Promise<void> {
  const path = socketPath(directory, name);
  if (!existsSync(path) || !(await isLive(path))) return;
  const message = `${path}: a dataplane named ${name} runs already; stop it, or give this one another --name`;
  throw new RingwayError('BUSY', message);
}
