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
  TRACK_LOCK,
  TRACK_SHARED,
  WORK_BYTES,
} from '#build/async/layout.js';
import { type AsyncQueue, attachAsyncQueue, createAsyncQueue } from '#build/async/queue.js';
import { createTrack, shareTrack } from '#build/async/track.js';
import { type Integration, Transmit } from '#build/async/transmit.js';
import { WorkRing } from '#build/async/work-ring.js';
import type { DmaKernels } from '#build/dma/kernels.js';
import { VCHAN_COMPLETED } from '#build/dma/layout.js';
import { createVchan, openVchan, shutVchan } from '#build/dma/vchan.js';
import { BUFFER_HEADROOM, SLOT_LENGTH, SLOT_SHIFT } from '#build/memory/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { createNetQueue } from '#build/virtio/net-queue.js';
import { setPositions } from '../../dma/support/channel.ts';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';

const INTEGRATIONS: readonly Integration[] = ['defer', 'v3', 'v4', 'vq'];
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

/** A queue, and how far its frames have come. */
interface Lane {
  readonly lcore: number;
  readonly driver: MockDriver;
  readonly queue: AsyncQueue;
  readonly address: number;
  /** Of a queue that sends. */
  readonly transmit: Transmit | undefined;
  readonly work: WorkRing;
  reset(): void;
  sent: number;
  got: number;
  /** Its lcore serves it no more. */
  ended: boolean;
}

/** What the control thread asks an lcore between two of its steps. */
interface Ask {
  readonly lcore: number;
  readonly run: () => void;
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
  const kernels = arena.kernels<PoolKernels & DmaKernels>();
  const engines = [0, 1].map((index) => {
    const capabilities = { sg: false, fill: false };
    const setup = { name: `channel ${index}`, descriptors: 32, priority: 0, capabilities, cpu: false, silent: false };
    const vchan = createVchan(arena, setup, { min: 32, max: 32 });
    return {
      vchan,
      track: createTrack(arena, `channel ${index}`, vchan).address,
      works: true,
      users: new Set<number>(),
    };
  });
  const bursts = [0, 1].map((lcore) => arena.allocate(`burst ${lcore}`, 32 << SLOT_SHIFT));
  const works = [0, 1].map((lcore) => new WorkRing(arena, arena.allocate(`work ${lcore}`, WORK_BYTES)));
  const lanes = [
    { lcore: 0, sends: true },
    { lcore: 1, sends: true },
    { lcore: 0, sends: false },
  ].map(({ lcore, sends }, index): Lane => {
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
      address,
      transmit,
      work,
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
  const asks: Ask[] = [];
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
  function send(lane: Lane, index: number, random: Random): number {
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

  function receive(lane: Lane, index: number): number {
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

  const isOver = (): boolean => lanes.every(({ ended }) => ended);

  /** An lcore: sends, receives, looks after its work; does what it is asked in between. Ends when all it had is through. */
  function* lcore(number: number, random: Random): Actor {
    const own = lanes.flatMap((lane, index) => (lane.lcore === number ? [{ lane, index }] : []));
    while (own.some(({ lane }) => !lane.ended)) {
      const ask = asks.findIndex((each) => each.lcore === number);
      if (ask >= 0) asks.splice(ask, 1)[0]?.run();
      let moved = 0;
      for (const { lane, index } of own) {
        if (lane.transmit === undefined) moved += receive(lane, index);
        else if (lane.sent < total) moved += send(lane, index, random);
        yield 'queue';
      }
      // As ports do: what was sent is looked after when the port is received from.
      for (const { lane } of own) lane.transmit?.poll();
      works[number]?.run();
      for (const { lane } of own) {
        const waiting = (lane.transmit ?? lane.queue).inFlight();
        lane.ended = waiting === 0 && (lane.transmit === undefined ? lane.got : lane.sent) === total;
      }
      yield moved > 0 ? 'work' : IDLE;
    }
  }

  function* engine(index: number, random: Random): Actor {
    const own = engines[index] as (typeof engines)[number];
    const hangs = random.below(4) === 0;
    let left = random.below(20);
    while (!isOver()) {
      const { vchan } = own;
      if (!own.works) return;
      const running = kernels.dmaRunning(vchan);
      if (running === 0 || (hangs && left === 0)) {
        yield IDLE;
        continue;
      }
      left = Math.max(0, left - 1);
      if (random.below(6) === 0) {
        kernels.dmaFail(vchan, u32[(vchan + VCHAN_COMPLETED) >>> 2] as number, 10);
        kernels.dmaFinish(vchan, 1);
      } else {
        kernels.dmaRunEngine(vchan, 1 + random.below(running));
      }
      yield 'copy';
    }
  }

  function* guest(random: Random): Actor {
    const [first, second, third] = lanes as [Lane, Lane, Lane];
    let posted = 0;
    while (!isOver() || first.got < total || second.got < total) {
      let moved = 0;
      for (const [index, { driver }] of [first, second].entries()) {
        for (let n = random.below(3); n > 0; n--) driver.send([], [HEADER + LENGTH_MAX]);
        const lane = lanes[index] as Lane;
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

  /** Asks an lcore, and waits until it has done it, or has ended. */
  function* ask(lcore: number, run: () => void): Actor {
    let done = false;
    asks.push({
      lcore,
      run() {
        run();
        done = true;
      },
    });
    while (!done && lanes.some((lane) => lane.lcore === lcore && !lane.ended)) yield IDLE;
  }

  /** Gives a queue another channel, or none. */
  function* use(lane: Lane, index: number): Actor {
    const next = engines[index];
    if (next !== undefined && !next.users.has(lane.lcore)) {
      const [only] = next.users;
      next.users.add(lane.lcore);
      if (only !== undefined) yield* ask(only, () => shareTrack(arena, next.track));
    }
    yield* ask(lane.lcore, () => lane.queue.use(next?.track ?? 0));
  }

  function* control(random: Random): Actor {
    let changes = random.below(6);
    let idle = 0;
    for (const lane of lanes) yield* use(lane, random.below(2));
    while (!isOver()) {
      idle++;
      for (const { works: goesOn, vchan } of engines) if (!goesOn) kernels.dmaAbort(vchan);
      if (changes > 0 && random.below(4) === 0) {
        changes--;
        const lane = lanes[random.below(3)] as Lane;
        const integration = INTEGRATIONS[random.below(4)] as Integration;
        const { lcore, transmit } = lane;
        if (random.below(2) === 0) {
          yield* use(lane, random.below(3));
        } else if (transmit !== undefined) {
          yield* ask(lcore, () => {
            transmit.integration = integration;
          });
        }
      } else if (random.below(idle < 40 ? 60 : 4) === 0) {
        // One that hangs, or is taken for one that does.
        const ended = engines[random.below(2)] as (typeof engines)[number];
        shutVchan(arena, ended.vchan);
        yield 'shut';
        ended.works = false;
      }
      yield IDLE;
    }
  }

  return new Simulation({
    name: `copies, ${layout}`,
    steps: 400,
    setup({ random }) {
      asks.length = 0;
      for (const each of engines) {
        each.works = true;
        each.users.clear();
        setPositions(arena, each.vchan, 0);
        openVchan(arena, each.vchan, 0);
        u32[(each.track + TRACK_SHARED) >>> 2] = 0;
        u32[(each.track + TRACK_LOCK) >>> 2] = 0;
      }
      for (const lane of lanes) {
        lane.reset();
        Object.assign(lane, { sent: 0, got: 0, ended: false });
        if (lane.transmit !== undefined) lane.transmit.integration = INTEGRATIONS[random.below(4)] as Integration;
      }
      lost = pool.audit().inFlight;
      return {
        actors: {
          'lcore 0': lcore(0, random),
          'lcore 1': lcore(1, random),
          'engine 0': engine(0, random),
          'engine 1': engine(1, random),
          guest: guest(random),
          control: control(random),
        },
        finish() {
          const got = lanes.map((lane) => lane.got);
          if (got.some((n) => n !== total)) throw new Error(`${got.join(', ')} of ${total} frames arrived`);
          if (pool.audit().inFlight !== lost) throw new Error('buffers are missing in the end');
          for (const { track } of engines) if (u32[(track + TRACK_LOCK) >>> 2] !== 0) throw new Error('a lock is held');
        },
      };
    },
  });
}
