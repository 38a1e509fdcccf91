import { EVENT_OP_SHIFT, EVPORT_RING, EVPORT_TAIL, OP_FORWARD, OP_NEW } from '../eventdev/layout.ts';
import { attachEventPort, type EventPort } from '../eventdev/port.ts';
import type { Arena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import type { Port } from '../ports/port.ts';
import { MPSC_HEAD } from '../ring/layout.ts';
import { GROUP_COUNTS } from '../switch/layout.ts';
import { DROP_LCORE_FULL, DROP_PORT_GONE, DROP_STAGE } from '../telemetry/layout.ts';
import type { Exit, Outputs } from './outputs.ts';
import type { Stage } from './stage.ts';
import type { EventWire, PipelineData } from './wire.ts';
import type { XdpLcore } from './xdp-lcore.ts';

interface EventsKernels {
  switchForward(path: number, slots: number, count: number, fresh: number): void;
  switchEventsEnter(slots: number, count: number, event: number): void;
  switchEventsMark(slots: number, count: number, event: number): void;
  switchEventsLeave(slots: number, count: number, event: number, port: number): void;
  switchEventsGroup(slots: number, count: number, queues: number, work: number): void;
  switchEventsDeliver(path: number, slots: number, count: number): void;
}

/** A receive queue of a port. */
export interface Source {
  readonly port: Port;
  readonly pausable: boolean;
}

const NEW = OP_NEW << EVENT_OP_SHIFT;
const FORWARD = OP_FORWARD << EVENT_OP_SHIFT;

/** An lcore with ports: what they receive becomes events for the first stage; what the workers send it leaves through them. */
export class EventEdge {
  readonly #arena: Arena;
  readonly #data: PipelineData;
  readonly #wire: EventWire;
  readonly #outputs: Outputs;
  readonly #kernels: EventsKernels;
  readonly #port: EventPort;
  readonly #xdp: XdpLcore;
  /** Packets that wait for credits. */
  #held = 0;

  /** @param xdp the programs of this lcore, which may send packets past the device. */
  constructor(arena: Arena, data: PipelineData, wire: EventWire, outputs: Outputs, xdp: XdpLcore) {
    this.#arena = arena;
    this.#data = data;
    this.#wire = wire;
    this.#outputs = outputs;
    this.#xdp = xdp;
    this.#kernels = arena.kernels<EventsKernels>();
    this.#port = attachEventPort(arena, wire.port, { bell: wire.bell });
  }

  /** Reads one burst from each of `sources`, sends one. Returns how many packets it moved. */
  poll(sources: readonly Source[]): number {
    const { burst, ports } = this.#data;
    let work = 0;
    if (this.#held > 0 && this.#port.enqueue(this.#wire.held, this.#held) > 0) this.#held = 0;
    for (const { port, pausable } of sources) {
      if (pausable && (this.#held > 0 || (this.#xdp.isUsed && this.#outputs.congested))) continue;
      const n = port.rxBurst(burst, BURST_MAX);
      if (this.#xdp.takeSent()) this.#outputs.flush();
      if (n === 0) continue;
      work += n;
      this.#kernels.switchEventsEnter(burst, n, NEW);
      if (this.#port.enqueue(burst, n) > 0) continue;
      if (pausable) this.#hold(n);
      else this.#outputs.dropPackets(burst, n, ports, DROP_LCORE_FULL);
    }
    return work + this.#send(work === 0);
  }

  /** Keeps what a source that can wait gave, and reads no such source until it is sent. */
  #hold(n: number): void {
    const { burst } = this.#data;
    this.#arena.u8.copyWithin(this.#wire.held, burst, burst + (n << SLOT_SHIFT));
    this.#held = n;
  }

  #send(isIdle: boolean): number {
    const { burst, path } = this.#data;
    let n = 0;
    if (this.#outputs.congested) {
      // What it received waits for no full burst when nothing more comes; a dequeue that finds nothing does the same.
      if (isIdle) this.#port.enqueue(burst, 0);
      else this.#port.maintain();
    } else {
      n = this.#port.dequeue(burst, BURST_MAX);
      if (n > 0) this.#kernels.switchEventsDeliver(path, burst, n);
    }
    this.#outputs.flush();
    return n;
  }

  /** Drops what is on its way out through port `index`. No worker sends there any more; it has answered since. */
  expel(index: number): void {
    const { u8, u32 } = this.#arena;
    const { burst, path } = this.#data;
    const tail = (this.#wire.port + EVPORT_TAIL) >>> 2;
    const head = ((u32[(this.#wire.port + EVPORT_RING) >>> 2] ?? 0) + MPSC_HEAD) >>> 2;
    const end = Atomics.load(u32, head);
    // Workers that go on may be about to publish what they send to other ports here.
    while ((end - (u32[tail] ?? 0)) | 0) {
      if (((end - (u32[tail] ?? 0)) | 0) < 0) return;
      this.#outputs.flush();
      const n = this.#port.dequeue(burst, BURST_MAX);
      for (let slot = burst; slot < burst + (n << SLOT_SHIFT); slot += 1 << SLOT_SHIFT) {
        if (u8[slot + SLOT_PORT] === index) this.#outputs.dropPackets(slot, 1, index, DROP_PORT_GONE);
        else this.#kernels.switchEventsDeliver(path, slot, 1);
      }
    }
  }

  dropAll(reason: number): void {
    this.#outputs.dropPackets(this.#wire.held, this.#held, this.#data.ports, reason);
    this.#held = 0;
  }
}

/** A worker: takes events through the stages, and sends what comes out of the switch to the lcores with the ports. */
export class EventWorker {
  readonly #data: PipelineData;
  readonly #wire: EventWire;
  readonly #outputs: Outputs;
  readonly #kernels: EventsKernels;
  readonly #port: EventPort;
  readonly #stages: readonly Stage[];
  readonly #u32: Uint32Array;
  /** Events dequeued and neither forwarded nor released: their flows stay here until the last one is forwarded. */
  #pending = 0;
  /** Packets in the outputs beyond those: copies, which need credits of their own. */
  #extra = 0;
  /** Outputs hold packets that found no credits. */
  #isBlocked = false;

  constructor(arena: Arena, data: PipelineData, wire: EventWire, outputs: Outputs, stages: readonly Stage[]) {
    this.#data = data;
    this.#wire = wire;
    this.#outputs = outputs;
    this.#kernels = arena.kernels<EventsKernels>();
    this.#port = attachEventPort(arena, wire.port, { bell: wire.bell });
    this.#stages = stages;
    this.#u32 = arena.u32;
  }

  /** Takes one burst through its stages. Returns how many packets it was. */
  poll(): number {
    const { burst } = this.#data;
    if (this.#isBlocked && !this.#sendAll()) {
      // Credits that it waits for may be those of what it has sent.
      this.flush();
      return 0;
    }
    const n = this.#port.dequeue(burst, BURST_MAX);
    if (n === 0) return 0;
    this.#pending = n;
    if (this.#stages.length === 0) this.#kernels.switchForward(this.#data.path, burst, n, 1);
    else this.#runStages(burst, n);
    this.#sendAll();
    return n;
  }

  #runStages(burst: number, n: number): void {
    const { work } = this.#wire;
    const last = this.#stages.length;
    this.#kernels.switchEventsGroup(burst, n, last + 1, work);
    let at = burst;
    for (let queue = 0; queue <= last; queue++) {
      const count = this.#u32[(work + GROUP_COUNTS + queue * 4) >>> 2] ?? 0;
      if (count === 0) continue;
      if (queue === last) this.#kernels.switchForward(this.#data.path, at, count, 1);
      else this.#runStage(queue, at, count);
      at += count << SLOT_SHIFT;
    }
  }

  /** What goes on is forwarded to the next stage; the credits of the rest come free with the next dequeue. */
  #runStage(queue: number, at: number, count: number): void {
    const kept = this.#stages[queue]?.handle(at, count) ?? 0;
    if (kept < count) this.#outputs.dropPackets(at + (kept << SLOT_SHIFT), count - kept, this.#data.ports, DROP_STAGE);
    if (kept === 0) return;
    this.#kernels.switchEventsMark(at, kept, FORWARD | (queue + 1));
    this.#port.enqueue(at, kept);
    this.#pending -= kept;
  }

  /** Sends what the switch put into the outputs. Returns false when credits are missing for some of it. */
  #sendAll(): boolean {
    this.#extra = Math.max(0, this.#outputs.waiting() - this.#pending);
    this.#outputs.flush();
    this.#isBlocked = this.#outputs.waiting() > 0;
    return !this.#isBlocked;
  }

  /** The exit to port `index`, through the lcore `lcore` that sends there. */
  exitTo(index: number, lcore: number): Exit {
    const queue = this.#wire.txQueues[lcore] ?? 0;
    return { serves: false, untrusted: false, send: (slots, n) => this.#send(queue, index, slots, n) };
  }

  /**
   * Sends the first of `n` packets. Copies go first, as new events: were they last, the flow could have moved by then,
   * and its next packets overtake them.
   */
  #send(queue: number, index: number, slots: number, n: number): number {
    let done = 0;
    while (done < n) {
      const isNew = this.#extra > 0;
      const count = Math.min(BURST_MAX, n - done, isNew ? this.#extra : n);
      const at = slots + (done << SLOT_SHIFT);
      this.#kernels.switchEventsLeave(at, count, (isNew ? NEW : FORWARD) | queue, index);
      if (this.#port.enqueue(at, count) === 0) break;
      if (isNew) this.#extra -= count;
      else this.#pending -= count;
      done += count;
    }
    return done;
  }

  /** Puts all that was sent where its receivers find it. */
  flush(): void {
    this.#port.enqueue(this.#data.burst, 0);
  }
}
