import { ringDoorbell } from '../lcore/idle.ts';
import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import type { Arena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { Port } from '../ports/port.ts';
import { attachMpscRing, type Ring } from '../ring/ring.ts';
import { OUTPUT_BYTES, OUTPUT_COUNT, OUTPUT_SIZE, OUTPUT_SLOTS, PATH_OUTPUTS } from '../switch/layout.ts';
import { addCounter, portCounters } from '../telemetry/counters.ts';
import { COUNTER_DROPS, DROP_PORT_GONE, DROP_STOPPED } from '../telemetry/layout.ts';
import { RingwayError } from '../util/errors.ts';
import { attachQueue, type Queue } from './queue.ts';
import type { PipelineData, PipelineMessage, PortWire, QueueInfo } from './wire.ts';

interface SwitchKernels {
  switchForward(path: number, slots: number, count: number, fresh: number): void;
}

/** An output of the switch, and where its packets go. */
interface Exit {
  /** Word index of the output's count. */
  readonly count: number;
  /** Address of its slots. */
  readonly slots: number;
  /** Sends the first of `n` packets; returns how many. */
  send(slots: number, n: number): number;
  /** Packets of other lcores for a port that this one serves. */
  readonly incoming?: Ring;
  /** Its peer may stop to take packets for good. */
  readonly untrusted: boolean;
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

/**
 * What one lcore does: receives from the queues it serves, switches, sends. A poll runs each packet to completion,
 * unless another lcore serves the port that it leaves through: that lcore gets it through the port's ring.
 */
export class Pipeline implements LcoreTask {
  readonly #arena: Arena;
  readonly #context: LcoreContext;
  readonly #data: PipelineData;
  readonly #kernels: SwitchKernels & PoolKernels;
  /** Receive and send buffer of this lcore. */
  readonly #burst: number;
  readonly #input: Ring;
  readonly #wires = new Map<number, PortWire>();
  #queues: Queue[] = [];
  #sources: { readonly port: Port; readonly pausable: boolean }[] = [];
  readonly #exits = new Map<number, Exit>();
  #exitList: Exit[] = [];
  #congested = false;
  /** Nothing is received before every lcore knows every port. */
  #quiet = true;
  /** What is on its way gets no further. */
  #abandoned = false;

  constructor(context: LcoreContext) {
    this.#context = context;
    this.#arena = context.arena;
    this.#data = context.data as PipelineData;
    this.#kernels = context.arena.kernels<SwitchKernels & PoolKernels>();
    this.#burst = this.#data.burst;
    const { inputRings, ports } = this.#data;
    this.#input = attachMpscRing(context.arena, inputRings[context.index] ?? 0);
    // None to itself: the switch goes on with packets that a rule steers to the lcore they are on.
    inputRings.forEach((address, lcore) => {
      if (lcore !== context.index) this.#setExit(ports + lcore, this.#ringExit(ports + lcore, address, lcore, false));
    });
  }

  poll(): number {
    const { switchForward } = this.#kernels;
    const { path } = this.#data;
    const burst = this.#burst;
    let work = 0;
    if (this.#abandoned) return 0;
    for (const { port, pausable } of this.#sources) {
      if (pausable && this.#congested) continue;
      const n = port.rxBurst(burst, BURST_MAX);
      if (n === 0) continue;
      switchForward(path, burst, n, 1);
      work += n;
      this.#flush();
    }
    const steered = this.#input.pop(burst, BURST_MAX);
    if (steered > 0) {
      switchForward(path, burst, steered, 0);
      work += steered;
    }
    return work + this.#flush();
  }

  /** Sends what waits in the outputs. Returns how many packets of other lcores it took in for its own ports. */
  #flush(): number {
    const { u32 } = this.#arena;
    let taken = 0;
    let congested = false;
    for (const exit of this.#exitList) {
      let n = u32[exit.count] ?? 0;
      if (exit.incoming !== undefined && n + BURST_MAX <= OUTPUT_SIZE) {
        const more = exit.incoming.pop(exit.slots + (n << SLOT_SHIFT), BURST_MAX);
        taken += more;
        n += more;
      }
      if (n === 0) continue;
      const sent = exit.send(exit.slots, n);
      const left = n - sent;
      if (sent > 0 && left > 0) {
        const from = exit.slots + (sent << SLOT_SHIFT);
        this.#arena.u8.copyWithin(exit.slots, from, from + (left << SLOT_SHIFT));
      }
      u32[exit.count] = left;
      exit.stalls = sent > 0 ? 0 : exit.stalls + 1;
      if (left > CONGESTED && !(exit.untrusted && exit.stalls > PATIENCE)) congested = true;
    }
    this.#congested = congested;
    return taken;
  }

  #outputAddress(output: number): number {
    return (this.#arena.u32[(this.#data.path + PATH_OUTPUTS) >>> 2] ?? 0) + output * OUTPUT_BYTES;
  }

  #setExit(output: number, exit: Exit): void {
    this.#exits.set(output, exit);
    this.#exitList = [...this.#exits.values()];
  }

  /** An output whose packets another lcore takes over, through its ring. */
  #ringExit(output: number, ringAddress: number, lcore: number, untrusted: boolean): Exit {
    const ring = attachMpscRing(this.#arena, ringAddress);
    const { i32 } = this.#arena;
    const words = this.#data.lcores[lcore] ?? 0;
    const doorbell = (words + LCORE_DOORBELL) >>> 2;
    const parked = (words + LCORE_PARKED) >>> 2;
    const address = this.#outputAddress(output);
    return {
      count: (address + OUTPUT_COUNT) >>> 2,
      slots: address + OUTPUT_SLOTS,
      untrusted,
      stalls: 0,
      send(slots, n) {
        const sent = ring.push(slots, n);
        if (sent > 0) ringDoorbell(i32, doorbell, parked);
        return sent;
      },
    };
  }

  /** The output of a port that this lcore serves. */
  #portExit(wire: PortWire, port: Port): Exit {
    const address = this.#outputAddress(wire.index);
    return {
      count: (address + OUTPUT_COUNT) >>> 2,
      slots: address + OUTPUT_SLOTS,
      untrusted: wire.untrusted,
      stalls: 0,
      // With one lcore nobody else sends there.
      ...(this.#data.lcores.length > 1 ? { incoming: attachMpscRing(this.#arena, wire.txRing) } : {}),
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

  async handle(message: unknown): Promise<unknown> {
    const request = message as PipelineMessage;
    switch (request.kind) {
      case 'add':
        return await this.#add(request.port);
      case 'detach':
        return this.#detach(request.index);
      case 'remove':
        return this.#remove(request.index);
      case 'set':
        for (const queue of this.#queuesOf(request.index)) queue.port.set?.(request.name, request.value);
        return;
      case 'trace':
        for (const queue of this.#queuesOf(request.index)) queue.trace(request.on);
        return;
      case 'info':
        return this.#info();
      case 'resume':
        this.#quiet = false;
        return;
      case 'quiesce':
        this.#quiet = true;
        return;
      case 'abandon':
        this.#abandoned = true;
        this.#dropAll();
        return;
    }
  }

  #queuesOf(index: number): Queue[] {
    return this.#queues.filter((queue) => queue.index === index);
  }

  #info(): QueueInfo[] {
    return this.#queues.map(({ index, queue, port }) => ({ ...port.info(), index, queue }));
  }

  async #add(wire: PortWire): Promise<void> {
    this.#wires.set(wire.index, wire);
    const { index: lcore } = this.#context;
    const attached: Queue[] = [];
    for (const [queue, server] of wire.queueLcores.entries()) {
      if (server === lcore) attached.push(await attachQueue(this.#context, this.#data, wire, queue, () => this.#quiet));
    }
    this.#queues.push(...attached);
    const sender = attached.find(({ queue }) => queue === 0);
    if (sender !== undefined) this.#setExit(wire.index, this.#portExit(wire, sender.port));
    else this.#setExit(wire.index, this.#ringExit(wire.index, wire.txRing, wire.queueLcores[0] ?? 0, wire.untrusted));
    this.#listSources();
  }

  #listSources(): void {
    this.#sources = this.#queues.map(({ index, port }) => ({
      port,
      pausable: this.#wires.get(index)?.pausable ?? false,
    }));
  }

  #detach(index: number): void {
    this.#dropOutput(index, DROP_PORT_GONE);
    const exit = this.#exits.get(index);
    // The sender keeps its exit, to drop what other lcores still push, until it is told to remove the port.
    if (exit?.incoming === undefined) this.#exits.delete(index);
    this.#exitList = [...this.#exits.values()];
  }

  #remove(index: number): void {
    this.#dropOutput(index, DROP_PORT_GONE);
    const closing = this.#queuesOf(index);
    this.#queues = this.#queues.filter((queue) => queue.index !== index);
    this.#wires.delete(index);
    this.#exits.delete(index);
    this.#exitList = [...this.#exits.values()];
    this.#listSources();
    for (const { port } of closing) port.close();
  }

  /** Drops what waits in an output, and what other lcores pushed for it. */
  #dropOutput(output: number, reason: number): void {
    const exit = this.#exits.get(output);
    if (exit === undefined) return;
    const { u32 } = this.#arena;
    this.#dropPackets(exit.slots, u32[exit.count] ?? 0, output, reason);
    u32[exit.count] = 0;
    for (;;) {
      const n = exit.incoming?.pop(this.#burst, BURST_MAX) ?? 0;
      if (n === 0) return;
      this.#dropPackets(this.#burst, n, output, reason);
    }
  }

  /** Packets for a port count there; those for another lcore count for the port that they came from. */
  #dropPackets(slots: number, n: number, output: number, reason: number): void {
    const { counters, ports, cache } = this.#data;
    for (let i = 0; i < n; i++) {
      const from = this.#arena.u8[slots + (i << SLOT_SHIFT) + SLOT_PORT] ?? 0;
      addCounter(this.#arena, portCounters(counters, output < ports ? output : from) + COUNTER_DROPS + reason * 8, 1);
    }
    this.#kernels.poolFree(cache, slots, n);
  }

  /** Drops what waits in outputs and rings of this lcore. */
  #dropAll(): void {
    for (const output of this.#exits.keys()) this.#dropOutput(output, DROP_STOPPED);
    for (;;) {
      const n = this.#input.pop(this.#burst, BURST_MAX);
      if (n === 0) return;
      this.#dropPackets(this.#burst, n, this.#data.ports, DROP_STOPPED);
    }
  }

  /** Drops what is left, closes the ports and gives back the buffers of this lcore's cache. */
  stop(): QueueInfo[] {
    this.#dropAll();
    const infos = this.#info();
    for (const { index, queue, port } of this.#queues) {
      try {
        port.close();
      } catch (error) {
        const info = infos.find((candidate) => candidate.index === index && candidate.queue === queue);
        const fault = error instanceof RingwayError ? error.message : String(error);
        if (info !== undefined) Object.assign(info, { fault });
      }
    }
    this.#kernels.poolFlush(this.#data.cache);
    return infos;
  }
}
