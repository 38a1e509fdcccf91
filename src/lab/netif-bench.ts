import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ControlClient } from '../control/index.ts';
import type { Snapshot } from '../telemetry/snapshot.ts';
import { type PeerFigure, type Peers, reasonOf } from './peers.ts';
import { alternate } from './replay-bench.ts';
import { type Row, rowOf } from './row.ts';
import { runDevices } from './testpmd.ts';
import { twoCpus } from './two-cores.ts';
import { median } from './windows.ts';

const run = promisify(execFile);
/** Seconds of a run; the first of them do not count. */
const SECONDS = 6;
const SKIP = 2;
/** A frame of 64 bytes has four of FCS, which nobody sees here. */
const FRAME_BYTES = 60;

/** A `ringway run` in a network namespace. */
class Running {
  readonly #child: ChildProcess;
  readonly #snapshots: Snapshot[] = [];
  readonly #name: string;
  #text = '';

  constructor(within: string, file: string) {
    const [, main = ''] = process.argv;
    this.#name = `netif-${process.pid}-${file.at(-6)}`;
    const args = ['netns', 'exec', within, process.execPath, main, 'run', file, '--json', '--name'];
    this.#child = spawn('ip', [...args, this.#name], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk;
    });
    let line = '';
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (line + chunk).split('\n');
      line = lines.pop() ?? '';
      for (const each of lines) {
        const { event, snapshot } = JSON.parse(each) as { event: string; snapshot: Snapshot };
        if (event === 'snapshot') this.#snapshots.push(snapshot);
      }
    });
  }

  /** Resolves when it runs. */
  async started(): Promise<void> {
    while (this.#snapshots.length === 0) {
      if (this.#child.exitCode !== null) throw new Error(this.#text.trim().split('\n').at(-1));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Million packets a second that a port received, or sent: the median of the seconds so far. */
  rate(port: string, what: 'rxPackets' | 'txPackets'): number {
    const counts = this.#snapshots.map(({ atMs, ports }) => ({
      atMs,
      n: ports.find((one) => one.name === port)?.[what] ?? 0,
    }));
    const rates = counts
      .slice(1)
      .map(({ atMs, n }, i) => (n - (counts[i]?.n ?? 0)) / (atMs - (counts[i]?.atMs ?? 0)) / 1000);
    return median(rates.slice(SKIP));
  }

  /** Million packets a second that the program of DROP drops in the kernel, over `seconds`. */
  async dropRate(seconds: number): Promise<number> {
    const client = await ControlClient.connect({ name: this.#name });
    const dropped = async (): Promise<number> => {
      const entries = await client.request<{ value: number[] }[]>('map.dump', { map: 'packets' });
      return entries[1]?.value.reduce((sum, n) => sum + n, 0) ?? 0;
    };
    try {
      const [from, before] = [performance.now(), await dropped()];
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      return ((await dropped()) - before) / (performance.now() - from) / 1000;
    } finally {
      client.close();
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** A namespace with a virtual cable in it, for a while. */
async function inNamespace<T>(use: (name: string) => Promise<T>): Promise<T> {
  const name = `ringway-netif-${process.pid}`;
  await run('ip', ['netns', 'add', name]);
  try {
    await run('ip', ['-n', name, 'link', 'add', 'name', 'left', 'type', 'veth', 'peer', 'name', 'right']);
    for (const end of ['left', 'right']) await run('ip', ['-n', name, 'link', 'set', end, 'up']);
    return await use(name);
  } finally {
    await run('ip', ['netns', 'delete', name]);
  }
}

const generator = { type: 'generator', size: FRAME_BYTES, learn: false };
const sink = { type: 'null' };

/** Drops all of IPv4, after a look-up in a trie; counts by CPU what it drops. */
const DROP = {
  object: fileURLToPath(new URL('../../examples/xdp/drop-list.o', import.meta.url)),
  maps: { denied: { '0.0.0.0/0': 0 } },
};

const kernelDrop = { type: 'af-xdp', interface: 'right', xdp: { ...DROP, attach: 'kernel' } };

const receivedBy = async (taking: Running): Promise<number> => {
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  return taking.rate('wire', 'rxPackets');
};
const droppedBeneath = async (taking: Running): Promise<number> => {
  await new Promise((resolve) => setTimeout(resolve, SKIP * 1000));
  return await taking.dropRate(SECONDS - SKIP);
};

/** Runs a dataplane on each CPU, one with a port that sends and one with a port that receives. */
async function runPair(
  within: string,
  cpus: [number, number],
  sender: object,
  receiver: object,
  measure: (taking: Running) => Promise<number> = receivedBy,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'ringway-netif-'));
  const running: Running[] = [];
  const start = async (name: string, cpu: number, ports: object): Promise<Running> => {
    const file = join(folder, `${name}.yaml`);
    writeFileSync(file, JSON.stringify({ version: 1, lcores: [{ cpu, idle: 'spin' }], ports }));
    const one = new Running(within, file);
    running.push(one);
    await one.started();
    return one;
  };
  try {
    const taking = await start('r', cpus[1], { wire: { ...receiver, learn: false }, sink });
    await start('s', cpus[0], { load: generator, wire: { ...sender, learn: false } });
    return await measure(taking);
  } finally {
    for (const one of running) await one.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Frames into a tap, whose other end, in the system, drops them. */
async function runTap(within: string, cpu: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'ringway-netif-'));
  const file = join(folder, 't.yaml');
  const ports = { load: generator, tap: { type: 'tap', interface: 'tap0', learn: false } };
  writeFileSync(file, JSON.stringify({ version: 1, lcores: [{ cpu, idle: 'spin' }], ports }));
  const one = new Running(within, file);
  try {
    await one.started();
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    return one.rate('tap', 'txPackets');
  } finally {
    await one.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Network interfaces of Linux: frames of 64 bytes from one dataplane to another over a veth, each on a core of its own, beside
 * DPDK's testpmd with the drivers of the same kind; into a tap; and to a program that drops them, by kind of port. As root.
 * No samples.
 */
export async function benchNetif(peers: Peers): Promise<Row[]> {
  const cpus = twoCpus();
  const rows: Row[] = [];
  const add = async (
    name: string,
    state: Row['state'],
    ours: (within: string) => Promise<number>,
    peer?: { name: string; run: (within: string) => Promise<PeerFigure> },
  ): Promise<void> => {
    const figure = { name, unit: 'Mpackets/s', p50: null, p99: null, p999: null };
    try {
      const result = await alternate(
        () => inNamespace(ours),
        peer !== undefined && peers.wanted ? () => inNamespace(peer.run) : undefined,
      );
      const beside = peer === undefined ? null : { name: peer.name, ...result.peer };
      rows.push(rowOf({ ...figure, value: result.value, state, note: '' }, beside));
    } catch (error) {
      rows.push(rowOf({ ...figure, value: null, state: 'not measured', note: reasonOf(error) }, null));
    }
  };
  const pair = typeof cpus === 'string' ? undefined : cpus;
  const needsTwo = async (): Promise<never> => {
    throw new Error(String(cpus));
  };
  for (const kind of ['af-xdp', 'af-packet'] as const) {
    const driver = { 'af-xdp': 'net_af_xdp', 'af-packet': 'net_af_packet' }[kind];
    const end = (name: string): object => ({ type: kind, interface: name });
    await add(
      `${kind} to ${kind} over a veth`,
      'several cores',
      pair === undefined ? needsTwo : (within) => runPair(within, pair, end('left'), end('right')),
      {
        name: `DPDK ${driver}`,
        run:
          pair === undefined
            ? needsTwo
            : (within) => runDevices([`${driver}0,iface=left`, `${driver}0,iface=right`], pair, within),
      },
    );
  }
  await add('into a tap', 'one core', (within) => runTap(within, pair?.[0] ?? 0));
  await add(
    'af-packet to a tap',
    'several cores',
    pair === undefined
      ? needsTwo
      : (within) => runPair(within, pair, { type: 'af-packet', interface: 'tap0' }, { type: 'tap', interface: 'tap0' }),
  );
  for (const [what, sender, receiver, measure] of [
    ['af-xdp', 'af-xdp', { type: 'af-xdp', interface: 'right', xdp: DROP }, receivedBy],
    ['af-xdp, in the kernel', 'af-xdp', kernelDrop, droppedBeneath],
    ['af-packet', 'af-packet', { type: 'af-packet', interface: 'right', xdp: DROP }, receivedBy],
  ] as const) {
    const from = { type: sender, interface: 'left' };
    await add(
      `XDP_DROP at ${what}`,
      'several cores',
      pair === undefined ? needsTwo : (within) => runPair(within, pair, from, receiver, measure),
    );
  }
  const tap = { type: 'tap', interface: 'tap0', xdp: DROP };
  await add(
    'XDP_DROP at a tap',
    'several cores',
    pair === undefined ? needsTwo : (within) => runPair(within, pair, { type: 'af-packet', interface: 'tap0' }, tap),
  );
  return rows;
}
