import { WORK_BYTES } from '../async/layout.ts';
import { AsyncLcore, type ServedQueue } from '../async/lcore.ts';
import { createAsyncQueue, readAsyncCounters } from '../async/queue.ts';
import type { Integration } from '../async/transmit.ts';
import { createGuest, type GuestMachine } from '../guest/create.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import { createPool, type PoolKernels } from '../memory/pool.ts';
import { assert } from '../util/assert.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';
import { NUMBERED_PATTERN } from './layout.ts';

const GUESTS = 4;
const LCORES = 2;
const QUEUE_SIZE = 128;
const BUFFERS = 8192;
const ARENA_BYTES = 64 << 20;
const THRESHOLD = 128;

interface NumberedKernels extends PoolKernels {
  labNumberedMake(cache: number, slots: number, max: number, first: number, pattern: number): number;
  labNumberedCheck(slots: number, n: number, first: number, pattern: number): number;
}

/** A burst of packets at `slots`, of which `waiting` were not taken. */
interface Burst {
  readonly slots: number;
  waiting: number;
}

/** A guest that sends back all it gets, and the lcore's way there and back. */
interface Lane {
  readonly name: string;
  readonly lcore: number;
  readonly cache: number;
  readonly there: ServedQueue;
  readonly back: ServedQueue;
  readonly received: number;
  readonly offered: Burst;
  readonly guest: { readonly receive: NetQueue; readonly send: NetQueue; readonly echoed: Burst };
  /** Numbers of the next packet that is made, that arrives, and that returns. */
  made: number;
  arrived: number;
  returned: number;
}

/** A queue whose copies an engine does. */
export interface CopiesQueue {
  /** Address of what it keeps (`createAsyncQueue`). */
  readonly address: number;
  readonly lcore: number;
}

/**
 * Two lcores with two guests each, which send back what they get. Every packet is checked where it arrives and where it
 * returns: it is the next one, and whole.
 */
export class CopiesWorld {
  readonly arena: Arena;
  readonly queues: readonly CopiesQueue[];
  readonly #kernels: NumberedKernels;
  readonly #pattern: number;
  readonly #lcores: readonly AsyncLcore[];
  readonly #lanes: readonly Lane[];

  /** @param features bits of VIRTIO_F and VIRTIO_NET_F that the guests' devices have. */
  constructor(features: bigint) {
    const arena = createArena({ bytes: ARENA_BYTES });
    this.arena = arena;
    const pool = createPool(arena, { buffers: BUFFERS, caches: LCORES });
    this.#kernels = arena.kernels<NumberedKernels>();
    this.#pattern = arena.allocate('pattern', NUMBERED_PATTERN);
    for (let i = 0; i < NUMBERED_PATTERN; i++) arena.u8[this.#pattern + i] = (i * 131) ^ (i >>> 7);
    this.#lcores = pool.caches.map((cache, i) => {
      const work = arena.allocate(`work ${i}`, WORK_BYTES);
      return new AsyncLcore(arena, cache, { integration: 'defer', ringFull: 'wait', attempts: 1, delay: 0, work });
    });
    const queues: CopiesQueue[] = [];
    this.#lanes = Array.from({ length: GUESTS }, (_, i) => {
      const lcore = i % LCORES;
      const guest = createGuest(arena, {
        name: `guest ${i}`,
        queueSize: QUEUE_SIZE,
        queues: 1,
        mtu: 9000,
        offered: features,
        supported: features,
        addresses: { mac: 0x02_00_00_00_00_01 + i, ipv6: [] },
        app: 'forward',
        seed: 1,
      });
      const [{ send, receive }] = guest.pairs as [{ receive: number; send: number }];
      for (const [netq, sends] of [
        [send, true],
        [receive, false],
      ] as const) {
        const name = `guest ${i} ${sends ? 'rx' : 'tx'}`;
        queues.push({ address: createAsyncQueue(arena, { name, netq, threshold: THRESHOLD, sends }), lcore });
      }
      return this.#lane(i, guest, lcore, pool.caches[lcore] as number);
    });
    this.queues = queues;
  }

  #lane(index: number, guest: GuestMachine, lcore: number, cache: number): Lane {
    const { arena } = this;
    const [pair] = guest.pairs as [{ receive: number; send: number }];
    const [driver] = guest.wire.pairs as [{ receive: number; send: number }];
    const burst = (what: string): number => arena.allocate(`${what} ${index}`, BURST_MAX << SLOT_SHIFT);
    const serve = (netq: number): ServedQueue => {
      const hooks = { used() {}, drop: () => assert(false, 'nothing is dropped') };
      const queue = this.#lcores[lcore]?.serve(netq, hooks);
      assert(queue !== undefined, 'it was made to have its copies done');
      return queue;
    };
    return {
      name: `guest ${index}`,
      lcore,
      cache,
      there: serve(pair.send),
      back: serve(pair.receive),
      received: burst('received'),
      offered: { slots: burst('offered'), waiting: 0 },
      guest: {
        receive: attachNetQueue(arena, driver.receive, guest.wire.cache),
        send: attachNetQueue(arena, driver.send, guest.wire.cache),
        echoed: { slots: guest.wire.burst, waiting: 0 },
      },
      made: 0,
      arrived: 0,
      returned: 0,
    };
  }

  /**
   * Sends `packets`, half of them there and half of them back: a multiple of twice the guests.
   * @param tracks by queue, the track of the channel that copies for it; 0: the CPU does.
   * @param after lets engines go on: called after each loop, with whether any packet moved in it.
   * @throws Error when a packet is not the next one, or not whole.
   */
  run(packets: number, integration: Integration, tracks: readonly number[], after: (moved: boolean) => void): void {
    for (const lcore of this.#lcores) lcore.handle({ kind: 'integrate', integration });
    this.#use(tracks);
    const end = this.#lanes.map(({ made }) => made + packets / 2 / GUESTS);
    let before = -1;
    while (this.#lanes.some(({ returned }, i) => returned !== end[i])) {
      for (const [i, lane] of this.#lanes.entries()) this.#serve(lane, end[i] as number);
      for (const lcore of this.#lcores) lcore.run();
      for (const lane of this.#lanes) this.#echo(lane);
      const moves = this.#lanes.reduce((sum, { made, arrived, returned }) => sum + made + arrived + returned, 0);
      after(moves !== before);
      before = moves;
    }
    this.#use([]);
  }

  #use(tracks: readonly number[]): void {
    this.queues.forEach(({ address, lcore }, i) => {
      const done = this.#lcores[lcore]?.handle({ kind: 'use', queue: address, track: tracks[i] ?? 0 });
      assert(done === true, 'nothing is under way between two cases');
    });
  }

  /** What an lcore does in a loop for a port. */
  #serve(lane: Lane, end: number): void {
    const { there, back, received, offered, cache } = lane;
    there.poll?.();
    const n = back.receive(received, BURST_MAX);
    this.#check(received, n, lane.returned, `${lane.name}: what returned`);
    lane.returned += n;
    this.#kernels.poolFree(cache, received, n);
    if (offered.waiting === 0) {
      const max = Math.min(BURST_MAX, end - lane.made);
      offered.waiting = this.#kernels.labNumberedMake(cache, offered.slots, max, lane.made >>> 0, this.#pattern);
      lane.made += offered.waiting;
    }
    this.#pass(there, offered);
  }

  /** What a guest does. */
  #echo(lane: Lane): void {
    const { receive, send, echoed } = lane.guest;
    for (;;) {
      this.#pass(send, echoed);
      if (echoed.waiting > 0) return;
      echoed.waiting = receive.receive(echoed.slots, BURST_MAX);
      if (echoed.waiting === 0) return;
      this.#check(echoed.slots, echoed.waiting, lane.arrived, `${lane.name}: what arrived`);
      lane.arrived += echoed.waiting;
    }
  }

  #pass(queue: NetQueue, burst: Burst): void {
    if (burst.waiting === 0) return;
    const sent = queue.send(burst.slots, burst.waiting);
    burst.waiting -= sent;
    if (sent === 0 || burst.waiting === 0) return;
    const from = burst.slots + (sent << SLOT_SHIFT);
    this.arena.u8.copyWithin(burst.slots, from, from + (burst.waiting << SLOT_SHIFT));
  }

  #check(slots: number, n: number, first: number, what: string): void {
    if (n === 0) return;
    const good = this.#kernels.labNumberedCheck(slots, n, first >>> 0, this.#pattern);
    if (good !== n) throw new Error(`${what} is not packet ${first + good}, or not whole`);
  }

  /** Of all queues: copies that engines were given and that the CPU did, and times that a packet found a channel full. */
  counters(): { readonly offloaded: number; readonly copied: number; readonly full: number } {
    const all = this.queues.map(({ address }) => readAsyncCounters(this.arena, address));
    const sum = (name: 'offloaded' | 'copied' | 'full'): number => all.reduce((total, one) => total + one[name], 0);
    return { offloaded: sum('offloaded'), copied: sum('copied'), full: sum('full') };
  }
}
