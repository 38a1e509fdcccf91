import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { RingwayError } from '../util/errors.ts';

/** True while the process `pid` runs, whoever owns it. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The lock's file: one for each user. */
function lockPath(): string {
  return join(process.env.XDG_RUNTIME_DIR ?? tmpdir(), `ringway-bench-${userInfo().uid}.pid`);
}

/**
 * Takes the lock that keeps two benches from disturbing each other. Returns what gives it back.
 * @throws RingwayError `BUSY` when another process holds it; a file that a dead process left is taken over.
 */
export function takeBenchLock(path = lockPath()): () => void {
  // Linked into place, so that nobody ever sees the lock without its pid.
  const draft = `${path}.${process.pid}`;
  for (;;) {
    try {
      writeFileSync(draft, `${process.pid}\n`);
      linkSync(draft, path);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new RingwayError('SYSTEM', `bench: cannot write its lock ${path}: ${error}`, { cause: error });
      }
    } finally {
      rmSync(draft, { force: true });
    }
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    if (pid > 0 && isAlive(pid)) {
      throw new RingwayError('BUSY', `bench: process ${pid} is measuring already (${path}); wait until it is done`);
    }
    rmSync(path, { force: true });
  }
}
