import { createPool, type PoolKernels } from 'ringway/memory';
import { createRegionTable, createVirtqueueDevice, MockDriver, type VirtqueueLayout } from 'ringway/virtio';
import {
  ASYNC_FLAGS,
  ASYNC_HEAD,
  ASYNC_MASK,
  ASYNC_OLD_TRACK,
  ASYNC_RECORD_HEAD,
  ASYNC_RECORD_TAIL,
  ASYNC_TAIL,
  ASYNC_TRACK,
} from '#build/async/layout.js';
import { type AsyncQueue, attachAsyncQueue, createAsyncQueue } from '#build/async/queue.js';
import { Transmit } from '#build/async/transmit.js';
import type { WorkRing } from '#build/async/work-ring.js';
import { BUFFER_HEADROOM, SLOT_LENGTH, SLOT_SHIFT } from '#build/memory/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { createNetQueue } from '#build/virtio/net-queue.js';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';
import { type Lane, Machine, makeEngines, makeWorks } from './machine.ts';

/** So few that queues fill and go round. */
const SIZE = 4;
const HEADER = 12;
const LENGTH_MIN = 20;
const LENGTH_MAX = 64;
/** Frames of at least half the lengths are an engine's. */
const THRESHOLD = 40;
const BURST = 3;

export interface CopiesOptions {
  readonly layout: VirtqueueLayout;
  readonly inOrder?: boolean;
  /** Frames of each queue. */
  readonly total?: number;
  /** Kernels in place of the test build. */
  readonly module?: WebAssembly.Module;
}

/** A queue of virtio-net, and its driver. */
interface NetLane extends Lane {
  readonly driver: MockDriver;
  readonly queue: AsyncQueue;
  reset(): void;
}

/**
 * Two lcores, of which each sends to a guest and one receives, over two engines that work, fail, hang and end; a guest; and a
 * control thread that changes integrations and channels, and ends engines. Each call is a step.
 */
export function copies(options: CopiesOptions): Simulation {
  const { layout, inOrder = false, total = 8, module } = options;
  const plain = testArena(4 << 20);
  const arena = module === undefined ? plain : new TracedArena(plain, module);
  const { u8, u16, u32 } = arena;
  const pool = createPool(arena, { buffers: 1024, caches: 2 });
  const kernels = arena.kernels<PoolKernels>();
  const engines = makeEngines(arena);
  const bursts = [0, 1].map((lcore) => arena.allocate(`burst ${lcore}`, 32 << SLOT_SHIFT));
  const works = makeWorks(arena);
  const lanes = [
    { lcore: 0, sends: true },
    { lcore: 1, sends: true },
    { lcore: 0, sends: false },
  ].map(({ lcore, sends }, index): NetLane => {
    const ring = { name: `ring ${index}`, layout, size: SIZE, inOrder };
    const driver = new MockDriver(arena, { ...ring, buffers: 2 * SIZE, bufferBytes: 256 });
    const regions = createRegionTable(arena, `regions ${index}`);
    regions.set(driver.regions);
    const device = createVirtqueueDevice(arena, { ...ring, rings: driver.rings, regions });
    const words = {
      name: `net ${index}`,
      queue: device.address,
      headerBytes: HEADER,
      mergeable: false,
      offloads: 0,
    } as const;
    const netq = createNetQueue(arena, words);
    const address = createAsyncQueue(arena, { name: `net ${index}`, netq, threshold: THRESHOLD, sends });
    const cache = pool.caches[lcore] as number;
    const queue = attachAsyncQueue(arena, address, cache);
    const work = works[lcore] as WorkRing;
    const drop = (): void => {
      throw new Error('the ring is full');
    };
    const transmit = sends
      ? new Transmit(arena, { address, queue, integration: 'defer', ringFull: 'wait', work, drop })
      : undefined;
    const word = (offset: number): number => (address + offset) >>> 2;
    return {
      lcore,
      driver,
      queue,
      transmit,
      sent: 0,
      got: 0,
      ended: false,
      reset() {
        queue.detach();
        device.reset();
        while (driver.detach().length > 0);
        driver.queue.reset();
        for (const [head, tail] of [
          [ASYNC_HEAD, ASYNC_TAIL],
          [ASYNC_RECORD_HEAD, ASYNC_RECORD_TAIL],
        ] as const) {
          u32[word(tail)] = u32[word(head)] as number;
        }
        const flags = u32[word(ASYNC_FLAGS)] as number;
        u8.fill(0, flags, flags + (u32[word(ASYNC_MASK)] as number) + 1);
        u32[word(ASYNC_TRACK)] = 0;
        u32[word(ASYNC_OLD_TRACK)] = 0;
      },
    };
  });
  /** Buffers out of the pool when a schedule began: those that one that failed has lost. */
  let lost = 0;

  const lengthOf = (serial: number): number => LENGTH_MIN + ((serial * 29) % (LENGTH_MAX - LENGTH_MIN));
  const byteOf = (lane: number, serial: number, i: number): number => (lane * 101 + serial * 37 + i * 11 + 1) & 0xff;

  /** Throws unless the `length` bytes at `at` of `bytes` are those of the frame. */
  function check(bytes: Uint8Array, at: number, length: number, lane: number, serial: number): void {
    if (length !== lengthOf(serial))
      throw new Error(`queue ${lane}: frame of ${length} bytes in the place of ${serial}`);
    for (let i = 0; i < length; i++) {
      if (bytes[at + i] !== byteOf(lane, serial, i))
        throw new Error(`queue ${lane}: frame ${serial} is not what it was`);
    }
  }

  /** Sends some of a queue's frames. */
  function send(lane: NetLane, index: number, random: Random): number {
    const burst = bursts[lane.lcore] as number;
    const cache = pool.caches[lane.lcore] as number;
    const n = kernels.poolAlloc(cache, burst, Math.min(1 + random.below(BURST), total - lane.sent));
    for (let i = 0; i < n; i++) {
      const slot = burst + (i << SLOT_SHIFT);
      const at = (u32[slot >>> 2] as number) + BUFFER_HEADROOM;
      const length = lengthOf(lane.sent + i);
      for (let k = 0; k < length; k++) u8[at + k] = byteOf(index, lane.sent + i, k);
      u16[(slot + SLOT_LENGTH) >>> 1] = length;
    }
    const sent = (lane.transmit as Transmit).send(burst, n);
    kernels.poolFree(cache, burst + (sent << SLOT_SHIFT), n - sent);
    lane.sent += sent;
    return sent;
  }

  function receive(lane: NetLane, index: number): number {
    const burst = bursts[lane.lcore] as number;
    const n = lane.queue.receive(burst, BURST);
    for (let i = 0; i < n; i++) {
      const slot = burst + (i << SLOT_SHIFT);
      const at = (u32[slot >>> 2] as number) + BUFFER_HEADROOM;
      check(u8, at, u16[(slot + SLOT_LENGTH) >>> 1] as number, index, lane.got++);
    }
    kernels.poolFree(pool.caches[lane.lcore] as number, burst, n);
    return n;
  }

  const machine = new Machine(arena, engines, works, { lanes, total, send, receive });

  function* guest(random: Random): Actor {
    const [first, second, third] = lanes as [NetLane, NetLane, NetLane];
    let posted = 0;
    while (!machine.isOver() || first.got < total || second.got < total) {
      let moved = 0;
      for (const [index, { driver }] of [first, second].entries()) {
        for (let n = random.below(3); n > 0; n--) driver.send([], [HEADER + LENGTH_MAX]);
        const lane = lanes[index] as NetLane;
        for (const { bytes } of driver.receive()) {
          check(bytes, HEADER, bytes.length - HEADER, index, lane.got++);
          moved++;
        }
        yield 'driver';
      }
      for (let n = random.below(3); n > 0 && posted < total; n--) {
        const frame = new Uint8Array(HEADER + lengthOf(posted));
        for (let i = HEADER; i < frame.length; i++) frame[i] = byteOf(2, posted, i - HEADER);
        if (third.driver.send([frame]) === undefined) break;
        posted++;
      }
      third.driver.receive();
      yield moved > 0 ? 'driver' : IDLE;
    }
  }

  return new Simulation({
    name: `copies, ${layout}`,
    steps: 400,
    setup({ random }) {
      for (const lane of lanes) lane.reset();
      machine.reset(random);
      lost = pool.audit().inFlight;
      return {
        actors: { ...machine.actors(random), guest: guest(random) },
        finish() {
          machine.finish();
          if (pool.audit().inFlight !== lost) throw new Error('buffers are missing in the end');
        },
      };
    },
  });
}
