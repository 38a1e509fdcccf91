import { createArena, createPool, type Pool, type PoolKernels } from 'ringway/memory';
import { addVif, type Domain, Netback, Netfront, type VifFeatures, type VifQueue, Xen } from 'ringway/xen';

export interface VifRigOptions {
  readonly mode: 'mapped' | 'plain';
  readonly queues?: { readonly front: number; readonly back: number };
  readonly front?: Partial<VifFeatures>;
  readonly back?: Partial<VifFeatures>;
  readonly split?: { readonly front: boolean; readonly back: boolean };
  readonly buffers?: number;
}

/** A network device with both ends, and a pool that both take their buffers from. */
export async function makeVif(options: VifRigOptions) {
  const { mode, queues = { front: 1, back: 1 }, front = {}, back = {}, buffers = 2048 } = options;
  const { split = { front: true, back: true } } = options;
  const arena = createArena({ bytes: 32 << 20, debug: true });
  const pool: Pool = createPool(arena, { buffers, caches: 1 });
  const xen = new Xen(arena, { name: 'xen', mode });
  const driver = xen.createDomain(0, { pages: 16, wholeArena: true });
  const guest = xen.createDomain(1, { pages: 1100, grants: 2048 });
  await addVif(driver.hypervisor.store, { frontend: 1, backend: 0, index: 0, mac: '00:16:3e:00:00:01' });
  const cache = pool.caches[0] ?? 0;
  const caches = (n: number): number[] => Array.from({ length: n }, () => cache);
  const where = { arena, frontend: 1, backend: 0, index: 0 };
  const events: string[] = [];
  const makeBack = (name = 'back'): Netback =>
    new Netback({
      ...where,
      name,
      hypervisor: driver.hypervisor,
      caches: caches(queues.back),
      features: back,
      splitEventChannels: split.back,
      onConnect: (all) => void events.push(`${name} connected ${all.length}`),
      onDisconnect: () => void events.push(`${name} disconnected`),
    });
  const netback = makeBack();
  const netfront = new Netfront({
    ...where,
    name: 'front',
    hypervisor: guest.hypervisor,
    caches: caches(queues.front),
    features: front,
    splitEventChannels: split.front,
    memory: guest as Domain,
    onConnect: (all) => void events.push(`front connected ${all.length}`),
    onDisconnect: () => void events.push('front disconnected'),
  });
  const burst = arena.allocate('burst', 32 * 16);
  const k = arena.kernels<PoolKernels>();
  const scratch = arena.allocate('scratch', 1 << 17);
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
    burst,
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
    receive(queue: VifQueue | undefined, max = 32): Uint8Array[] {
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
