import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** How a command ended, and what it wrote. */
export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command line, with a directory of its own for control sockets. */
export class CommandLine {
  readonly runtime: string = mkdtempSync(join(tmpdir(), 'ringway-'));
  /** Where servers of control sockets must listen to be found. */
  readonly sockets: string = join(this.runtime, 'ringway');

  start(args: readonly string[], { cwd = process.cwd() } = {}): ChildProcess {
    return spawn(process.execPath, [resolve('dist/cli/main.js'), ...args], {
      cwd,
      env: { ...process.env, XDG_RUNTIME_DIR: this.runtime },
    });
  }

  finish(child: ChildProcess): Promise<Result> {
    let [out, err] = ['', ''];
    child.stdout?.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      err += chunk;
    });
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
  }

  run(...args: readonly string[]): Promise<Result> {
    return this.finish(this.start(args));
  }
}
