import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { IdleStrategy } from '../lcore/idle.ts';
import { LCORE_PACKETS } from '../lcore/layout.ts';
import { readCounter } from '../telemetry/counters.ts';
import { moduleUrl } from '../util/module-url.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { startSide, type VhostSide, type VhostSideOptions } from './vhost-side.ts';
import { median } from './windows.ts';

const SETTLE_MS = 1000;
const WINDOW_MS = 250;
const WINDOWS = 8;
/** Half a millisecond lies between two pings. */
const PING_MS = 3000;
const CHILD_MS = 20_000;

/** Starts one end of a connection in a process of its own, which ends with this one. */
export async function startChild(socket: string, options: VhostSideOptions): Promise<ChildProcess> {
  const script = fileURLToPath(moduleUrl('lab/vhost-child.js'));
  const child = spawn(process.execPath, [script, socket, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: CHILD_MS,
  });
  if (child.stdout === null) throw new Error('no output');
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  return child;
}

/** Runs a ringway that is the device in a process of its own, and one that is the driver in this one. */
async function withPair<T>(
  device: Omit<VhostSideOptions, 'type'>,
  driver: Omit<VhostSideOptions, 'type'>,
  use: (driver: VhostSide) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'ringway-pair-'));
  const socket = join(folder, 'vhost.sock');
  const child = await startChild(socket, { ...device, type: 'vhost-user' });
  try {
    const side = await startSide(socket, { ...driver, type: 'virtio-user' });
    try {
      await setTimeout(SETTLE_MS);
      return await use(side);
    } finally {
      await side.close();
    }
  } finally {
    child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

/** Million frames a second from the driver to the device, or the other way: the median of windows. */
export function pairRate(
  layout: VirtqueueLayout,
  fromDriver: boolean,
  length: number,
  [hostCpu, guestCpu]: [number, number],
): Promise<number> {
  const [deviceMode, driverMode] = fromDriver ? (['receive', 'send'] as const) : (['send', 'receive'] as const);
  const device = { mode: deviceMode, length, layout, cpu: hostCpu };
  return withPair(device, { mode: driverMode, length, layout, cpu: guestCpu }, async ({ arena, lcore }) => {
    const count = (): number => readCounter(arena, lcore.address + LCORE_PACKETS);
    const rates: number[] = [];
    for (let i = 0; i < WINDOWS; i++) {
      const [packets, at] = [count(), performance.now()];
      await setTimeout(WINDOW_MS);
      rates.push((count() - packets) / (performance.now() - at) / 1000);
    }
    return median(rates);
  });
}

/** Quantiles in ns of the time in which a frame goes from the driver to the device and back, one at a time. */
export function pingTimes(
  idle: IdleStrategy,
  [hostCpu, guestCpu]: [number, number],
): Promise<{ p50: number; p99: number; p999: number }> {
  const both = { length: 60, layout: 'packed' } as const;
  const driver = { ...both, mode: 'ping', cpu: guestCpu } as const;
  return withPair({ ...both, mode: 'echo', cpu: hostCpu, idle }, driver, async ({ lcore }) => {
    await setTimeout(PING_MS);
    return (await lcore.call({ name: 'samples' })) as { p50: number; p99: number; p999: number };
  });
}
