// The module of a thread that serves one port of a vhost-user connection and nothing else: what testpmd's engines do.

import type { SourceKernels } from '../guest/source.ts';
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { Port, PortType } from '../ports/port.ts';
import { vhostUserPort } from '../ports/vhost-user.ts';
import { virtioUserPort } from '../ports/virtio-user.ts';
import { Histogram } from '../telemetry/histogram.ts';
import { quantilesOf } from './measure.ts';

/**
 * What such a thread does: receives and frees, makes frames and sends them, sends back what it receives, or sends one frame
 * now and then and waits for it to come back.
 */
export type VhostMode = 'receive' | 'send' | 'echo' | 'ping';

/** What such a thread is started with. */
export interface VhostTaskData {
  readonly mode: VhostMode;
  /** Which end of the connection the port is. */
  readonly type: 'vhost-user' | 'virtio-user';
  /** What the port type made. */
  readonly port: unknown;
  readonly cache: number;
  /** Address of 32 slots, and of a UDP frame of `length` bytes. */
  readonly burst: number;
  readonly template: number;
  readonly length: number;
}

/** What is written of each frame, as testpmd does: Ethernet, IPv4 and UDP. The rest is what was in the buffer. */
const HEADERS_BYTES = 42;
/** Where UDP begins behind Ethernet and IPv4. */
const UDP_AT = 34;
const PING_GAP_MS = 0.5;
/** Both ends of a connection. */
const TYPES: Readonly<Record<VhostTaskData['type'], PortType<never>>> = {
  'vhost-user': vhostUserPort,
  'virtio-user': virtioUserPort,
};

class VhostTask implements LcoreTask {
  readonly #context: LcoreContext;
  readonly #data: VhostTaskData;
  readonly #port: Port;
  readonly #kernels: PoolKernels & SourceKernels;
  /** Slots that were not taken yet. */
  #waiting = 0;
  readonly #samples = new Histogram();
  /** When the ping that is under way was sent, and when the next is due. */
  #sentAt = 0;
  #nextAt = 0;
  readonly poll: () => number;

  constructor(context: LcoreContext, port: Port) {
    this.#context = context;
    this.#data = context.data as VhostTaskData;
    this.#port = port;
    this.#kernels = context.arena.kernels<PoolKernels & SourceKernels>();
    const { mode } = this.#data;
    this.poll = {
      receive: () => this.#receive(),
      send: () => this.#send(),
      echo: () => this.#echo(),
      ping: () => this.#ping(),
    }[mode];
  }

  #receive(): number {
    const { burst, cache } = this.#data;
    const n = this.#port.rxBurst(burst, BURST_MAX);
    if (n > 0) this.#kernels.poolFree(cache, burst, n);
    return n;
  }

  #send(): number {
    const { burst, cache, template, length } = this.#data;
    if (this.#waiting === 0) {
      this.#waiting = this.#kernels.poolAlloc(cache, burst, BURST_MAX);
      this.#kernels.guestFillUdp(burst, this.#waiting, template, HEADERS_BYTES, length, UDP_AT, 0, 1);
    }
    return this.#flush();
  }

  #echo(): number {
    if (this.#waiting === 0) this.#waiting = this.#port.rxBurst(this.#data.burst, BURST_MAX);
    return this.#waiting === 0 ? 0 : this.#flush();
  }

  /** The other end has so long to fall asleep between two pings. */
  #ping(): number {
    const { burst, cache, template, length } = this.#data;
    const now = performance.now();
    if (this.#sentAt > 0) {
      const n = this.#port.rxBurst(burst, BURST_MAX);
      if (n === 0) return 0;
      this.#kernels.poolFree(cache, burst, n);
      this.#samples.record((performance.now() - this.#sentAt) * 1e6);
      this.#sentAt = 0;
      this.#nextAt = performance.now() + PING_GAP_MS;
      return n;
    }
    if (now < this.#nextAt) return 0;
    const n = this.#kernels.poolAlloc(cache, burst, 1);
    this.#kernels.guestFillUdp(burst, n, template, HEADERS_BYTES, length, UDP_AT, 0, 1);
    this.#sentAt = now;
    return this.#port.txBurst(burst, n);
  }

  /** Offers what waits; what is not taken is offered again. */
  #flush(): number {
    const { burst } = this.#data;
    const sent = this.#port.txBurst(burst, this.#waiting);
    if (sent > 0 && sent < this.#waiting) {
      this.#context.arena.u8.copyWithin(burst, burst + (sent << SLOT_SHIFT), burst + (this.#waiting << SLOT_SHIFT));
    }
    this.#waiting -= sent;
    return sent;
  }

  rest(): number {
    return this.#waiting > 0 ? 0 : (this.#port.rest?.() ?? 1);
  }

  handle(message: unknown): unknown {
    const { name, value } = message as { name: string; value: unknown };
    if (name === 'samples') return quantilesOf(this.#samples);
    // A ping that was under way is gone with the rings.
    this.#sentAt = 0;
    this.#port.set?.(name, value);
    return undefined;
  }

  stop(): void {
    this.#port.close();
  }
}

/** Attaches the port's only queue. */
export default async function start(context: LcoreContext): Promise<LcoreTask> {
  const { type, port, cache } = context.data as VhostTaskData;
  const nothing = (): void => {};
  const portContext = {
    arena: context.arena,
    index: 0,
    queue: 0,
    lcore: context.address,
    cache,
    refuse: nothing,
    lost: nothing,
  };
  return new VhostTask(context, await TYPES[type].attach(portContext, port));
}
