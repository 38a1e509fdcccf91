import type { PoolKernels } from 'ringway/memory';
import { attachVifQueue, type NetRing, type VifQueueShare } from 'ringway/xen';
import { ASYNC_HEAD, ASYNC_RECORD_HEAD, ASYNC_RECORD_TAIL, ASYNC_TAIL } from '#build/async/layout.js';
import type { CopyQueue, QueueCopies } from '#build/async/queue.js';
import { Transmit } from '#build/async/transmit.js';
import { attachAsyncVif, attachAsyncVifReceiver, createAsyncVif, enterVif, takeVif } from '#build/async/vif.js';
import { SLOT_SHIFT } from '#build/memory/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import {
  NETRING_GIVE,
  NETRING_SIZE,
  NETRING_TAKE,
  SRING_REQ_EVENT,
  SRING_REQ_PROD,
  SRING_RSP_EVENT,
  SRING_RSP_PROD,
} from '#build/xen/layout.js';
import { VIFQ_DATA, VIFQ_FREE, VIFQ_FREE_COUNT, VIFQ_LEND_COUNT, VIFQ_STAGE_COUNT } from '#build/xen/queue-layout.js';
import { TracedArena } from '../../support/traced.ts';
import { frameOf, makeVif, type Served, settle, type VifRigOptions } from '../../xen/support/vif-rig.ts';
import { type Lane, Machine, makeEngines, makeWorks } from './machine.ts';

/** So few slots that rings fill and go round. */
const SIZE = 8;
/** Rings begin where their indexes go round soon. */
const START = 2 ** 32 - 3;
const THRESHOLD = 40;
const BURST = 3;
/** A frame in so many takes two pages. */
const LONG_EVERY = 5;
const FEATURES = { sg: true, csum: true, gsoTcpv4: true, gsoTcpv6: true };

export interface VifCopiesOptions {
  readonly path: NonNullable<VifRigOptions['path']>;
  /** Frames of each direction of each queue. */
  readonly total?: number;
  /** Kernels in place of the test build. */
  readonly module?: WebAssembly.Module;
}

/** A direction of a queue, as an lcore serves it. */
interface VifLane extends Lane {
  readonly pair: number;
  /** Of one that receives. */
  readonly receive: ((slots: number, max: number) => number) | undefined;
  readonly ring: NetRing;
}

/** A stretch of the arena as it was when no schedule had begun. */
class Saved {
  readonly #bytes: Uint8Array;
  readonly #copy: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#copy = bytes.slice();
  }

  restore(): void {
    this.#bytes.set(this.#copy);
  }
}

/**
 * A Xen device of two queues, whose backend sends and receives on two lcores, over two engines that work, fail, hang and end; its
 * frontend; and a control thread that changes integrations and channels, and ends engines. Each call is a step.
 */
export async function vifCopies({ path, total = 8, module }: VifCopiesOptions): Promise<Simulation> {
  const backs: {
    readonly to: CopyQueue;
    readonly from: QueueCopies;
    readonly addresses: readonly [to: number, from: number];
  }[] = [];
  const attachBack: typeof attachVifQueue = (arena, share: VifQueueShare, cache, now) => {
    const [to, from] = [share.rxQueue, share.txQueue].map((netq, i) =>
      createAsyncVif(arena, { name: `async ${backs.length} ${i}`, netq, threshold: THRESHOLD, sends: i === 0 }),
    ) as [number, number];
    const queue = attachVifQueue(arena, share, cache, now, enterVif(arena, to), takeVif(arena, from));
    backs.push({
      to: attachAsyncVif(arena, to, queue.sender),
      from: attachAsyncVifReceiver(arena, from, queue.receiver),
      addresses: [to, from],
    });
    return queue;
  };
  const rig = await makeVif({
    mode: 'plain',
    path,
    attachBack,
    queues: { front: 2, back: 2 },
    front: FEATURES,
    back: FEATURES,
    now: () => 0,
    ...(module === undefined ? {} : { wrap: (arena) => new TracedArena(arena, module) }),
  });
  await rig.netback.start();
  await rig.netfront.start();
  await settle();
  const { arena, pool } = rig;
  const { u32 } = arena;
  const cache = pool.caches[0] as number;
  const kernels = arena.kernels<PoolKernels & { xenFrontRefill(queue: number): void }>();
  const fronts = rig.netfront.queues as readonly Served[];
  const engines = makeEngines(arena);
  const works = makeWorks(arena);
  const drop = (): void => {
    throw new Error('the ring is full');
  };
  const lanes = [0, 1].flatMap((pair): VifLane[] => {
    const { to, from, addresses } = backs[pair] as (typeof backs)[number];
    const back = rig.netback.queues[pair] as Served;
    const options = { address: addresses[0], queue: to, ringFull: 'wait', work: works[pair] as never, drop } as const;
    const fresh = { pair, sent: 0, got: 0, ended: false };
    const transmit = new Transmit(arena, { ...options, integration: 'defer' });
    return [
      { ...fresh, lcore: pair, queue: to, transmit, receive: undefined, ring: back.rx },
      { ...fresh, lcore: 1 - pair, queue: from, transmit: undefined, receive: back.receive, ring: back.tx },
    ];
  });
  const frames = lanes.map((_, lane) =>
    Array.from({ length: total }, (__, serial) => {
      // A data ring fills and goes round, too.
      const unit = path.kind === 'data-ring' ? 20 : 1;
      const length = serial % LONG_EVERY === LONG_EVERY - 1 ? 4200 : 20 + ((serial * 29 + lane * 7) % 100) * unit;
      return frameOf(lane * 50 + serial, length);
    }),
  );
  const bursts = [0, 1, 2].map((owner) => arena.allocate(`burst ${owner}`, 32 << SLOT_SHIFT));
  const guestBurst = bursts[2] as number;

  /** Sends some of a lane's frames from `burst`. Returns how many. */
  function sendBy(by: (slots: number, n: number) => number, burst: number, lane: number, from: number, most: number) {
    const some = frames[lane]?.slice(from, from + most) ?? [];
    for (const [i, frame] of some.entries()) {
      const slot = burst + (i << SLOT_SHIFT);
      arena.u8.set(frame, rig.scratch);
      if (kernels.poolAlloc(cache, slot, 1) !== 1) throw new Error('the pool is exhausted');
      if (kernels.memoryFill(cache, slot, rig.scratch, frame.length) !== 1) throw new Error('the pool is exhausted');
    }
    const sent = some.length === 0 ? 0 : by(burst, some.length);
    kernels.poolFree(cache, burst + (sent << SLOT_SHIFT), some.length - sent);
    return sent;
  }

  /** Checks `n` packets at `burst`, the next of a lane, and frees them. */
  function check(burst: number, n: number, index: number): void {
    const lane = lanes[index] as VifLane;
    for (let i = 0; i < n; i++) {
      const length = kernels.memoryGather(burst + (i << SLOT_SHIFT), rig.scratch, 1 << 17);
      const got = arena.u8.subarray(rig.scratch, rig.scratch + length);
      const frame = frames[index]?.[lane.got++];
      if (frame === undefined || length !== frame.length) {
        throw new Error(`lane ${index}: ${length} bytes in the place of frame ${lane.got - 1}`);
      }
      if (Buffer.compare(got, frame) !== 0) throw new Error(`lane ${index}: frame ${lane.got - 1} is not what it was`);
    }
    kernels.poolFree(cache, burst, n);
  }

  const machine = new Machine(arena, engines, works, {
    lanes,
    total,
    send({ lcore, transmit, sent }, index, random) {
      const by = (slots: number, n: number): number => transmit?.send(slots, n) ?? 0;
      const n = sendBy(by, bursts[lcore] as number, index, sent, 1 + random.below(BURST));
      (lanes[index] as VifLane).sent += n;
      return n;
    },
    receive({ lcore, receive }, index) {
      const burst = bursts[lcore] as number;
      const n = receive?.(burst, BURST) ?? 0;
      check(burst, n, index);
      return n;
    },
  });

  /** Frames each way over both queues, so often that all pages are mapped that will be. */
  function warmUp(): void {
    const frame = [frameOf(1, 60)];
    for (const [pair, front] of fronts.entries()) {
      const back = rig.netback.queues[pair] as Served;
      const { to, from } = backs[pair] as (typeof backs)[number];
      for (let i = 0; i < 3 * front.tx.slots; i++) {
        rig.make(frame);
        if (front.send(rig.burst, 1) !== 1 || rig.receive(back).length !== 1) throw new Error('nothing got through');
        rig.make(frame);
        if (to.send(rig.burst, 1) !== 1 || to.settle() !== 1) throw new Error('nothing got through');
        if (rig.receive(front).length !== 1) throw new Error('nothing got through');
      }
      if (to.inFlight() + from.inFlight() > 0) throw new Error('something is under way');
    }
  }

  /** Both sides of each ring have few slots, and start before their indexes go round. Nothing is out. */
  function shrink(): void {
    const set = (address: number, value: number): void => {
      u32[address >>> 2] = value;
    };
    for (const [pair, front] of fronts.entries()) {
      const back = rig.netback.queues[pair] as Served;
      for (const [one, other] of [
        [front.tx, back.tx],
        [front.rx, back.rx],
      ] as const) {
        for (const { address } of [one, other]) {
          set(address + NETRING_SIZE, SIZE);
          set(address + NETRING_GIVE, START);
          set(address + NETRING_TAKE, START);
        }
        const sring = u32[one.address >>> 2] as number;
        for (const word of [SRING_REQ_PROD, SRING_RSP_PROD]) set(sring + word, START);
        for (const word of [SRING_REQ_EVENT, SRING_RSP_EVENT]) set(sring + word, START + 1);
      }
      const { txQueue, rxQueue } = rig.netfront.bus.queues[pair] as VifQueueShare;
      set(txQueue + VIFQ_FREE_COUNT, SIZE);
      const free = (u32[(txQueue + VIFQ_FREE) >>> 2] as number) >>> 1;
      for (let id = 0; id < SIZE; id++) arena.u16[free + id] = id;
      // A staging buffer for each slot.
      if (path.kind === 'staging') {
        const theirs = rig.netback.bus.queues[pair] as VifQueueShare;
        for (const { txQueue: tx, rxQueue: rx } of [{ txQueue, rxQueue }, theirs]) {
          for (const word of [tx + VIFQ_STAGE_COUNT, tx + VIFQ_LEND_COUNT, rx + VIFQ_STAGE_COUNT]) set(word, SIZE);
        }
      }
      kernels.xenFrontRefill(rxQueue);
      for (const address of backs[pair]?.addresses ?? []) {
        for (const word of [ASYNC_HEAD, ASYNC_TAIL, ASYNC_RECORD_HEAD, ASYNC_RECORD_TAIL]) set(address + word, START);
      }
    }
  }

  warmUp();
  // What was answered is taken back.
  for (const { send } of fronts) send(guestBurst, 0);
  shrink();
  const saved = arena
    .regions()
    .filter(({ name, bytes }) => /^(front|back|async|channel|work) /.test(name) && bytes > 0)
    .map(({ address, bytes }) => new Saved(arena.u8.subarray(address, address + bytes)));
  // Pages that both ends write indexes to: rings, and a data ring's.
  for (const [pair, { tx, rx }] of fronts.entries()) {
    const { txQueue } = rig.netfront.bus.queues[pair] as VifQueueShare;
    for (const word of [tx.address, rx.address, txQueue + VIFQ_DATA]) {
      const address = u32[word >>> 2] as number;
      const page = address - (address % 4096);
      if (page > 0) saved.push(new Saved(arena.u8.subarray(page, page + 4096)));
    }
  }

  function* guest(random: Random): Actor {
    const sent = [0, 0];
    while (!machine.isOver() || lanes.some(({ got }) => got < total)) {
      let moved = 0;
      for (const [pair, front] of fronts.entries()) {
        const lane = pair * 2 + 1;
        const n = sendBy(front.send, guestBurst, lane, sent[pair] as number, random.below(BURST));
        sent[pair] = (sent[pair] as number) + n;
        yield 'sends';
        const got = front.receive(guestBurst, BURST);
        check(guestBurst, got, pair * 2);
        moved += n + got;
        yield 'receives';
      }
      if (moved === 0) yield IDLE;
    }
  }

  /** Buffers out of the pool when a schedule began: those that one that failed has lost. */
  let lost = 0;
  return new Simulation({
    name: `copies for a Xen guest, ${path.kind}`,
    steps: 400,
    setup({ random }) {
      for (const each of saved) each.restore();
      machine.reset(random);
      lost = pool.audit().inFlight;
      return {
        actors: { ...machine.actors(random), guest: guest(random) },
        invariant() {
          for (const [i, { ring }] of lanes.entries()) {
            const fault = ring.broken() ?? (i % 2 === 0 ? fronts[i >> 1]?.rx : fronts[i >> 1]?.tx)?.broken();
            if (fault !== undefined) throw new Error(`lane ${i}: a ring is broken: ${fault}`);
          }
        },
        finish() {
          machine.finish();
          for (const { ring, receive } of lanes) {
            if (receive !== undefined && ring.outstanding() > 0)
              throw new Error('requests are not answered in the end');
          }
          if (pool.audit().inFlight !== lost) throw new Error('buffers are missing in the end');
        },
      };
    },
  });
}
