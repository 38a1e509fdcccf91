import { readFileSync, rmSync, writeFileSync } from 'node:fs';
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
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new RingwayError('SYSTEM', `bench: cannot write its lock ${path}: ${error}`, { cause: error });
      }
    }
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    if (pid > 0 && isAlive(pid)) {
      throw new RingwayError('BUSY', `bench: process ${pid} is measuring already (${path}); wait until it is done`);
    }
    rmSync(path, { force: true });
  }
}
