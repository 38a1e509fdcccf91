import { type Arena, createArena, createPool, type Pool, type PoolKernels } from 'ringway/memory';
import {
  addVif,
  attachVifQueue,
  type Domain,
  Netback,
  type NetbackOptions,
  Netfront,
  type NetfrontOptions,
  type NetRing,
  type VifDrops,
  type VifFeatures,
  type VifHash,
  type VifQueue,
  type VifQueueShare,
  Xen,
} from 'ringway/xen';
import { nextPowerOfTwo } from '#build/util/bits.js';
import { VIFHASH_BYTES } from '#build/xen/control-layout.js';

export interface VifRigOptions {
  readonly mode: 'mapped' | 'plain';
  readonly queues?: { readonly front: number; readonly back: number };
  readonly front?: Partial<VifFeatures>;
  readonly back?: Partial<VifFeatures>;
  readonly split?: { readonly front: boolean; readonly back: boolean };
  readonly buffers?: number;
  readonly path?: NetfrontOptions['path'];
  readonly paths?: NetbackOptions['paths'];
  readonly ringOrder?: number;
  /** The backend spreads packets as the frontend says. */
  readonly hash?: boolean;
  readonly setHash?: VifHash;
  /** The time of whoever serves queues, in ms: the system's by default. */
  readonly now?: () => number;
  /** Devices that the world has room for: 1. */
  readonly devices?: number;
  /** The world that the device is made in: its frontend is domain 2 then. */
  readonly beside?: VifWorld;
  /** Serves the backend's queues, in the place of `attachVifQueue`. */
  readonly attachBack?: AttachBack;
  /** What all of it is made over, in the place of the arena: one with other kernels. */
  readonly wrap?: (arena: Arena) => Arena;
}

/** Serves a queue; `detach` is called when the ends part. */
export type AttachBack = (...options: Parameters<typeof attachVifQueue>) => VifQueue & { detach?(): void };

/** A queue that this thread serves, both ways. */
export interface Served {
  readonly tx: NetRing;
  readonly rx: NetRing;
  receive(slots: number, max: number): number;
  send(slots: number, count: number): number;
  fallbacks(): number;
  waits(): number;
  stalled(): boolean;
  drops(): { readonly received: VifDrops; readonly sent: VifDrops };
  fault(): string | undefined;
  detach(): void;
}

function serve(
  arena: Arena,
  share: VifQueueShare,
  cache: number,
  now?: () => number,
  attach: AttachBack = attachVifQueue,
): Served {
  // As if it came to another thread.
  const { receiver, sender, detach } = attach(arena, structuredClone(share), cache, now);
  const isBack = share.side === 'back';
  return {
    tx: (isBack ? receiver : sender).ring,
    rx: (isBack ? sender : receiver).ring,
    receive: receiver.receive,
    send: sender.send,
    fallbacks: sender.fallbacks,
    waits: receiver.waits,
    stalled: sender.stalled,
    drops: () => ({ received: receiver.drops(), sent: sender.drops() }),
    fault: () => receiver.fault() ?? sender.fault(),
    detach: () => detach?.(),
  };
}

/** An end of a device, its queues served by this thread. */
export interface VifEnd<T> {
  readonly bus: T;
  readonly state: number;
  readonly error: unknown;
  readonly queues: readonly Served[];
  start(): Promise<void>;
  close(): Promise<void>;
}

type VifWorld = ReturnType<typeof makeWorld>;

/** An arena with a driver domain, a pool, and room for `devices` guests of `pages` each. */
function makeWorld({ mode, buffers = 2048, devices = 1, wrap = (arena) => arena }: VifRigOptions, pages: number) {
  const arena = wrap(createArena({ bytes: (16 << 20) + pages * devices * 3 * 4096, debug: true }));
  const pool: Pool = createPool(arena, { buffers, caches: 1 });
  const xen = new Xen(arena, { name: 'xen', mode });
  const most = pages * devices * 2;
  const driver = xen.createDomain(0, { pages: 16, wholeArena: true, mapPages: most, maptrack: most });
  const [burst, scratch] = [arena.allocate('burst', 32 * 16), arena.allocate('scratch', 1 << 17)];
  return { arena, pool, xen, driver, burst, scratch };
}

/** A network device with both ends, and a pool that both take their buffers from. */
export async function makeVif(options: VifRigOptions) {
  const { queues = { front: 1, back: 1 }, front = {}, back = {} } = options;
  const { split = { front: true, back: true } } = options;
  const { path = { kind: 'copy' }, paths, ringOrder = 0 } = options;
  // For each queue: slots' pages, rings, staging buffers; and some for the tests. All of it is mapped.
  const pages = 64 + queues.front * 2 ** ringOrder * 800;
  const { arena, pool, xen, driver, burst, scratch } = options.beside ?? makeWorld(options, pages);
  const [frontend, own] = options.beside === undefined ? [1, ''] : [2, 'other '];
  const guest = xen.createDomain(frontend, { pages, grants: nextPowerOfTwo(pages + 512) });
  await addVif(driver.hypervisor.store, { frontend, backend: 0, index: 0, mac: '00:16:3e:00:00:01' });
  const cache = pool.caches[0] ?? 0;
  const where = { arena, frontend, backend: 0, index: 0 };
  const events: string[] = [];
  const hashState = arena.allocate(`${own}hash`, VIFHASH_BYTES);
  /** What both ends are made with, and the queues that this thread serves of one. */
  const makeEnd = <T extends Netback | Netfront>(
    name: string,
    make: (ends: Pick<NetbackOptions, 'name' | 'onConnect' | 'onDisconnect'>) => T,
  ): VifEnd<T> => {
    let queues: Served[] = [];
    const bus = make({
      name,
      onConnect(shares) {
        const attach = name === 'front' ? attachVifQueue : options.attachBack;
        queues = shares.map((share) => serve(arena, share, cache, options.now, attach));
        events.push(`${name} connected ${queues.length}`);
      },
      onDisconnect() {
        for (const queue of queues.splice(0)) queue.detach();
        events.push(`${name} disconnected`);
      },
    });
    return {
      bus,
      get state() {
        return bus.state;
      },
      get error() {
        return bus.error;
      },
      get queues() {
        return queues;
      },
      start: () => bus.start(),
      close: () => ('close' in bus ? bus.close() : bus.destroy()),
    };
  };
  const makeBack = (name = `${own}back`): VifEnd<Netback> =>
    makeEnd(
      name,
      (ends) =>
        new Netback({
          ...where,
          ...ends,
          hypervisor: driver.hypervisor,
          queues: queues.back,
          features: back,
          splitEventChannels: split.back,
          ...(paths === undefined ? {} : { paths }),
          ...(options.hash === true ? { hash: hashState } : {}),
        }),
    );
  const netback = makeBack();
  const netfront = makeEnd(
    `${own}front`,
    (ends) =>
      new Netfront({
        ...where,
        ...ends,
        hypervisor: guest.hypervisor,
        queues: queues.front,
        features: front,
        splitEventChannels: split.front,
        memory: guest as Domain,
        path,
        ringOrder,
        ...(options.setHash === undefined ? {} : { hash: options.setHash }),
      }),
  );
  const k = arena.kernels<PoolKernels>();
  return {
    arena,
    pool,
    xen,
    driver,
    guest,
    netback,
    netfront,
    makeBack,
    events,
    hashState,
    burst,
    scratch,
    /** Makes packets of these bytes at the burst. */
    make(frames: readonly Uint8Array[]): void {
      for (const [i, frame] of frames.entries()) {
        if (k.poolAlloc(cache, burst + i * 16, 1) !== 1) throw new Error('the pool is exhausted');
        arena.u8.set(frame, scratch);
        if (k.memoryFill(cache, burst + i * 16, scratch, frame.length) !== 1) throw new Error('the pool is exhausted');
      }
    },
    free(first: number, n: number): void {
      k.poolFree(cache, burst + first * 16, n);
    },
    /** The bytes of what `queue` receives; all of it is freed. */
    receive(queue: Served | undefined, max = 32): Uint8Array[] {
      const n = queue?.receive(burst, max) ?? 0;
      const frames = Array.from({ length: n }, (_, i) => {
        const length = k.memoryGather(burst + i * 16, scratch, 1 << 17);
        return arena.u8.slice(scratch, scratch + length);
      });
      k.poolFree(cache, burst, n);
      return frames;
    },
    /** Buffers that somebody holds: 0 when nothing is lost. */
    held(): number {
      return pool.audit().inFlight;
    },
  };
}

/** Lets both ends see each other's states, until nothing happens any more. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A frame whose bytes follow from its number. */
export function frameOf(serial: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (serial * 31 + i * 7 + (i >> 8)) & 0xff);
}
