// The module that a guest's thread runs: the driver of its network device, and what it does with frames.
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import type { Arena } from '../memory/arena.ts';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_OFFLOAD_FLAGS,
  BURST_MAX,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';
import { Source } from './source.ts';
import { Stack } from './stack.ts';
import { GUEST_TEMPLATE_BYTES, type GuestWire } from './wire.ts';

interface GuestKernels extends PoolKernels {
  guestSwap(slots: number, n: number): void;
}

/** The frame starts here in the scratch bytes, so that u16 and u32 words of the IP header are aligned. */
const SCRATCH_AT = 2;

/** A queue pair of the device. */
interface Pair {
  readonly receive: NetQueue;
  readonly send: NetQueue;
}

/** A guest: one thread that polls its queue pairs. */
class Guest implements LcoreTask {
  readonly #arena: Arena;
  readonly #wire: GuestWire;
  readonly #kernels: GuestKernels;
  readonly #pairs: readonly Pair[];
  readonly #stack: Stack;
  readonly #source: Source | undefined;
  /** Word indexes of the lcore's time. */
  readonly #seconds: number;
  /** Frames that the device did not take: it was behind. */
  #dropped = 0;
  /** Does with `n` packets at `slots` what the guest does. */
  readonly #work: (pair: Pair, slots: number, n: number) => void;

  constructor(context: LcoreContext) {
    const { arena, address } = context;
    const wire = context.data as GuestWire;
    this.#arena = arena;
    this.#wire = wire;
    this.#kernels = arena.kernels<GuestKernels>();
    this.#seconds = (address + LCORE_SECONDS) >>> 2;
    this.#pairs = wire.pairs.map(({ receive, send }) => ({
      receive: attachNetQueue(arena, receive, wire.cache),
      send: attachNetQueue(arena, send, wire.cache),
    }));
    this.#stack = new Stack(wire.addresses, wire.seed);
    const { app } = wire;
    if (typeof app === 'object') this.#source = new Source(arena, wire.addresses, app, wire.scratch);
    const kind = typeof app === 'object' ? 'stack' : app;
    this.#work = { stack: this.#answer, forward: this.#forward, sink: this.#drop }[kind];
  }

  poll(): number {
    const { burst } = this.#wire;
    let work = 0;
    for (const pair of this.#pairs) {
      const n = pair.receive.receive(burst, BURST_MAX);
      if (n === 0) continue;
      this.#work(pair, burst, n);
      work += n;
    }
    return this.#source === undefined ? work : work + this.#produce(this.#source);
  }

  #produce(source: Source): number {
    if (this.#arena.u32[this.#wire.link] === 0) return 0;
    const pair = this.#pairs[0] as Pair;
    const n = source.make(this.#wire.burst, this.#wire.cache, this.#now());
    if (n > 0) this.#send(pair, this.#wire.burst, n);
    return n;
  }

  #now(): number {
    const { u32 } = this.#arena;
    return (u32[this.#seconds] ?? 0) + (u32[this.#seconds + ((LCORE_NANOSECONDS - LCORE_SECONDS) >>> 2)] ?? 0) / 1e9;
  }

  /** Sends, and drops what the device does not take: it is behind. */
  #send(pair: Pair, slots: number, n: number): void {
    const sent = pair.send.send(slots, n);
    this.#dropped += n - sent;
    if (sent < n) this.#kernels.poolFree(this.#wire.cache, slots + (sent << SLOT_SHIFT), n - sent);
  }

  readonly #drop = (_pair: Pair, slots: number, n: number): void => {
    this.#kernels.poolFree(this.#wire.cache, slots, n);
  };

  readonly #forward = (pair: Pair, slots: number, n: number): void => {
    this.#kernels.guestSwap(slots, n);
    this.#send(pair, slots, n);
  };

  /** Replies take the place of what they answer; the rest is freed. */
  readonly #answer = (pair: Pair, slots: number, n: number): void => {
    const replies = slots + (BURST_MAX << SLOT_SHIFT);
    const { u8 } = this.#arena;
    let count = 0;
    for (let i = 0; i < n; i++) {
      const slot = slots + (i << SLOT_SHIFT);
      if (!this.#reply(slot)) {
        this.#kernels.poolFree(this.#wire.cache, slot, 1);
        continue;
      }
      u8.copyWithin(replies + (count++ << SLOT_SHIFT), slot, slot + (1 << SLOT_SHIFT));
    }
    if (count > 0) this.#send(pair, replies, count);
  };

  /** Makes the reply of the packet at `slot` out of it. Returns false when there is none. */
  #reply(slot: number): boolean {
    const { u8, u16, u32 } = this.#arena;
    const flags = u8[slot + SLOT_FLAGS] ?? 0;
    const buffer = u32[(slot + SLOT_BUFFER) >>> 2] ?? 0;
    if (flags & SLOT_FLAG_CHAINED) return this.#replyLong(slot, flags);
    const at = buffer + (u16[(slot + SLOT_OFFSET) >>> 1] ?? 0);
    const length = u16[(slot + SLOT_LENGTH) >>> 1] ?? 0;
    this.#source?.look(u8, at, length, this.#now());
    const reply = this.#stack.handle(u8, at, length, (flags & SLOT_FLAG_OFFLOAD) !== 0);
    u16[(slot + SLOT_LENGTH) >>> 1] = reply;
    if (!this.#stack.keptChecksum) u8[slot + SLOT_FLAGS] = flags & ~SLOT_FLAG_OFFLOAD;
    return reply > 0;
  }

  /** The same for one of several buffers: it is put together, answered, and taken apart again. */
  #replyLong(slot: number, flags: number): boolean {
    const { u8, u32 } = this.#arena;
    const { memoryGather, memoryFill, poolAlloc, poolFree } = this.#kernels;
    const { cache, scratch, burst } = this.#wire;
    const at = scratch + GUEST_TEMPLATE_BYTES + SCRATCH_AT;
    const length = memoryGather(slot, at, 65_550);
    const reply = this.#stack.handle(u8, at, length, (flags & SLOT_FLAG_OFFLOAD) !== 0);
    if (reply === 0) return false;
    const buffer = u32[(slot + SLOT_BUFFER) >>> 2] ?? 0;
    const offload = u8.slice(buffer + BUFFER_OFFLOAD_FLAGS, buffer + BUFFER_CSUM_OFFSET + 2);
    const fresh = burst + 2 * (BURST_MAX << SLOT_SHIFT);
    if (poolAlloc(cache, fresh, 1) === 0 || memoryFill(cache, fresh, at, reply) === 0) return false;
    poolFree(cache, slot, 1);
    u8.copyWithin(slot, fresh, fresh + (1 << SLOT_SHIFT));
    if (flags & SLOT_FLAG_OFFLOAD && this.#stack.keptChecksum) {
      u8.set(offload, (u32[(slot + SLOT_BUFFER) >>> 2] ?? 0) + BUFFER_OFFLOAD_FLAGS);
      u8[slot + SLOT_FLAGS] = (u8[slot + SLOT_FLAGS] ?? 0) | SLOT_FLAG_OFFLOAD;
    }
    return true;
  }

  /** Says what the stack has counted. */
  handle(): unknown {
    const { counters, tcp } = this.#stack;
    return {
      ...counters,
      received: tcp.received,
      opened: tcp.opened,
      sent: this.#source?.sent ?? 0,
      dropped: this.#dropped,
    };
  }

  stop(): unknown {
    return this.handle();
  }
}

/** Makes the guest of this thread. */
export default function start(context: LcoreContext): LcoreTask {
  return new Guest(context);
}
