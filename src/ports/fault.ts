import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import {
  SLOT_BUFFER,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAG_SHARED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { addCounter } from '../telemetry/counters.ts';
import { COUNTER_COPIES, COUNTER_DROPS, DROP_FAULT, DROP_STOPPED } from '../telemetry/layout.ts';
import { Random } from '../util/random.ts';
import type { Port, PortContext } from './port.ts';

/** What to do to packets: probabilities from 0 to 1, each packet on its own. */
export interface FaultSettings {
  readonly loss: number;
  readonly duplicate: number;
  /** A packet that is reordered is overtaken by up to 8 later ones. */
  readonly reorder: number;
  /**
   * One bit of the frame flips. Packets whose buffers others hold too are spared, since those would see it; and those
   * that still ask for a checksum or segments, since a checksum of the wrong bit would hide it.
   */
  readonly corrupt: number;
  /** Seconds that each packet is held. */
  readonly delay: number;
  readonly seed: number;
}

/** Packets held in each direction at most; a burst always fits behind the level at which no more are taken. */
const HELD_MAX = 4096;
const BURST_ROOM = 128;
const OVERTAKEN_MAX = 8;
const OVERTAKE_SECONDS = 0.001;

interface Held {
  /** When it may go on, in seconds. */
  readonly due: number;
  /** Its place: its own number, or half a place behind the last packet that overtakes it. */
  readonly place: number;
  readonly words: readonly [number, number, number, number];
}

/** One direction: packets go in, some are lost, the rest come out later or sooner. */
class FaultLine {
  readonly #context: PortContext;
  readonly #counters: number;
  readonly #settings: () => FaultSettings;
  readonly #random: Random;
  readonly #kernels: PoolKernels;
  #held: Held[] = [];
  #passed = 0;

  constructor(context: PortContext, counters: number, settings: () => FaultSettings, seed: number) {
    this.#context = context;
    this.#counters = counters;
    this.#settings = settings;
    this.#random = new Random(seed);
    this.#kernels = context.arena.kernels<PoolKernels>();
  }

  get pending(): number {
    return this.#held.length;
  }

  get hasRoom(): boolean {
    return this.#held.length <= HELD_MAX - BURST_ROOM;
  }

  #now(): number {
    const { arena, lcore } = this.#context;
    return (arena.u32[(lcore + LCORE_SECONDS) >>> 2] ?? 0) + (arena.u32[(lcore + LCORE_NANOSECONDS) >>> 2] ?? 0) / 1e9;
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#random.next() < probability * 2 ** 32;
  }

  /** Takes `n` packets at `slots` in. There must be room. */
  take(slots: number, n: number): void {
    for (let i = 0; i < n; i++) this.#takeOne(slots + (i << SLOT_SHIFT));
  }

  #takeOne(slot: number): void {
    const { arena, cache } = this.#context;
    const { loss, duplicate, reorder, corrupt, delay } = this.#settings();
    if (this.#happens(loss)) {
      this.#kernels.poolFree(cache, slot, 1);
      addCounter(arena, this.#counters + COUNTER_DROPS + DROP_FAULT * 8, 1);
      return;
    }
    if (this.#happens(corrupt)) this.#corrupt(slot);
    const due = this.#now() + delay;
    if (this.#happens(duplicate)) {
      this.#kernels.poolShare(slot, 1);
      addCounter(arena, this.#counters + COUNTER_COPIES, 1);
      this.#hold(slot, due, 0);
    }
    this.#hold(slot, due, this.#happens(reorder) ? 1 + this.#random.below(OVERTAKEN_MAX) : 0);
  }

  #corrupt(slot: number): void {
    const { u8, u16, u32 } = this.#context.arena;
    const length = u16[(slot + SLOT_LENGTH) >>> 1] ?? 0;
    if (length === 0 || ((u8[slot + SLOT_FLAGS] ?? 0) & (SLOT_FLAG_SHARED | SLOT_FLAG_OFFLOAD)) !== 0) return;
    const frame = (u32[(slot + SLOT_BUFFER) >>> 2] ?? 0) + (u16[(slot + SLOT_OFFSET) >>> 1] ?? 0);
    const byte = frame + this.#random.below(length);
    u8[byte] = (u8[byte] ?? 0) ^ (1 << this.#random.below(8));
  }

  #hold(slot: number, due: number, overtaken: number): void {
    const { u32 } = this.#context.arena;
    const word = (i: number): number => u32[(slot >>> 2) + i] ?? 0;
    this.#passed++;
    const place = overtaken === 0 ? this.#passed : this.#passed + overtaken + 0.5;
    this.#held.push({ due, place, words: [word(0), word(1), word(2), word(3)] });
    if ((this.#held.at(-2)?.place ?? 0) > place) this.#held.sort((a, b) => a.place - b.place);
  }

  /** Writes up to `max` packets whose time has come to `slots`. Returns how many. */
  give(slots: number, max: number): number {
    const { u32 } = this.#context.arena;
    const now = this.#now();
    let n = 0;
    for (; n < max; n++) {
      const next = this.#held[n];
      if (next === undefined || next.due > now) break;
      // One that is to be overtaken waits for those behind it, as long as any come.
      if (next.place > this.#passed && now < next.due + OVERTAKE_SECONDS) break;
      u32.set(next.words, (slots + (n << SLOT_SHIFT)) >>> 2);
    }
    if (n > 0) this.#held.splice(0, n);
    return n;
  }

  /** Puts back packets that `give` gave last and nobody took. */
  putBack(slots: number, n: number): void {
    const { u32 } = this.#context.arena;
    const back = Array.from({ length: n }, (_, i): Held => {
      const at = (slots >>> 2) + i * 4;
      return { due: 0, place: 0, words: [u32[at] ?? 0, u32[at + 1] ?? 0, u32[at + 2] ?? 0, u32[at + 3] ?? 0] };
    });
    this.#held.unshift(...back);
  }

  /** Drops what is held. @param slot room for one slot. */
  drop(slot: number): void {
    const { arena, cache } = this.#context;
    for (const { words } of this.#held) {
      arena.u32.set(words, slot >>> 2);
      this.#kernels.poolFree(cache, slot, 1);
    }
    addCounter(arena, this.#counters + COUNTER_DROPS + DROP_STOPPED * 8, this.#held.length);
    this.#held = [];
  }
}

/** Which faults to inject, and what that takes. */
export interface FaultyPortOptions {
  /** Address of the port's counters on this lcore. */
  readonly counters: number;
  /** Room for a burst of slots. */
  readonly scratch: number;
  readonly settings: FaultSettings;
}

function isHarmless({ loss, duplicate, reorder, corrupt, delay }: FaultSettings): boolean {
  return loss + duplicate + reorder + corrupt + delay === 0;
}

/**
 * Injects faults into what passes `port`, in both directions, the same ones for the same seed. Without any it only
 * passes bursts on. Settings are changed with `set('fault', { loss: 0.1 })`.
 */
export function faultyPort(context: PortContext, port: Port, options: FaultyPortOptions): Port {
  const { counters, scratch, settings: initial } = options;
  let settings = initial;
  let harmless = isHarmless(initial);
  const rx = new FaultLine(context, counters, () => settings, initial.seed);
  const tx = new FaultLine(context, counters, () => settings, initial.seed ^ 0x5bd1e995);

  const sendDue = (): void => {
    const n = tx.give(scratch, 32);
    const sent = n === 0 ? 0 : port.txBurst(scratch, n);
    if (sent < n) tx.putBack(scratch + (sent << SLOT_SHIFT), n - sent);
  };

  return {
    info() {
      const info = port.info();
      const pending = (info.pending ?? 0) + rx.pending + tx.pending;
      return { ...info, pending, done: info.done && rx.pending === 0 };
    },
    close() {
      rx.drop(scratch);
      tx.drop(scratch);
      port.close();
    },
    set(name, value) {
      if (name !== 'fault') {
        port.set?.(name, value);
        return;
      }
      settings = { ...settings, ...(value as Partial<FaultSettings>) };
      harmless = isHarmless(settings);
    },
    rxBurst(slots, max) {
      if (harmless && rx.pending + tx.pending === 0) return port.rxBurst(slots, max);
      sendDue();
      if (rx.hasRoom) {
        const n = port.rxBurst(slots, max);
        rx.take(slots, n);
      }
      return rx.give(slots, max);
    },
    txBurst(slots, count) {
      if (harmless && tx.pending === 0) return port.txBurst(slots, count);
      sendDue();
      if (!tx.hasRoom) return 0;
      tx.take(slots, count);
      sendDue();
      return count;
    },
  };
}
