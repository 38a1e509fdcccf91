import { ASYNC_THRESHOLD, WORK_BYTES } from '../async/layout.ts';
import { type AsyncQueue, attachAsyncQueue, createAsyncQueue } from '../async/queue.ts';
import { type Integration, Transmit } from '../async/transmit.ts';
import { WorkRing } from '../async/work-ring.ts';
import { createGuest, type GuestMachine } from '../guest/create.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import {
  BUFFER_FRAME_MAX,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_TOTAL,
  BURST_MAX,
  SLOT_FLAG_CHAINED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { createPool, type Pool, type PoolKernels } from '../memory/pool.ts';
import { assert } from '../util/assert.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { VIRTIO_NET_F } from '../virtio/net-features.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';

/** Descriptors of a guest's queue: what ports of type `guest` have. */
export const QUEUE_SIZE = 256;
export const GUESTS_MAX = 32;
export const LCORES_MAX = 8;
/** Packets that wait in the port which an lcore receives from: what OVS gives a network card's ring (`n_rxq_desc`). */
const SOURCE_PACKETS = 2048;
const BUFFERS = GUESTS_MAX * 2 * QUEUE_SIZE + LCORES_MAX * 2 * SOURCE_PACKETS + 4096;
const ARENA_BYTES = 256 << 20;
const FEATURES = featureMask(VIRTIO_F.VERSION_1, VIRTIO_NET_F.MRG_RXBUF);

/** Who copies, and who notices: an integration, or the lcore itself as without engines. */
export type Way = Integration | 'cpu';

/** What is sent where. */
export interface AsyncCase {
  readonly way: Way;
  /** Of each frame, up to two buffers' 3,584. */
  readonly bytes: number;
  /** Copies of fewer bytes are the CPU's. */
  readonly threshold: number;
  /** A burst of 32 goes to one guest after another, or a part of it to each. */
  readonly spread: 'burst' | 'scatter';
  readonly guests: number;
  readonly lcores: number;
}

/** A part of an lcore's loop. */
export interface Step {
  /** Receives what it is to send: no part of what is measured. */
  prepare(): void;
  /** Does it. Returns how many packets were sent. */
  run(): number;
  /** Index of the guest's lane that it is about; -1: of all, -2: of none. */
  lane(): number;
}

/** All steps are made here: objects of one form, whose calls V8 finds at once. */
export function makeStep(lane: () => number, prepare: () => void, run: () => number): Step {
  return { lane, prepare, run };
}

/** An lcore's way to a guest. */
interface Lane {
  readonly index: number;
  readonly queue: AsyncQueue;
  /** Undefined when the lcore copies. */
  readonly transmit: Transmit | undefined;
  readonly send: (slots: number, n: number) => number;
  /** The same queue as it is without engines. */
  readonly plain: NetQueue;
  readonly driver: NetQueue;
  readonly driverCache: number;
  /** Address of a burst of slots, and packets in it that the queue did not take. */
  readonly slots: number;
  waiting: number;
}

/**
 * A port that receives without a copy, as a network card does: the bytes of its buffers are in memory and in the caches that
 * all cores share, but not in the lcore's own, since each was last used 2,048 packets ago.
 */
interface Source {
  readonly cache: number;
  /** Addresses of the slots of its buffers, and of those for the rest of a frame that needs two; index of the oldest. */
  readonly first: number;
  readonly second: number;
  oldest: number;
}

/** Guests, and lcores that send to them: all cases over the same ones, so that V8 compiles their calls once. */
export class AsyncWorld {
  readonly arena: Arena;
  readonly #pool: Pool;
  readonly #kernels: PoolKernels;
  readonly #guests: readonly GuestMachine[];
  /** Addresses of the device's side of each guest's queue, and of a burst for it. */
  readonly #queues: readonly number[];
  readonly #bursts: readonly number[];
  readonly #works: readonly number[];
  /** By lcore. */
  readonly #sources: readonly Source[];
  #lanes: Lane[] = [];
  #lcores = 0;
  #sent = 0;
  #received = 0;

  constructor() {
    this.arena = createArena({ bytes: ARENA_BYTES });
    this.#pool = createPool(this.arena, { buffers: BUFFERS, caches: LCORES_MAX });
    this.#kernels = this.arena.kernels<PoolKernels>();
    this.#guests = Array.from({ length: GUESTS_MAX }, (_, i) =>
      createGuest(this.arena, {
        name: `guest ${i}`,
        queueSize: QUEUE_SIZE,
        queues: 1,
        mtu: 9000,
        offered: FEATURES,
        supported: FEATURES,
        addresses: { mac: 0x02_00_00_00_00_01 + i, ipv6: [] },
        app: 'sink',
        seed: 1,
      }),
    );
    this.#queues = this.#guests.map(({ pairs: [pair] }, i) =>
      createAsyncQueue(this.arena, { name: `guest ${i}`, netq: pair?.send ?? 0, threshold: 0, sends: true }),
    );
    const burst = (name: string): number => this.arena.allocate(name, BURST_MAX << SLOT_SHIFT);
    this.#bursts = this.#guests.map((_, i) => burst(`burst ${i}`));
    this.#works = Array.from({ length: LCORES_MAX }, (_, i) => this.arena.allocate(`work ${i}`, WORK_BYTES));
    this.#sources = this.#pool.caches.map((cache, i) => {
      const slots = (name: string): number => this.arena.allocate(`${name} ${i}`, SOURCE_PACKETS << SLOT_SHIFT);
      return { cache, first: slots('source'), second: slots('second buffers'), oldest: 0 };
    });
  }

  /**
   * Has everything be as the case says. Returns the steps of each lcore's loop: of it, offers and looks are as an lcore
   * of a dataplane makes them.
   * @param tracks for each guest, the track of the channel that copies for it; 0: none.
   */
  begin(one: AsyncCase, tracks: readonly number[]): Step[][] {
    const { way, guests, lcores } = one;
    this.#lcores = lcores;
    const works = this.#works.map((counters) => new WorkRing(this.arena, counters));
    this.#lanes = Array.from({ length: guests }, (_, i) => {
      const lcore = i % lcores;
      this.arena.u32[((this.#queues[i] as number) + ASYNC_THRESHOLD) >>> 2] = one.threshold;
      return this.#lane(i, way, works[lcore] as WorkRing, this.#pool.caches[lcore] as number, tracks[i] ?? 0);
    });
    // The guests give their buffers.
    this.deliver();
    const nothing = (): void => {};
    const other = (lane: number, run: () => void): Step =>
      makeStep(
        () => lane,
        nothing,
        () => {
          run();
          return 0;
        },
      );
    return Array.from({ length: lcores }, (_, lcore) => {
      const lanes = this.#lanes.filter(({ index }) => index % lcores === lcore);
      const source = this.#sources[lcore] as Source;
      // All of a case are taken by as many at a time, so that none goes over the end.
      source.oldest = 0;
      for (let i = 0; i < SOURCE_PACKETS; i += BURST_MAX) {
        this.#fill(source.cache, source.first + (i << SLOT_SHIFT), BURST_MAX);
        this.#fill(source.cache, source.second + (i << SLOT_SHIFT), BURST_MAX);
      }
      const steps = this.#offers(lanes, one, source);
      if (way === 'cpu') return steps;
      for (const { index, transmit } of lanes) steps.push(other(index, () => transmit?.poll()));
      if (way === 'defer') steps.push(other(-1, () => void works[lcore]?.run()));
      return steps;
    });
  }

  #lane(index: number, way: Way, work: WorkRing, cache: number, track: number): Lane {
    const guest = this.#guests[index] as GuestMachine;
    const [{ receive }] = guest.wire.pairs as [{ receive: number; send: number }];
    const [{ send }] = guest.pairs as [{ receive: number; send: number }];
    const address = this.#queues[index] as number;
    const queue = attachAsyncQueue(this.arena, address, cache);
    queue.use(track);
    const options = { address, queue, ringFull: 'wait', work, drop() {} } as const;
    const transmit = way === 'cpu' ? undefined : new Transmit(this.arena, { ...options, integration: way });
    const plain = attachNetQueue(this.arena, send, cache);
    return {
      index,
      queue,
      transmit,
      plain,
      send: (slots, n) => (transmit ?? plain).send(slots, n),
      driver: attachNetQueue(this.arena, receive, guest.wire.cache),
      driverCache: guest.wire.cache,
      slots: this.#bursts[index] as number,
      waiting: 0,
    };
  }

  /** The steps that offer packets. */
  #offers(lanes: readonly Lane[], { spread, bytes, guests, lcores }: AsyncCase, source: Source): Step[] {
    const prepare = (lane: Lane, n: number): void => {
      if (lane.waiting > 0) return;
      this.#take(source, lane.slots, n, bytes);
      lane.waiting = n;
    };
    const offer = (lane: Lane): number => {
      const sent = lane.send(lane.slots, lane.waiting);
      const left = lane.waiting - sent;
      if (sent > 0 && left > 0) {
        const from = lane.slots + (sent << SLOT_SHIFT);
        this.arena.u8.copyWithin(lane.slots, from, from + (left << SLOT_SHIFT));
      }
      lane.waiting = left;
      this.#sent += sent;
      return sent;
    };
    if (spread === 'scatter') {
      const n = Math.min(BURST_MAX, Math.max(1, Math.floor((BURST_MAX * lcores) / guests)));
      return lanes.map((lane) =>
        makeStep(
          () => lane.index,
          () => prepare(lane, n),
          () => offer(lane),
        ),
      );
    }
    let turn = 0;
    const next = (): Lane => lanes[turn % lanes.length] as Lane;
    return [
      makeStep(
        () => next().index,
        () => prepare(next(), BURST_MAX),
        () => {
          const sent = offer(next());
          turn++;
          return sent;
        },
      ),
    ];
  }

  /** Gives the port `n` buffers, at `slots`. */
  #fill(cache: number, slots: number, n: number): void {
    assert(this.#kernels.poolAlloc(cache, slots, n) === n, 'bench async: the pool is too small');
  }

  /** Receives `n` packets, a power of two, in the oldest buffers, to `slots`. Nobody writes their bytes. */
  #take(source: Source, slots: number, n: number, bytes: number): void {
    const { u8, u16, u32 } = this.arena;
    const length = Math.min(bytes, BUFFER_FRAME_MAX);
    const at = source.oldest << SLOT_SHIFT;
    u8.copyWithin(slots, source.first + at, source.first + at + (n << SLOT_SHIFT));
    for (let i = 0; i < n; i++) {
      const slot = slots + (i << SLOT_SHIFT);
      u16[(slot + SLOT_LENGTH) >>> 1] = length;
      if (length === bytes) continue;
      const head = u32[slot >>> 2] as number;
      const tail = u32[(source.second + at + (i << SLOT_SHIFT)) >>> 2] as number;
      u8[slot + SLOT_FLAGS] = SLOT_FLAG_CHAINED;
      u32[(head + BUFFER_NEXT) >>> 2] = tail;
      u32[(head + BUFFER_TOTAL) >>> 2] = bytes;
      u32[(tail + BUFFER_REFERENCES) >>> 2] = 1;
      u32[(tail + BUFFER_NEXT) >>> 2] = 0;
      u16[(tail + BUFFER_OFFSET) >>> 1] = BUFFER_HEADROOM;
      u16[(tail + BUFFER_LENGTH) >>> 1] = bytes - length;
    }
    this.#fill(source.cache, source.first + at, n);
    if (length < bytes) this.#fill(source.cache, source.second + at, n);
    source.oldest = (source.oldest + n) % SOURCE_PACKETS;
  }

  /** The guests take what arrived. */
  deliver(): void {
    for (const { driver, driverCache, index } of this.#lanes) {
      const { burst } = (this.#guests[index] as GuestMachine).wire;
      for (;;) {
        const n = driver.receive(burst, BURST_MAX);
        if (n === 0) break;
        this.#received += n;
        this.#kernels.poolFree(driverCache, burst, n);
      }
    }
  }

  /**
   * Lets what is under way arrive.
   * @param advance lets engines in virtual time go on.
   */
  end(advance: () => void): void {
    for (const lane of this.#lanes) {
      const { transmit, queue, plain, waiting, slots } = lane;
      while (transmit !== undefined && transmit.inFlight() > 0) {
        advance();
        transmit.settle();
        this.deliver();
      }
      const cache = this.#pool.caches[0] as number;
      this.#kernels.poolFree(cache, slots, waiting);
      lane.waiting = 0;
      queue.use(0);
      // It takes chains ahead, which the next case's queue would not know of.
      plain.detach();
    }
    for (const { cache, first, second } of this.#sources.slice(0, this.#lcores)) {
      for (const slots of [first, second]) {
        for (let i = 0; i < SOURCE_PACKETS; i += BURST_MAX) {
          this.#kernels.poolFree(cache, slots + (i << SLOT_SHIFT), BURST_MAX);
        }
      }
    }
    this.deliver();
    assert(this.#sent === this.#received, `bench async: ${this.#sent} packets were sent, ${this.#received} arrived`);
  }
}
