import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { vi } from 'vitest';
import { describeError } from '#build/cli/exit.js';

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

  /** Runs a command in this process, a tenth of the time. `add`: what adds it to the program. One at a time. */
  async call(add: (program: Command) => void, ...args: readonly string[]): Promise<Result> {
    const program = new Command();
    add(program);
    let [out, err] = ['', ''];
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      out += chunk;
      return true;
    });
    const before = [process.env.XDG_RUNTIME_DIR, process.exitCode] as const;
    process.env.XDG_RUNTIME_DIR = this.runtime;
    try {
      await program.parseAsync(args, { from: 'user' });
    } catch (error) {
      const { exitCode, text } = describeError(error);
      [process.exitCode, err] = [exitCode, text];
    } finally {
      write.mockRestore();
    }
    const code = Number(process.exitCode ?? 0);
    if (before[0] === undefined) delete process.env.XDG_RUNTIME_DIR;
    else process.env.XDG_RUNTIME_DIR = before[0];
    process.exitCode = before[1];
    return { code, out, err };
  }
}
