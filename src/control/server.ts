import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { RingwayError } from '../util/errors.ts';
import { controlDirectory, makeControlDirectory, refuseRunning, socketPath } from './paths.ts';
import { PROTOCOL_VERSION } from './protocol.ts';
import { Session } from './session.ts';
import type { ControlTarget } from './target.ts';

/** Clients at once; one more is told so and closed. */
const CLIENTS_MAX = 64;

export interface ControlServer {
  /** Path of the socket. */
  readonly path: string;
  /** Stops listening, removes the socket, ends all connections. Resolves when they are closed. */
  close(): Promise<void>;
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Removes what a dead process left at `path`.
 * @throws RingwayError `BUSY` when somebody listens there, `SYSTEM` when it is no socket.
 */
async function removeStale(path: string, name: string, directory: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new RingwayError('SYSTEM', `${path}: is no socket; remove it`);
  await refuseRunning(name, directory);
  unlinkSync(path);
}

function refuse(socket: Socket): void {
  const error = { code: 'BUSY', message: `${CLIENTS_MAX} clients are connected already; try again later` };
  socket.on('error', () => {});
  socket.end(`${JSON.stringify({ ringway: PROTOCOL_VERSION, error })}\n`);
  setTimeout(() => socket.destroy(), 1000).unref();
}

/**
 * Listens for the clients of `target` on the socket of its name.
 * @param options.directory where the socket is; the user's own by default.
 * @throws RingwayError `BUSY` when a dataplane of that name runs, `SYSTEM` when the socket cannot be made.
 */
export async function startControlServer(
  target: ControlTarget,
  options: { readonly directory?: string } = {},
): Promise<ControlServer> {
  const { directory = controlDirectory() } = options;
  const path = socketPath(directory, target.name);
  makeControlDirectory(directory);
  await removeStale(path, target.name, directory);
  const sessions = new Map<Socket, Session>();
  // Half-open, so that `echo … | nc -U` gets its answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (sessions.size >= CLIENTS_MAX) return refuse(socket);
    sessions.set(socket, new Session(socket, target));
    socket.on('close', () => sessions.delete(socket));
  });
  try {
    await listen(server, path);
  } catch (cause) {
    throw new RingwayError('SYSTEM', `${path}: cannot listen: ${(cause as Error).message}`, { cause });
  }
  // The directory lets nobody else in; this is for whoever loosens it.
  chmodSync(path, 0o600);
  return {
    path,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions.values()) session.close();
      }),
  };
}
