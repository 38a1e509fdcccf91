import { readFileSync } from 'node:fs';
import { Program } from './program.ts';

/** A port of testpmd: the host's side of a vhost-user connection, or a guest's. */
export interface TestpmdPort {
  /** `vhost` is the host's side, `virtio-user` the guest's. */
  readonly kind: 'vhost' | 'virtio-user';
  readonly socket: string;
  /** It listens at the socket rather than connect to it: left out, the host's side does. */
  readonly server?: boolean;
  readonly queues?: number;
  readonly queueSize?: number;
  /** Of a guest's side. */
  readonly packed?: boolean;
  readonly inOrder?: boolean;
  readonly mrgRxbuf?: boolean;
  readonly mac?: string;
  /** Of the host's side: frames to be segmented may come. */
  readonly tso?: boolean;
  /** Further words of `--vdev`. */
  readonly extra?: readonly string[];
}

export interface TestpmdOptions {
  readonly name: string;
  readonly ports: readonly TestpmdPort[];
  /** What it does with frames: `io` passes them between ports 0 and 1, 2 and 3, …; `rxonly`, `txonly`, `mac`, … */
  readonly mode?: string;
  /** CPUs that its two threads may run on, as `--lcores` has them: all, left out. */
  readonly cpus?: string;
  /** Length of the frames that `txonly` sends. */
  readonly length?: number;
  /** It waits for `start`, rather than forward from the beginning. */
  readonly waits?: boolean;
  /** Further options of testpmd itself. */
  readonly extra?: readonly string[];
  readonly lifeMs?: number;
}

/** What testpmd counted at a port. */
export interface TestpmdCounters {
  readonly rxPackets: number;
  readonly rxMissed: number;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txBytes: number;
}

const PROMPT_END = 'd> ';
const START_MS = 30_000;
/** At most so many frames a queue are in a program at once, with those that it caches. */
const BUFFERS = 16_384;

const bit = (name: string, value: boolean | undefined): string[] => (value === undefined ? [] : [`${name}=${+value}`]);

function deviceOf(port: TestpmdPort, index: number): string {
  const { kind, socket, server, queues = 1, queueSize, packed, inOrder, mrgRxbuf, mac, tso, extra = [] } = port;
  const words =
    kind === 'vhost'
      ? [`net_vhost${index}`, `iface=${socket}`, `queues=${queues}`, ...bit('client', server === false || undefined)]
      : [
          `net_virtio_user${index}`,
          `path=${socket}`,
          `queues=${queues}`,
          ...bit('server', server),
          ...bit('packed_vq', packed),
          ...bit('in_order', inOrder),
          ...bit('mrg_rxbuf', mrgRxbuf),
          ...(queueSize === undefined ? [] : [`queue_size=${queueSize}`]),
          ...(mac === undefined ? [] : [`mac=${mac}`]),
        ];
  return [...words, ...bit('tso', tso), ...extra].join(',');
}

/** DPDK's testpmd, as either side of vhost-user connections. */
export class Testpmd {
  readonly program: Program;

  constructor(program: Program) {
    this.program = program;
  }

  /** Types a command, and returns what testpmd writes until it asks for the next. */
  async command(line: string, timeoutMs = 10_000): Promise<string> {
    const { program } = this;
    const before = program.written;
    program.write(`${line}\n`);
    return program.until(`answer to '${line}'`, timeoutMs, () => {
      const [, answer] = /^([\s\S]*?)testpmd> /.exec(program.since(before)) ?? [];
      return answer;
    });
  }

  /** Counters of the port `index` since it was made, or since `clear port stats all`. */
  async counters(index: number): Promise<TestpmdCounters> {
    const answer = await this.command(`show port stats ${index}`);
    const number = (name: string): number => {
      const found = new RegExp(`${name}: +(\\d+)`).exec(answer)?.[1];
      if (found === undefined) throw this.program.error(`no ${name} among the counters`);
      return Number(found);
    };
    return {
      rxPackets: number('RX-packets'),
      rxMissed: number('RX-missed'),
      rxBytes: number('RX-bytes'),
      rxErrors: number('RX-errors'),
      txPackets: number('TX-packets'),
      txErrors: number('TX-errors'),
      txBytes: number('TX-bytes'),
    };
  }

  /** Whether the other side of the port `index` has connected, and its rings run. */
  async isUp(index: number): Promise<boolean> {
    return /Link status: up/.test(await this.command(`show port info ${index}`));
  }

  kill(): Promise<void> {
    return this.program.kill();
  }

  /** Has it close its ports and end. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.program.kill(), 5000);
    this.program.write('quit\n');
    await this.program.ended;
    clearTimeout(timer);
  }
}

function allowedCpus(): string {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return `(${list ?? '0'})`;
}

let started = 0;

/**
 * Starts testpmd; returns when it takes commands. A guest's side that connects needs somebody who listens; one that listens
 * takes no commands before somebody has come. The host's side tries until there is somebody.
 */
export async function startTestpmd(options: TestpmdOptions): Promise<Testpmd> {
  const { name, ports, mode = 'io', cpus = allowedCpus(), length, waits = false, extra = [], lifeMs } = options;
  const queues = Math.max(...ports.map((port) => port.queues ?? 1));
  const lcores = ['--lcores', `0@${cpus},1@${cpus}`];
  const memory = ['--no-huge', '-m', '256', '--no-pci', '--no-telemetry'];
  const args = [
    ...[...lcores, ...memory, '--file-prefix', `ringway-${process.pid}-${started++}`],
    ...ports.flatMap((port, index) => ['--vdev', deviceOf(port, index)]),
    '--',
    ...['-i', '--nb-cores=1', '--disable-link-check', `--forward-mode=${mode}`, `--total-num-mbufs=${BUFFERS}`],
    ...[`--rxq=${queues}`, `--txq=${queues}`],
    ...(length === undefined ? [] : [`--txpkts=${length}`]),
    ...(waits ? [] : ['--auto-start']),
    ...extra,
  ];
  // It never waits: guests, which are slow enough, come first.
  // Without stdbuf answers to commands would stay in its memory.
  const command = ['-n', '19', 'stdbuf', '-oL', 'dpdk-testpmd', ...args];
  const program = new Program(`testpmd ${name}`, 'nice', command, lifeMs);
  try {
    // Its threads write at once, sometimes in the middle of the first prompt.
    await program.until('prompt', START_MS, () => program.text.includes(PROMPT_END) || undefined);
  } catch (error) {
    await program.kill();
    throw error;
  }
  return new Testpmd(program);
}
