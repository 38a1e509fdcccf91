import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Longest that a program may run unless a test says otherwise. */
const LIFE_MS = 240_000;
/** What is kept of what a program writes. */
const TEXT_MAX = 1 << 20;

const running = new Set<Program>();

/**
 * Another program, beside a test. It ends by itself after its time, and with the process of the test, however that ends;
 * `endPrograms` in `afterEach` ends those that are left over.
 */
export class Program {
  readonly name: string;
  readonly child: ChildProcess;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  #text = '';
  /** Characters that were written before those that are kept. */
  #dropped = 0;

  constructor(name: string, command: string, args: readonly string[], lifeMs = LIFE_MS) {
    this.name = name;
    // setpriv becomes the program, whose id is therefore the child's.
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.ended = once(this.child, 'close').then(
      () => {},
      (error) => {
        this.#text += error.message;
      },
    );
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        const text = this.#text + chunk;
        this.#text = text.slice(-TEXT_MAX);
        this.#dropped += text.length - this.#text.length;
      });
    }
    // A program that has ended takes no more input.
    this.child.stdin?.on('error', () => {});
    const timer = setTimeout(() => {
      this.#text += `\n${name} ran for ${lifeMs} ms and was ended`;
      this.kill();
    }, lifeMs).unref();
    running.add(this);
    this.ended.then(() => {
      clearTimeout(timer);
      running.delete(this);
    });
  }

  /** Characters that it has written so far: a place for `since`. */
  get written(): number {
    return this.#dropped + this.#text.length;
  }

  /** What it has written from a place on. */
  since(place: number): string {
    return this.#text.slice(Math.max(0, place - this.#dropped));
  }

  /** What it has written so far to both its outputs; the last of it when that is a lot. */
  get text(): string {
    return this.#text;
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined;
  }

  write(text: string): void {
    this.child.stdin?.write(text);
  }

  kill(): Promise<void> {
    this.child.kill('SIGKILL');
    return this.ended;
  }

  /** Waits for `found` to return something. Throws with what the program wrote when it ends first, or takes `timeoutMs`. */
  async until<T>(what: string, timeoutMs: number, found: () => T | undefined): Promise<T> {
    const end = Date.now() + timeoutMs;
    while (true) {
      const result = found();
      if (result !== undefined) return result;
      if (!this.alive) throw this.error(`ended before ${what}`);
      if (Date.now() > end) throw this.error(`no ${what} within ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** An error with the last that the program wrote. */
  error(what: string): Error {
    return new Error(`${this.name}: ${what}; it wrote:\n${this.#text.slice(-4000)}`);
  }
}

/** Those of the programs `names` that this machine does not have, for tests that are skipped then. */
export function missingPrograms(...names: readonly string[]): string[] {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return names.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
}

/** Ends all programs that run. */
export async function endPrograms(): Promise<void> {
  await Promise.all([...running].map((program) => program.kill()));
}
