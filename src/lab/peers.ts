import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const COMPILE_MS = 60_000;
const RUN_MS = 30_000;

/** A figure of a peer, or why there is none. */
export interface PeerFigure {
  readonly value: number | null;
  readonly note: string;
}

/** What a figure says whose peer was not asked for. */
export const NOT_WANTED: PeerFigure = { value: null, note: 'no peer: run with --peers' };

/** First line of what went wrong. */
export const reasonOf = (error: unknown): string => {
  const { stderr, message } = error as { stderr?: string; message: string };
  return (stderr?.trim() || message).split('\n', 1)[0] ?? '';
};

/**
 * Programs in C over libdpdk that do what a bench of ours does, compiled when they are first asked for: so they are
 * always compared on the same machine, in the same run.
 */
export class Peers {
  /** False when figures are to stand alone. */
  readonly wanted: boolean;
  #folder: string | undefined;
  readonly #programs = new Map<string, Promise<string | { why: string }>>();

  constructor(wanted: boolean) {
    this.wanted = wanted;
  }

  /** Runs `bench/NAME.c` on `cpus` with `args`. It prints one number. */
  async run(name: string, cpus: readonly number[], args: readonly string[]): Promise<PeerFigure> {
    if (!this.wanted) return NOT_WANTED;
    let program = this.#programs.get(name);
    if (program === undefined) {
      program = this.#compile(name);
      this.#programs.set(name, program);
    }
    const built = await program;
    if (typeof built !== 'string') return { value: null, note: `no peer: ${built.why}` };
    const lcores = cpus.map((cpu, lcore) => `${lcore}@${cpu}`).join(',');
    // Not --in-memory, which DPDK 22.11 refuses together with --no-huge.
    const eal = ['--lcores', lcores, '--no-huge', '--no-pci', '--no-shconf', '--no-telemetry', '--log-level=4'];
    try {
      const { stdout } = await run(built, [...eal, '--', ...args], { timeout: RUN_MS });
      const value = Number.parseFloat(stdout);
      return Number.isFinite(value)
        ? { value, note: '' }
        : { value: null, note: `no peer: it printed ${stdout.trim()}` };
    } catch (error) {
      return { value: null, note: `no peer: ${reasonOf(error)}` };
    }
  }

  async #compile(name: string): Promise<string | { why: string }> {
    const source = fileURLToPath(new URL(`../../bench/${name}.c`, import.meta.url));
    if (!existsSync(source)) return { why: `bench/${name}.c comes with the repository only` };
    try {
      this.#folder ??= await mkdtemp(join(tmpdir(), 'ringway-peers-'));
      const flags = async (what: string): Promise<string[]> =>
        (await run('pkg-config', [what, 'libdpdk'])).stdout.trim().split(/\s+/);
      const target = join(this.#folder, name);
      const args = [
        '-O3',
        ...(await flags('--cflags')),
        '-march=native',
        '-o',
        target,
        source,
        ...(await flags('--libs')),
      ];
      await run('gcc', args, { timeout: COMPILE_MS });
      return target;
    } catch (error) {
      return { why: reasonOf(error) };
    }
  }

  /** Removes what was compiled. */
  async close(): Promise<void> {
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}
