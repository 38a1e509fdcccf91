import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { requireSockets, requireSys } from '../sys/index.ts';
import { Channel } from '../vhost/channel.ts';
import { MEM_TABLE, REQUEST, U64, VRING_ADDR, VRING_STATE } from '../vhost/protocol.ts';

const WHAT = 'a bench of vhost-user';
const MEMORY_BYTES = 1 << 20;
const GUEST = 0x1_0000_0000n;
/** Places in the memory: a split ring of 256, and a frame with its header. */
const DESCRIPTORS = 0;
const AVAILABLE = 0x4000;
const USED = 0x8000;
const FRAME = 0x10000;
const FRAME_BYTES = 12 + 60;
const TRANSMIT = 1;
const QUEUE_SIZE = 256;
const VERSION_1 = 1n << 32n;
const IDLE_MS = 2000;
const PATIENCE_MS = 10_000;

/** The time that the threads of a process have had the CPU, in ms. */
function cpuMs(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  const ns = readdirSync(tasks).map((task) => Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]));
  return ns.reduce((sum, one) => sum + one, 0) / 1e6;
}

/** Sets up a ring with one frame in it, by hand, over `memory`. Returns what was opened. */
function offerFrame(channel: Channel, memory: number): number[] {
  const { eventfd, signal } = requireSockets(WHAT);
  const ring = new Uint8Array(16);
  const view = new DataView(ring.buffer);
  view.setBigUint64(0, GUEST + BigInt(FRAME), true);
  view.setUint32(8, FRAME_BYTES, true);
  writeSync(memory, ring, 0, 16, DESCRIPTORS);
  const frame = new Uint8Array(FRAME_BYTES).fill(2, 12);
  writeSync(memory, frame, 0, FRAME_BYTES, FRAME);
  writeSync(memory, Uint8Array.of(0, 0, 1, 0, 0, 0), 0, 6, AVAILABLE);
  const kick = eventfd();
  const addresses = {
    index: TRANSMIT,
    flags: 0,
    descriptors: GUEST + BigInt(DESCRIPTORS),
    available: GUEST + BigInt(AVAILABLE),
    used: GUEST + BigInt(USED),
    log: 0n,
  };
  const region = { guest: GUEST, user: GUEST, bytes: BigInt(MEMORY_BYTES), offset: 0n };
  channel.send(REQUEST.SET_OWNER, new Uint8Array(0));
  channel.send(REQUEST.SET_FEATURES, U64.write(VERSION_1));
  channel.send(REQUEST.SET_MEM_TABLE, MEM_TABLE.write([region]), { fds: [memory] });
  channel.send(REQUEST.SET_VRING_NUM, VRING_STATE.write(TRANSMIT, QUEUE_SIZE));
  channel.send(REQUEST.SET_VRING_BASE, VRING_STATE.write(TRANSMIT, 0));
  channel.send(REQUEST.SET_VRING_ADDR, VRING_ADDR.write(addresses));
  channel.send(REQUEST.SET_VRING_KICK, U64.write(BigInt(TRANSMIT)), { fds: [kick] });
  signal(kick);
  return [kick];
}

/** What a dataplane with one vhost-user port takes. */
export interface StartFigures {
  /** From the start of the process to the first frame of a frontend that is waiting for it. */
  readonly firstFrameMs: number;
  /** From the frontend's connection to that frame. */
  readonly connectedMs: number;
  /** Part of a core that it takes afterwards, with nothing to do: 0 to 1. */
  readonly idle: number;
}

/** Starts `ringway run` with a port that parks, and a frontend that tries to connect all the time. */
export async function measureStart(): Promise<StartFigures> {
  const { connect } = requireSockets(WHAT);
  const { memfdCreate, closeFd } = requireSys(WHAT);
  const folder = await mkdtemp(join(tmpdir(), 'ringway-start-'));
  const socket = join(folder, 'vm.sock');
  const file = join(folder, 'start.yaml');
  const ports = { vm: { type: 'vhost-user', socket }, none: { type: 'null' } };
  writeFileSync(file, JSON.stringify({ version: 1, lcores: [{ idle: 'park' }], ports }));
  // The command line that runs this bench.
  const [, main = ''] = process.argv;
  const memory = memfdCreate('frontend', MEMORY_BYTES, { seal: true });
  const from = performance.now();
  const child = spawn(process.execPath, [main, 'run', file, '--name', `start${process.pid}`], { stdio: 'ignore' });
  const opened: number[] = [memory];
  try {
    let fd: number | undefined;
    while (fd === undefined) {
      if (performance.now() - from > PATIENCE_MS) throw new Error('nobody listens');
      await setTimeout(1);
      fd = connect(socket);
    }
    const connectedAt = performance.now();
    const channel = new Channel(fd, WHAT);
    opened.push(...offerFrame(channel, memory));
    const used = new Uint8Array(4);
    while (used[2] === 0) {
      if (performance.now() - from > PATIENCE_MS) throw new Error('the frame was not taken');
      await setTimeout(0);
      readSync(memory, used, 0, 4, USED);
    }
    const [firstFrameMs, connectedMs] = [performance.now() - from, performance.now() - connectedAt];
    await setTimeout(IDLE_MS / 2);
    const before = cpuMs(child.pid ?? 0);
    await setTimeout(IDLE_MS);
    const idle = (cpuMs(child.pid ?? 0) - before) / IDLE_MS;
    channel.close();
    return { firstFrameMs, connectedMs, idle };
  } finally {
    child.kill('SIGKILL');
    for (const fd of opened) closeFd(fd);
    await rm(folder, { recursive: true, force: true });
  }
}
