import { createPool, type PoolKernels } from 'ringway/memory';
import { createRegionTable, createVirtqueueDevice, MockDriver } from 'ringway/virtio';
import { ASYNC_FLAGS, ASYNC_HEAD, ASYNC_TAIL, TRACK_BYTES, TRACK_LOCK } from '#build/async/layout.js';
import { attachAsyncQueue, createAsyncQueue } from '#build/async/queue.js';
import { createTrack, shareTrack } from '#build/async/track.js';
import { createVchan, openVchan, vchanBytes } from '#build/dma/vchan.js';
import { BUFFER_HEADROOM, SLOT_LENGTH, SLOT_SHIFT } from '#build/memory/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { createNetQueue } from '#build/virtio/net-queue.js';
import { setPositions } from '../../dma/support/channel.ts';
import { testArena } from '../../support/arena.ts';
import { PausableArena } from '../../support/pausable.ts';
import { inside } from '../../virtio/support/watch.ts';

const DESCRIPTORS = 32;
const SIZE = 4;
const HEADER = 12;
const LENGTH = 24;

/**
 * Two lcores that send through one channel, each to a queue of its own, and the channel's engine. Each runs kernels of its
 * own, and may be stopped before any access to what they share. What an lcore settles is looked at right then.
 */
export function turns(module: WebAssembly.Module, total = 4): Simulation {
  const plain = testArena(2 << 20);
  const { u8, u16, u32 } = plain;
  const pool = createPool(plain, { buffers: 512, caches: 2 });
  const { poolAlloc, poolFree } = plain.kernels<PoolKernels>();
  const capabilities = { sg: false, fill: false };
  const setup = { name: 'channel', descriptors: DESCRIPTORS, priority: 0, capabilities, cpu: false, silent: false };
  const vchan = createVchan(plain, setup, { min: DESCRIPTORS, max: DESCRIPTORS });
  const { address: track } = createTrack(plain, 'channel', vchan);
  const lock = track + TRACK_LOCK;
  const shared = [
    { address: track, bytes: TRACK_BYTES },
    { address: vchan, bytes: vchanBytes(DESCRIPTORS, false) },
  ];
  const lanes = [0, 1].map((lcore) => {
    const ring = { name: `ring ${lcore}`, layout: 'packed', size: SIZE } as const;
    const driver = new MockDriver(plain, { ...ring, buffers: 2 * SIZE, bufferBytes: 64 });
    const regions = createRegionTable(plain, `regions ${lcore}`);
    regions.set(driver.regions);
    const device = createVirtqueueDevice(plain, { ...ring, rings: driver.rings, regions });
    const words = {
      name: `net ${lcore}`,
      queue: device.address,
      headerBytes: HEADER,
      mergeable: false,
      offloads: 0,
    } as const;
    const netq = createNetQueue(plain, words);
    const queue = createAsyncQueue(plain, { name: `net ${lcore}`, netq, threshold: 0, sends: true });
    shared.push(
      { address: driver.buffers.address, bytes: driver.buffers.length },
      { address: u32[(queue + ASYNC_FLAGS) >>> 2] as number, bytes: SIZE },
    );
    const cache = pool.caches[lcore] as number;
    const arena = new PausableArena(plain, module, `lcore ${lcore}`);
    const burst = plain.allocate(`burst ${lcore}`, 32 << SLOT_SHIFT);
    return {
      lcore,
      driver,
      device,
      queue,
      cache,
      arena,
      burst,
      attached: attachAsyncQueue(plain, queue, cache),
      got: 0,
    };
  });
  type Lane = (typeof lanes)[number];
  const engineArena = new PausableArena(plain, module, 'engine');
  /** The last stop was at the lock, which somebody has. */
  let spins = false;
  for (const arena of [...lanes.map((lane) => lane.arena), engineArena]) {
    arena.stopsAt = (at, bytes) => {
      const stops = inside(shared, at, bytes);
      spins = stops && at === lock && u32[lock >>> 2] === 1;
      return stops;
    };
  }

  /** Runs a kernel of an lcore; others come first while it waits for the lock. */
  function* call({ arena }: Lane, name: string, ...args: readonly number[]): Generator<string, number, void> {
    const running = arena.call(name, ...args);
    for (;;) {
      const { done, value } = running.next();
      if (done) return value;
      yield spins ? IDLE : value;
    }
  }

  const byteOf = (lcore: number, serial: number, i: number): number => (lcore * 101 + serial * 37 + i * 11 + 1) & 0xff;

  function* send(lane: Lane, random: Random): Actor {
    const { lcore, driver, queue, cache, burst } = lane;
    let sent = 0;
    while (lane.got < total) {
      while (driver.outstanding < SIZE && driver.send([], [HEADER + LENGTH]) !== undefined);
      const n = poolAlloc(cache, burst, Math.min(1 + random.below(2), total - sent));
      for (let i = 0; i < n; i++) {
        const slot = burst + (i << SLOT_SHIFT);
        const at = (u32[slot >>> 2] as number) + BUFFER_HEADROOM;
        for (let k = 0; k < LENGTH; k++) u8[at + k] = byteOf(lcore, sent + i, k);
        u16[(slot + SLOT_LENGTH) >>> 1] = LENGTH;
      }
      const taken = n === 0 ? 0 : yield* call(lane, 'asyncSend', queue, burst, n);
      poolFree(cache, burst + (taken << SLOT_SHIFT), n - taken);
      sent += taken;
      const settled = yield* call(lane, 'asyncSettle', queue);
      for (const { bytes } of driver.receive()) {
        for (let k = 0; k < LENGTH; k++) {
          if (bytes[HEADER + k] !== byteOf(lcore, lane.got, k)) throw new Error(`frame ${lane.got} is not what it was`);
        }
        lane.got++;
      }
      yield settled + taken > 0 ? 'turn' : IDLE;
    }
  }

  function* copy(random: Random): Actor {
    while (lanes.some(({ got }) => got < total)) {
      yield (yield* engineArena.call('dmaRunEngine', vchan, 1 + random.below(3))) === 0 ? IDLE : 'copy';
    }
  }

  return new Simulation({
    name: 'a channel that lcores share, access by access',
    steps: total * 200,
    setup({ random }) {
      setPositions(plain, vchan, 0);
      openVchan(plain, vchan, 0);
      shareTrack(plain, track);
      u32[lock >>> 2] = 0;
      for (const lane of lanes) {
        const { device, driver, queue, attached } = lane;
        device.reset();
        while (driver.detach().length > 0);
        driver.queue.reset();
        u8.fill(0, driver.buffers.address, driver.buffers.address + driver.buffers.length);
        if (u32[(queue + ASYNC_HEAD) >>> 2] !== u32[(queue + ASYNC_TAIL) >>> 2]) throw new Error('begins with packets');
        attached.use(track);
        lane.got = 0;
      }
      const [first, second] = lanes as [Lane, Lane];
      return {
        actors: { 'lcore 0': send(first, random), 'lcore 1': send(second, random), engine: copy(random) },
        finish() {
          if (u32[lock >>> 2] !== 0) throw new Error('the lock is held in the end');
          if (pool.audit().inFlight !== 0) throw new Error('buffers are missing in the end');
        },
      };
    },
  });
}
