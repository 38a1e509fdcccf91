import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ControlClient } from '../control/index.ts';
import type { Snapshot } from '../telemetry/snapshot.ts';

const run = promisify(execFile);
/** Both sides are up to speed after this. */
const SETTLE_MS = 1000;
/** Then they are measured. */
const WINDOW_MS = 1500;
const LOOK_MS = 20;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a dataplane does while it is measured. */
export interface Rate {
  /** Million packets a second. */
  readonly value: number;
  /** Part of its last lcore's time that goes into packets, 0 to 1. */
  readonly load: number;
}

/** A network namespace with a virtual cable in it, `left` to `right`, and a folder. */
export interface Place {
  readonly namespace: string;
  readonly folder: string;
}

/** Ends what runs in a namespace, and removes it. */
function removeNamespace(name: string): void {
  const ip = (...args: string[]): string => execFileSync('ip', ['netns', ...args], { encoding: 'utf8' });
  for (const pid of ip('pids', name).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
  ip('delete', name);
}

/** Makes a place for a while. It goes with this process, too, when a signal ends that. */
export async function inPlace<T>(use: (place: Place) => Promise<T>): Promise<T> {
  const namespace = `ringway-netif-${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), 'ringway-netif-'));
  let isMade = false;
  const remove = (): void => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    rmSync(folder, { recursive: true, force: true });
    if (isMade) removeNamespace(namespace);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    remove();
    // As if nobody had looked after it.
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    execFileSync('ip', ['netns', 'add', namespace]);
    isMade = true;
    await run('ip', ['-n', namespace, 'link', 'add', 'name', 'left', 'type', 'veth', 'peer', 'name', 'right']);
    for (const end of ['left', 'right']) await run('ip', ['-n', namespace, 'link', 'set', end, 'up']);
    return await use({ namespace, folder });
  } finally {
    remove();
  }
}

/** A `ringway run` in a place. */
export class Running {
  readonly #child: ChildProcess;
  readonly #client: ControlClient;

  private constructor(child: ChildProcess, client: ControlClient) {
    this.#child = child;
    this.#client = client;
  }

  /**
   * Starts a dataplane with an lcore on each of `cpus`. Resolves when it runs.
   * @throws with the last line that it prints when it does not start.
   */
  static async start({ namespace, folder }: Place, cpus: readonly number[], ports: object): Promise<Running> {
    const [, main = ''] = process.argv;
    const name = `netif-${process.pid}-${cpus.join('-')}`;
    const file = join(folder, `${name}.yaml`);
    const lcores = cpus.map((cpu) => ({ cpu, idle: 'spin' }));
    writeFileSync(file, JSON.stringify({ version: 1, lcores, ports }));
    const args = ['netns', 'exec', namespace, process.execPath, main, 'run', file, '--json', '--name', name];
    const child = spawn('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    for (;;) {
      const client = await ControlClient.connect({ name }).catch(() => undefined);
      if (client !== undefined) return new Running(child, client);
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(text.trim().split('\n').at(-1));
      await sleep(LOOK_MS);
    }
  }

  #stats(): Promise<Snapshot> {
    return this.#client.request<Snapshot>('stats');
  }

  /** What it does by `count`, once both sides are up to speed. */
  async #rate(count: () => Promise<number>): Promise<Rate> {
    await sleep(SETTLE_MS);
    const [from, before] = [performance.now(), await count()];
    await sleep(WINDOW_MS);
    const value = ((await count()) - before) / (performance.now() - from) / 1000;
    return { value, load: (await this.#stats()).lcores.at(-1)?.load ?? 0 };
  }

  /** By what a port receives, or sends. */
  portRate(port: string, what: 'rxPackets' | 'txPackets'): Promise<Rate> {
    return this.#rate(async () => {
      const { ports } = await this.#stats();
      return ports.find(({ name }) => name === port)?.[what] ?? 0;
    });
  }

  /** By what a program counts in the entry 1 of its map `packets`, by CPU. */
  mapRate(): Promise<Rate> {
    return this.#rate(async () => {
      const entries = await this.#client.request<{ value: number[] }[]>('map.dump', { map: 'packets' });
      return entries[1]?.value.reduce((sum, n) => sum + n, 0) ?? 0;
    });
  }

  async end(): Promise<void> {
    this.#client.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}
