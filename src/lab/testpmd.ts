import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { type PeerFigure, reasonOf } from './peers.ts';

/** Both start, connect and settle within this, and then print some rates. */
const RUN_MS = 6000;
/** Between two rates. */
const STATS_MS = 1000;
/** Rates that come before the rate is steady. */
const SKIP = 2;
const MEMORY = ['--no-huge', '-m', '256', '--no-pci', '--no-telemetry'];
const FORWARD = ['--nb-cores=1', '--stats-period', `${STATS_MS / 1000}`, '--total-num-mbufs=16384'];

/** A testpmd that runs. */
interface Testpmd {
  readonly child: ChildProcess;
  text(): string;
}

/** What a testpmd does: `commands` are typed when it is up; `within`: the network namespace that it runs in. */
interface How {
  readonly mode: string;
  readonly frameBytes: number;
  readonly commands?: string;
  readonly within?: string;
}

/** testpmd on `cpu`, whose control thread shares it: forwarding is on lcore 1. */
function start(
  cpu: number,
  prefix: string,
  devices: readonly string[],
  { mode, frameBytes, commands, within }: How,
): Testpmd {
  const eal = ['--lcores', `0@${cpu},1@${cpu}`, ...MEMORY, '--file-prefix', prefix];
  for (const device of devices) eal.push('--vdev', device);
  const how = commands === undefined ? ['--auto-start'] : ['--interactive'];
  const args = [...eal, '--', ...FORWARD, ...how, `--forward-mode=${mode}`, `--txpkts=${frameBytes}`];
  // Line by line, or what it says of its rates waits for more.
  const command = [...(within === undefined ? [] : ['ip', 'netns', 'exec', within]), 'stdbuf', '-oL', 'dpdk-testpmd'];
  const child = spawn(command[0] as string, [...command.slice(1), ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  // It may be gone by then.
  child.stdin?.on('error', () => {});
  if (commands !== undefined) {
    child.stdin?.write(commands);
    // One that takes commands does not print its rates by itself.
    const asking = setInterval(() => child.stdin?.write('show port stats all\n'), STATS_MS);
    child.once('exit', () => clearInterval(asking));
    child.once('error', () => clearInterval(asking));
  }
  return { child, text: () => text };
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

/** Million packets a second, the median of what a testpmd says of itself while all of `programs` run. */
async function rateOf(counter: Testpmd, programs: readonly Testpmd[], what: 'Rx' | 'Tx'): Promise<PeerFigure> {
  const failed = Promise.race(
    programs.map(
      ({ child, text }) =>
        new Promise<never>((_, reject) => {
          child.once('error', reject);
          // Its last line says why, also when there is no such program.
          child.once('exit', () => reject(new Error(`testpmd ended: ${text().trimEnd().split('\n').at(-1)}`)));
        }),
    ),
  );
  await Promise.race([new Promise((resolve) => setTimeout(resolve, RUN_MS)), failed]);
  failed.catch(() => {});
  const rates = [...counter.text().matchAll(new RegExp(`${what}-pps:\\s+(\\d+)`, 'g'))]
    .map((match) => Number(match[1]))
    .slice(SKIP)
    .filter((rate) => rate > 0)
    .sort((a, b) => a - b);
  const median = rates[rates.length >> 1];
  return median === undefined
    ? { value: null, note: 'no peer: testpmd gave no rate' }
    : { value: median / 1e6, note: '' };
}

async function endAll(programs: readonly Testpmd[]): Promise<void> {
  for (const { child } of programs) child.kill('SIGKILL');
  await Promise.all(programs.map(({ child }) => ended(child)));
}

function virtioUsers(sockets: readonly string[], layout: VirtqueueLayout): string[] {
  const how = `queues=1,queue_size=256,packed_vq=${layout === 'packed' ? 1 : 0},mrg_rxbuf=1,in_order=1`;
  return sockets.map((socket, i) => `net_virtio_user${i},path=${socket},${how}`);
}

/**
 * DPDK's vhost port and its virtio-user port in two programs: one sends frames of 64 bytes, the other drops them. Million
 * packets a second, the median of the receiver's own counts.
 */
export async function runTestpmd(
  layout: VirtqueueLayout,
  fromGuest: boolean,
  [receiverCpu, senderCpu]: [number, number],
): Promise<PeerFigure> {
  const folder = await mkdtemp(join(tmpdir(), 'ringway-testpmd-'));
  const socket = join(folder, 'vhost.sock');
  const [guestCpu, hostCpu] = fromGuest ? [senderCpu, receiverCpu] : [receiverCpu, senderCpu];
  const programs: Testpmd[] = [];
  const modes = fromGuest ? ['rxonly', 'txonly'] : ['txonly', 'rxonly'];
  const [hostMode = '', guestMode = ''] = modes;
  try {
    programs.push(startVhost(hostCpu, [socket], { mode: hostMode, frameBytes: 64 }));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const devices = virtioUsers([socket], layout);
    programs.push(start(guestCpu, `rwfe${process.pid}`, devices, { mode: guestMode, frameBytes: 64 }));
    return await rateOf(programs[fromGuest ? 0 : 1] as Testpmd, programs, 'Rx');
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  } finally {
    await endAll(programs);
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Two programs with a network device each in the namespace `within`: the first sends frames of 64 bytes, the other drops them.
 * Million packets a second, the median of the receiver's own counts.
 */
export async function runDevices(
  [sender, receiver]: [string, string],
  [senderCpu, receiverCpu]: [number, number],
  within: string,
): Promise<PeerFigure> {
  const programs: Testpmd[] = [];
  try {
    programs.push(start(receiverCpu, `rwrx${process.pid}`, [receiver], { mode: 'rxonly', frameBytes: 64, within }));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    programs.push(start(senderCpu, `rwtx${process.pid}`, [sender], { mode: 'txonly', frameBytes: 64, within }));
    return await rateOf(programs[0] as Testpmd, programs, 'Rx');
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  } finally {
    await endAll(programs);
  }
}

function startVhost(cpu: number, sockets: readonly string[], how: { mode: string; frameBytes: number }): Testpmd {
  const devices = sockets.map((socket, i) => `net_vhost${i},iface=${socket},queues=1`);
  return start(cpu, `rwbe${process.pid}`, devices, how);
}

/** What the other side of a virtio-user port does: receives and drops, sends, or sends back. */
export type BackendMode = 'receive' | 'send' | 'echo';

/** DPDK's vhost ports, doing what `mode` says; two that echo send to each other. */
export function startVhostBackend(
  sockets: readonly string[],
  mode: BackendMode,
  cpu: number,
  frameBytes: number,
): () => Promise<void> {
  const hostMode = { receive: 'rxonly', send: 'txonly', echo: 'io' }[mode];
  const program = startVhost(cpu, sockets, { mode: hostMode, frameBytes });
  program.child.on('error', () => {});
  return () => endAll([program]);
}

/** Bursts of 32 that are under way when frames go round. */
const ROUND_BURSTS = 4;

/**
 * DPDK's virtio-user ports at `sockets`, whose other sides do what `mode` says. Million packets a second by the count of one
 * of them: of what it sends, of what it receives, or of what comes back of what it keeps going round. Two keep frames going
 * round through each other.
 */
export async function runVirtioUser(
  sockets: readonly string[],
  mode: BackendMode,
  { layout, cpu, frameBytes }: { layout: VirtqueueLayout; cpu: number; frameBytes: number },
): Promise<PeerFigure> {
  const how = {
    receive: { mode: 'txonly', frameBytes },
    send: { mode: 'rxonly', frameBytes },
    echo: { mode: 'io', frameBytes, commands: `start tx_first ${ROUND_BURSTS}\n` },
  }[mode];
  const programs: Testpmd[] = [];
  try {
    programs.push(start(cpu, `rwfe${process.pid}`, virtioUsers(sockets, layout), how));
    return await rateOf(programs[0] as Testpmd, programs, mode === 'receive' ? 'Tx' : 'Rx');
  } catch (error) {
    return { value: null, note: `no frontend: ${reasonOf(error)}` };
  } finally {
    await endAll(programs);
  }
}
