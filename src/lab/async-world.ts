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
const BUFFERS = GUESTS_MAX * 2 * QUEUE_SIZE + 4096;
const ARENA_BYTES = 192 << 20;
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
  /** Does it. Returns how many packets were sent. */
  run(): number;
  /** Index of the guest's lane that it is about; -1: of all, -2: of none. */
  readonly lane: number;
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
  readonly #scratch: number;
  #lanes: Lane[] = [];
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
    this.#scratch = burst('second buffers');
  }

  /**
   * Has everything be as the case says. Returns the steps of each lcore's loop: of it, offers and looks are as an lcore
   * of a dataplane makes them.
   * @param tracks for each guest, the track of the channel that copies for it; 0: none.
   */
  begin(one: AsyncCase, tracks: readonly number[]): Step[][] {
    const { way, guests, lcores } = one;
    const works = this.#works.map((counters) => new WorkRing(this.arena, counters));
    this.#lanes = Array.from({ length: guests }, (_, i) => {
      const lcore = i % lcores;
      this.arena.u32[((this.#queues[i] as number) + ASYNC_THRESHOLD) >>> 2] = one.threshold;
      return this.#lane(i, way, works[lcore] as WorkRing, this.#pool.caches[lcore] as number, tracks[i] ?? 0);
    });
    // The guests give their buffers.
    this.deliver();
    return Array.from({ length: lcores }, (_, lcore) => {
      const lanes = this.#lanes.filter(({ index }) => index % lcores === lcore);
      const steps = this.#offers(lanes, one, this.#pool.caches[lcore] as number);
      if (way === 'cpu') return steps;
      for (const { index, transmit } of lanes) {
        steps.push({
          lane: index,
          run() {
            transmit?.poll();
            return 0;
          },
        });
      }
      const work = works[lcore] as WorkRing;
      if (way === 'defer') {
        steps.push({
          lane: -1,
          run() {
            work.run();
            return 0;
          },
        });
      }
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

  /** The steps that make packets and offer them. */
  #offers(lanes: readonly Lane[], { spread, bytes, guests, lcores }: AsyncCase, cache: number): Step[] {
    const offer = (lane: Lane, n: number): number => {
      if (lane.waiting === 0) lane.waiting = this.#make(cache, lane.slots, n, bytes);
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
      const n = Math.max(1, Math.floor((BURST_MAX * lcores) / guests));
      return lanes.map((lane) => ({ lane: lane.index, run: () => offer(lane, Math.min(n, BURST_MAX)) }));
    }
    let turn = 0;
    const next = (): Lane => lanes[turn % lanes.length] as Lane;
    return [
      {
        get lane() {
          return next().index;
        },
        run() {
          const sent = offer(next(), BURST_MAX);
          turn++;
          return sent;
        },
      },
    ];
  }

  /** Makes `n` packets, as a port that received them without a copy. */
  #make(cache: number, slots: number, n: number, bytes: number): number {
    const { u8, u16, u32 } = this.arena;
    const made = this.#kernels.poolAlloc(cache, slots, n);
    const first = Math.min(bytes, BUFFER_FRAME_MAX);
    for (let i = 0; i < made; i++) u16[(slots + (i << SLOT_SHIFT) + SLOT_LENGTH) >>> 1] = first;
    if (first === bytes) return made;
    const seconds = this.#kernels.poolAlloc(cache, this.#scratch, made);
    assert(seconds === made, 'bench async: the pool is too small');
    for (let i = 0; i < made; i++) {
      const slot = slots + (i << SLOT_SHIFT);
      const [head, tail] = [u32[slot >>> 2] as number, u32[(this.#scratch + (i << SLOT_SHIFT)) >>> 2] as number];
      u8[slot + SLOT_FLAGS] = SLOT_FLAG_CHAINED;
      u32[(head + BUFFER_NEXT) >>> 2] = tail;
      u32[(head + BUFFER_TOTAL) >>> 2] = bytes;
      u32[(tail + BUFFER_REFERENCES) >>> 2] = 1;
      u32[(tail + BUFFER_NEXT) >>> 2] = 0;
      u16[(tail + BUFFER_OFFSET) >>> 1] = BUFFER_HEADROOM;
      u16[(tail + BUFFER_LENGTH) >>> 1] = bytes - first;
    }
    return made;
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
    this.deliver();
    assert(this.#sent === this.#received, `bench async: ${this.#sent} packets were sent, ${this.#received} arrived`);
  }
}
