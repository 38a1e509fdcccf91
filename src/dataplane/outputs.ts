import { ringDoorbell } from '../lcore/idle.ts';
import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import type { Arena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { Port } from '../ports/port.ts';
import { attachMpscRing, type Ring } from '../ring/ring.ts';
import { OUTPUT_BYTES, OUTPUT_COUNT, OUTPUT_SIZE, OUTPUT_SLOTS, PATH_OUTPUTS } from '../switch/layout.ts';
import { addCounter, portCounters } from '../telemetry/counters.ts';
import { COUNTER_DROPS } from '../telemetry/layout.ts';
import type { PipelineData } from './wire.ts';

/** Where the packets of an output go. */
export interface Exit {
  /** Sends the first of `n` packets; returns how many. */
  send(slots: number, n: number): number;
  /** Packets of other lcores for a port that this one serves. */
  readonly incoming?: Ring;
  /** This lcore is the one that sends through the port. */
  readonly serves: boolean;
  /** Its peer may stop to take packets for good. */
  readonly untrusted: boolean;
}

interface Entry extends Exit {
  /** Word index of the output's count. */
  readonly count: number;
  /** Address of its slots. */
  readonly slots: number;
  /** Polls in a row in which it took nothing of what waits. */
  stalls: number;
}

/**
 * Outputs fuller than this stop sources that can wait: one more burst, with a mirror of each packet in and out, then
 * still fits.
 */
const CONGESTED = OUTPUT_SIZE - 3 * BURST_MAX;
/** Polls, a millisecond or so, that sources wait for a peer who takes nothing; then what does not fit is dropped. */
const PATIENCE = 1000;

/** The exit to another lcore, through its ring. */
export function ringExit(arena: Arena, ringAddress: number, lcore: number, untrusted: boolean): Exit {
  const ring = attachMpscRing(arena, ringAddress);
  const { i32 } = arena;
  const doorbell = (lcore + LCORE_DOORBELL) >>> 2;
  const parked = (lcore + LCORE_PARKED) >>> 2;
  return {
    serves: false,
    untrusted,
    send(slots, n) {
      const sent = ring.push(slots, n);
      if (sent > 0) ringDoorbell(i32, doorbell, parked);
      return sent;
    },
  };
}

/** The exit through a port that this lcore serves. */
export function portExit(port: Port, untrusted: boolean, incoming?: Ring): Exit {
  return {
    serves: true,
    untrusted,
    ...(incoming === undefined ? {} : { incoming }),
    send(slots, n) {
      let done = 0;
      while (done < n) {
        const count = Math.min(BURST_MAX, n - done);
        const sent = port.txBurst(slots + (done << SLOT_SHIFT), count);
        done += sent;
        if (sent < count) break;
      }
      return done;
    },
  };
}

/** The outputs of one lcore's path through the switch, and where each leads. */
export class Outputs {
  readonly #arena: Arena;
  readonly #data: PipelineData;
  readonly #kernels: PoolKernels;
  readonly #entries = new Map<number, Entry>();
  #list: Entry[] = [];
  /** An output is so full that sources that can wait are not to be read. */
  congested = false;

  constructor(arena: Arena, data: PipelineData) {
    this.#arena = arena;
    this.#data = data;
    this.#kernels = arena.kernels<PoolKernels>();
  }

  /** Leads output `output` through `exit` from now on. */
  set(output: number, exit: Exit): void {
    const outputs = this.#arena.u32[(this.#data.path + PATH_OUTPUTS) >>> 2] ?? 0;
    const address = outputs + output * OUTPUT_BYTES;
    const entry = { ...exit, count: (address + OUTPUT_COUNT) >>> 2, slots: address + OUTPUT_SLOTS, stalls: 0 };
    this.#entries.set(output, entry);
    this.#list = [...this.#entries.values()];
  }

  /** True when this lcore is the one that sends what is in output `output`. */
  serves(output: number): boolean {
    return this.#entries.get(output)?.serves ?? false;
  }

  delete(output: number): void {
    this.#entries.delete(output);
    this.#list = [...this.#entries.values()];
  }

  /** Packets that wait in all of them. */
  waiting(): number {
    let waiting = 0;
    for (const { count } of this.#list) waiting += this.#arena.u32[count] ?? 0;
    return waiting;
  }

  /** True when other lcores have sent something for a port of this one. */
  hasIncoming(): boolean {
    return this.#list.some(({ incoming }) => incoming !== undefined && incoming.fill() > 0);
  }

  /** Sends what waits. Returns how many packets of other lcores it took in for its own ports. */
  flush(): number {
    const { u32 } = this.#arena;
    let taken = 0;
    let congested = false;
    for (const entry of this.#list) {
      let n = u32[entry.count] ?? 0;
      if (entry.incoming !== undefined && n + BURST_MAX <= OUTPUT_SIZE) {
        const more = entry.incoming.pop(entry.slots + (n << SLOT_SHIFT), BURST_MAX);
        taken += more;
        n += more;
      }
      if (n === 0) continue;
      const sent = entry.send(entry.slots, n);
      const left = n - sent;
      if (sent > 0 && left > 0) {
        const from = entry.slots + (sent << SLOT_SHIFT);
        this.#arena.u8.copyWithin(entry.slots, from, from + (left << SLOT_SHIFT));
      }
      u32[entry.count] = left;
      entry.stalls = sent > 0 ? 0 : entry.stalls + 1;
      if (left > CONGESTED && !(entry.untrusted && entry.stalls > PATIENCE)) congested = true;
    }
    this.congested = congested;
    return taken;
  }

  /** Drops what waits in an output, and what other lcores pushed for it. */
  drop(output: number, reason: number): void {
    const entry = this.#entries.get(output);
    if (entry === undefined) return;
    const { u32 } = this.#arena;
    this.dropPackets(entry.slots, u32[entry.count] ?? 0, output, reason);
    u32[entry.count] = 0;
    for (;;) {
      const n = entry.incoming?.pop(this.#data.burst, BURST_MAX) ?? 0;
      if (n === 0) return;
      this.dropPackets(this.#data.burst, n, output, reason);
    }
  }

  /** Drops what waits in all of them. */
  dropAll(reason: number): void {
    for (const output of this.#entries.keys()) this.drop(output, reason);
  }

  /** Packets for a port count there; those for an lcore, or for nobody yet, count for the port that they came from. */
  dropPackets(slots: number, n: number, output: number, reason: number): void {
    const { counters, ports, cache } = this.#data;
    for (let i = 0; i < n; i++) {
      const from = this.#arena.u8[slots + (i << SLOT_SHIFT) + SLOT_PORT] ?? 0;
      addCounter(this.#arena, portCounters(counters, output < ports ? output : from) + COUNTER_DROPS + reason * 8, 1);
    }
    this.#kernels.poolFree(cache, slots, n);
  }
}
