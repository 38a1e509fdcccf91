import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { type PeerFigure, reasonOf } from './peers.ts';

/** Both start, connect and settle within this, and then print some rates. */
const RUN_MS = 9000;
/** Rates that come before the rate is steady. */
const SKIP = 3;
const MEMORY = ['--no-huge', '-m', '256', '--no-pci', '--no-telemetry'];
const FORWARD = ['--nb-cores=1', '--stats-period', '1', '--total-num-mbufs=16384', '--auto-start'];

/** testpmd on `cpu`, whose control thread shares it: forwarding is on lcore 1. */
function start(cpu: number, prefix: string, device: string, mode: string): { child: ChildProcess; text: () => string } {
  const eal = ['--lcores', `0@${cpu},1@${cpu}`, ...MEMORY, '--file-prefix', prefix, '--vdev', device];
  const child = spawn('dpdk-testpmd', [...eal, '--', ...FORWARD, `--forward-mode=${mode}`, '--txpkts=64'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  return { child, text: () => text };
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

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
  const packed = layout === 'packed' ? 1 : 0;
  const guest = `net_virtio_user0,path=${socket},queues=1,queue_size=256,packed_vq=${packed},mrg_rxbuf=1,in_order=1`;
  const host = `net_vhost0,iface=${socket},queues=1`;
  const [guestCpu, hostCpu] = fromGuest ? [senderCpu, receiverCpu] : [receiverCpu, senderCpu];
  const programs: ReturnType<typeof start>[] = [];
  try {
    const back = start(hostCpu, `rwbe${process.pid}`, host, fromGuest ? 'rxonly' : 'txonly');
    programs.push(back);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const front = start(guestCpu, `rwfe${process.pid}`, guest, fromGuest ? 'txonly' : 'rxonly');
    programs.push(front);
    const failed = Promise.race(
      programs.map(
        ({ child }) =>
          new Promise<never>((_, reject) => {
            child.once('error', reject);
            child.once('exit', () => reject(new Error('testpmd ended')));
          }),
      ),
    );
    await Promise.race([new Promise((resolve) => setTimeout(resolve, RUN_MS)), failed]);
    failed.catch(() => {});
    const rates = [...(fromGuest ? back : front).text().matchAll(/Rx-pps:\s+(\d+)/g)]
      .map((match) => Number(match[1]))
      .slice(SKIP)
      .filter((rate) => rate > 0)
      .sort((a, b) => a - b);
    const median = rates[rates.length >> 1];
    return median === undefined
      ? { value: null, note: 'no peer: testpmd gave no rate' }
      : { value: median / 1e6, note: '' };
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  } finally {
    for (const { child } of programs) child.kill('SIGKILL');
    await Promise.all(programs.map(({ child }) => ended(child)));
    await rm(folder, { recursive: true, force: true });
  }
}
