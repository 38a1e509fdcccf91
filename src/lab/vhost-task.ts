// The module of a thread that serves a vhost-user port and nothing else: what testpmd's engines do.

import type { SourceKernels } from '../guest/source.ts';
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { Port } from '../ports/port.ts';
import { vhostUserPort } from '../ports/vhost-user.ts';

/** What such a thread does: receives and frees, makes frames and sends them, or sends back what it receives. */
export interface VhostTaskData {
  readonly mode: 'receive' | 'send' | 'echo';
  /** What the port type made. */
  readonly port: unknown;
  readonly cache: number;
  /** Address of 32 slots, and of a UDP frame of `length` bytes. */
  readonly burst: number;
  readonly template: number;
  readonly length: number;
}

/** Where UDP begins behind Ethernet and IPv4. */
const UDP_AT = 34;

class VhostTask implements LcoreTask {
  readonly #context: LcoreContext;
  readonly #data: VhostTaskData;
  readonly #port: Port;
  readonly #kernels: PoolKernels & SourceKernels;
  /** Slots that were not taken yet. */
  #waiting = 0;
  readonly poll: () => number;

  constructor(context: LcoreContext, port: Port) {
    this.#context = context;
    this.#data = context.data as VhostTaskData;
    this.#port = port;
    this.#kernels = context.arena.kernels<PoolKernels & SourceKernels>();
    const { mode } = this.#data;
    this.poll = mode === 'receive' ? () => this.#receive() : mode === 'send' ? () => this.#send() : () => this.#echo();
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
      this.#kernels.guestFillUdp(burst, this.#waiting, template, length, UDP_AT, 0, 1);
    }
    return this.#flush();
  }

  #echo(): number {
    if (this.#waiting === 0) this.#waiting = this.#port.rxBurst(this.#data.burst, BURST_MAX);
    return this.#waiting === 0 ? 0 : this.#flush();
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

  handle(message: unknown): void {
    const { name, value } = message as { name: string; value: unknown };
    this.#port.set?.(name, value);
  }

  stop(): void {
    this.#port.close();
  }
}

/** Attaches the port's only queue. */
export default async function start(context: LcoreContext): Promise<LcoreTask> {
  const { port, cache } = context.data as VhostTaskData;
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
  return new VhostTask(context, await vhostUserPort.attach(portContext, port));
}
