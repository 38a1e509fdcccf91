import type { IdleStrategy } from '../lcore/idle.ts';
import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import { allocateLcore, type Lcore, startLcore } from '../lcore/lcore.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { createPool } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import type { PortSetup } from '../ports/port.ts';
import { vhostUserPort } from '../ports/vhost-user.ts';
import { type VirtioUserConfig, virtioUserPort } from '../ports/virtio-user.ts';
import { Poller } from '../sys/index.ts';
import { moduleUrl } from '../util/module-url.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import type { VhostMode, VhostTaskData } from './vhost-task.ts';

/** Room for the memory of a frontend, and for ours. */
const ARENA_BYTES = 1 << 30;
const BUFFERS = 4096;
const BURST_BYTES = 512;
/** Ethernet, IPv4 and UDP. */
const HEADERS_BYTES = 42;

/** One end of a vhost-user connection, which one thread serves. */
export interface VhostSide {
  readonly arena: Arena;
  readonly lcore: Lcore;
  close(): Promise<void>;
}

/** All that either end can do, but for what only one has. */
function configOf(
  socket: string,
  isBackend: boolean,
  layout: VirtqueueLayout,
): VirtioUserConfig & { indirect: boolean } {
  return {
    socket,
    mode: isBackend ? 'server' : 'client',
    queues: 1,
    queueSize: isBackend ? 1024 : 256,
    packed: layout === 'packed',
    mergeable: true,
    eventIdx: true,
    inOrder: true,
    indirect: true,
    offloads: true,
    notify: 'adaptive',
    mtu: 1500,
  };
}

/** How an end is started. */
export interface VhostSideOptions {
  readonly type: VhostTaskData['type'];
  readonly mode: VhostMode;
  /** Of the frames that it sends, in bytes. */
  readonly length: number;
  /** What the frontend asks for, and the most that the backend has. */
  readonly layout: VirtqueueLayout;
  readonly cpu?: number;
  readonly idle?: IdleStrategy;
}

/** Starts a port at `socket` with a thread of its own, outside of any dataplane. */
export async function startSide(socket: string, options: VhostSideOptions): Promise<VhostSide> {
  const { type, mode, length, layout, cpu, idle = 'spin' } = options;
  const portType = type === 'vhost-user' ? vhostUserPort : virtioUserPort;
  const arena = createArena({ bytes: ARENA_BYTES });
  const pool = createPool(arena, { buffers: BUFFERS, caches: 1 });
  const [cache = 0] = pool.caches;
  const poller = new Poller(arena.handle.memory, 'a bench of vhost-user');
  const address = allocateLcore(arena, 0, cache, 0);
  const bell = { doorbell: (address + LCORE_DOORBELL) >>> 2, parked: (address + LCORE_PARKED) >>> 2 };
  let lcore: Lcore | undefined;
  const setup: PortSetup = {
    arena,
    name: 'port bench',
    seed: 1,
    tell: async (name, value) => {
      await lcore?.call({ name, value });
    },
    poller: () => poller,
    bell: () => bell,
  };
  const share = portType.create(setup, configOf(socket, type === 'vhost-user', layout));
  const frame = buildFrame({
    ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
    ipv4: { source: '198.18.0.1', destination: '198.19.0.1' },
    udp: { sourcePort: 49152, destinationPort: 9 },
    payload: new Uint8Array(length - HEADERS_BYTES),
  });
  const template = arena.allocate('template', frame.length);
  arena.u8.set(frame, template);
  const data: VhostTaskData = {
    mode,
    type,
    port: share.data,
    cache,
    burst: arena.allocate('burst', BURST_BYTES),
    template,
    length: frame.length,
  };
  const started = await startLcore(arena, address, {
    index: 0,
    module: moduleUrl('lab/vhost-task.js'),
    data,
    idle,
    ...(cpu === undefined ? {} : { cpu }),
  });
  lcore = started;
  share.service?.start();
  return {
    arena,
    lcore: started,
    async close() {
      await share.service?.stop();
      await started.stop();
      portType.release?.(setup, share.data);
      await poller.close();
    },
  };
}
