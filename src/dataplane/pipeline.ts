import { AsyncLcore } from '../async/lcore.ts';
import { PARK_MS } from '../lcore/idle.ts';
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import type { Arena } from '../memory/arena.ts';
import { BURST_MAX } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { attachMpscRing, type Ring } from '../ring/ring.ts';
import { DROP_PORT_GONE, DROP_STOPPED } from '../telemetry/layout.ts';
import { RingwayError } from '../util/errors.ts';
import { EventEdge, EventWorker, type Source } from './events.ts';
import { type Exit, Outputs, portExit, ringExit } from './outputs.ts';
import { attachQueue, type Queue } from './queue.ts';
import type { Stage } from './stage.ts';
import type { PipelineData, PipelineMessage, PortWire, QueueInfo } from './wire.ts';
import { XdpLcore } from './xdp-lcore.ts';

/** An lcore that everybody wakes looks by itself so often, in ms. */
const REST_MS = 1000;

interface SwitchKernels {
  switchForward(path: number, slots: number, count: number, fresh: number): void;
}

/**
 * What one lcore does: receives from the queues it serves, switches, sends. A poll runs each packet to completion,
 * unless another lcore serves the port that it leaves through: that lcore gets it through the port's ring. With an event
 * device an lcore does one half of that, and the device is between the halves.
 */
export class Pipeline implements LcoreTask {
  readonly #arena: Arena;
  readonly #context: LcoreContext;
  readonly #data: PipelineData;
  readonly #kernels: SwitchKernels & PoolKernels;
  readonly #input: Ring;
  readonly #wires = new Map<number, PortWire>();
  readonly #outputs: Outputs;
  readonly #edge: EventEdge | undefined;
  readonly #worker: EventWorker | undefined;
  readonly #xdp: XdpLcore;
  readonly #async: AsyncLcore | undefined;
  #queues: Queue[] = [];
  #sources: Source[] = [];
  #eager = false;
  /** Nothing is received before every lcore knows every port. */
  #quiet = true;
  /** What is on its way gets no further. */
  #abandoned = false;

  /** @param stages of a worker of the event device: those before the switch. */
  constructor(context: LcoreContext, stages: readonly Stage[] = []) {
    this.#context = context;
    this.#arena = context.arena;
    this.#data = context.data as PipelineData;
    this.#kernels = context.arena.kernels<SwitchKernels & PoolKernels>();
    const { inputRings, ports, lcores, events, cache, async } = this.#data;
    this.#outputs = new Outputs(context.arena, this.#data);
    this.#xdp = new XdpLcore(context, this.#data);
    this.#async = async === undefined ? undefined : new AsyncLcore(context.arena, cache, async);
    this.#input = attachMpscRing(context.arena, inputRings[context.index] ?? 0);
    if (events?.isWorker === true) {
      this.#worker = new EventWorker(this.#arena, this.#data, events, this.#outputs, stages);
    } else if (events !== undefined) {
      this.#edge = new EventEdge(this.#arena, this.#data, events, this.#outputs, this.#xdp);
    } else {
      // None to itself: the switch goes on with packets that a rule steers to the lcore they are on.
      inputRings.forEach((address, lcore) => {
        if (lcore === context.index) return;
        this.#outputs.set(ports + lcore, ringExit(this.#arena, address, lcores[lcore] ?? 0, false));
      });
    }
  }

  poll(): number {
    if (this.#abandoned) return 0;
    if (this.#worker !== undefined) return this.#worker.poll();
    if (this.#edge !== undefined) {
      const moved = this.#edge.poll(this.#sources);
      this.#async?.run();
      return moved + this.#takeKept();
    }
    const { switchForward } = this.#kernels;
    const { path, burst } = this.#data;
    let work = 0;
    for (const { port, pausable } of this.#sources) {
      if (pausable && this.#outputs.congested) continue;
      const n = port.rxBurst(burst, BURST_MAX);
      const hasSent = this.#xdp.takeSent();
      if (n === 0 && !hasSent) continue;
      if (n > 0) switchForward(path, burst, n, 1);
      work += n;
      this.#outputs.flush();
    }
    const steered = this.#input.pop(burst, BURST_MAX);
    if (steered > 0) {
      switchForward(path, burst, this.#xdp.receive(burst, steered), 0);
      work += steered;
    }
    work += this.#outputs.flush();
    this.#async?.run();
    return work + this.#takeKept();
  }

  /** Packets that XDP programs kept from the switch: an lcore that drops all it receives is not idle. */
  #takeKept(): number {
    const { kept } = this.#xdp;
    if (kept > 0) this.#xdp.kept = 0;
    return kept;
  }

  /** True when it has ports, and all of them say so. */
  get eager(): boolean {
    return this.#eager;
  }

  rest(): number {
    const asyncMs = this.#async?.rest() ?? REST_MS;
    if (asyncMs === 0) return 0;
    // The event device has its own way to wake a worker; a millisecond is soon enough for what waits in between.
    if (this.#worker !== undefined || this.#edge !== undefined || this.#outputs.waiting() > 0) return PARK_MS;
    if (this.#input.fill() > 0 || this.#outputs.hasIncoming()) return 0;
    let ms = Math.min(REST_MS, asyncMs);
    for (const queue of this.#queues) {
      ms = Math.min(ms, queue.rest());
      if (ms === 0) break;
    }
    return ms;
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
      case 'async':
        return this.#async?.handle(request.message);
      case 'load':
        this.#xdp.load(request.program);
        return;
      case 'unload':
        this.#xdp.unload(request.program);
        return;
      case 'attach':
        this.#xdp.attach(request.index, request.program);
        return;
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
    const around = { isQuiet: () => this.#quiet, xdp: this.#xdp, async: this.#async };
    for (const [queue, server] of wire.queueLcores.entries()) {
      if (server !== lcore) continue;
      attached.push(await attachQueue(this.#context, this.#data, wire, queue, around));
    }
    this.#queues.push(...attached);
    const sender = wire.everyQueueSends ? attached[0] : attached.find(({ queue }) => queue === 0);
    const exit = this.#exitTo(wire, sender);
    if (exit !== undefined) this.#outputs.set(wire.index, exit);
    this.#listSources();
  }

  #listSources(): void {
    this.#eager = this.#queues.length > 0 && this.#queues.every(({ eager }) => eager);
    this.#sources = this.#queues.map(({ index, port }) => ({
      port,
      pausable: this.#wires.get(index)?.pausable ?? false,
    }));
  }

  /** Where packets for a port go from here; undefined when none are to. `sender`: the port, when this lcore serves it. */
  #exitTo({ index, txRing, queueLcores: [lcore = 0], untrusted }: PortWire, sender?: Queue): Exit | undefined {
    const { lcores, events } = this.#data;
    if (sender !== undefined) {
      // With one lcore nobody else sends there. With an event device all comes through that, but for what XDP programs
      // of other lcores with ports redirect.
      const isShared =
        lcore === this.#context.index &&
        lcores.length > 1 &&
        (events === undefined || events.txQueues.filter((q) => q >= 0).length > 1);
      return portExit(sender.port, untrusted, isShared ? attachMpscRing(this.#arena, txRing) : undefined);
    }
    if (this.#worker !== undefined) return this.#worker.exitTo(index, lcore);
    return ringExit(this.#arena, txRing, lcores[lcore] ?? 0, untrusted);
  }

  #detach(index: number): void {
    this.#outputs.drop(index, DROP_PORT_GONE);
    // The sender keeps its exit, to drop what other lcores still push, until it is told to remove the port.
    if (!this.#outputs.serves(index)) this.#outputs.delete(index);
    this.#worker?.flush();
  }

  #remove(index: number): void {
    if (this.#outputs.serves(index)) this.#edge?.expel(index);
    this.#outputs.drop(index, DROP_PORT_GONE);
    const closing = this.#queuesOf(index);
    this.#queues = this.#queues.filter((queue) => queue.index !== index);
    this.#wires.delete(index);
    this.#outputs.delete(index);
    this.#xdp.forget(index);
    this.#listSources();
    for (const { port } of closing) port.close();
  }

  /** Drops what waits in outputs and rings of this lcore. */
  #dropAll(): void {
    const { burst, ports } = this.#data;
    this.#outputs.dropAll(DROP_STOPPED);
    this.#edge?.dropAll(DROP_STOPPED);
    for (;;) {
      const n = this.#input.pop(burst, BURST_MAX);
      if (n === 0) return;
      this.#outputs.dropPackets(burst, n, ports, DROP_STOPPED);
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
