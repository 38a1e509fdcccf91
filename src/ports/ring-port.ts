import type { ServedQueue, ServeHooks } from '../async/lcore.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { requireSockets } from '../sys/index.ts';
import { DROP_LINK_DOWN } from '../telemetry/layout.ts';
import type { NetPair, NetRing } from '../vhost/net.ts';
import { attachNetQueue, type NetQueue } from '../virtio/net-queue.ts';
import { attachVirtqueueDevice, attachVirtqueueDriver, type VirtqueueSide } from '../virtio/queue.ts';
import { type NetDeviceShare, netDevicePort } from './net-device.ts';
import type { Port, PortContext, PortInfo, PortSetup } from './port.ts';

/**
 * How an lcore that parks learns that the other side has sent something. `poll`: it looks every millisecond. `adaptive`:
 * after some 20 µs without anything it asks to be notified, and sleeps. `interrupt`: it does so at once.
 */
export type Notify = 'poll' | 'adaptive' | 'interrupt';

/** What the lcores that serve such a port are given when it is made. */
export interface RingShare extends Omit<NetDeviceShare, 'pairs'> {
  readonly notify: Notify;
}

/** What the control thread tells the lcores: which rings there are now. */
interface Served {
  readonly pairs: readonly NetPair[];
}

/** Who wants to be woken is woken by the other side alone; it looks by itself now and then, all the same. */
const REST_MS = 1000;
/** How often a ring is looked at whose other side has no way to wake anybody. */
const POLL_MS = 1;

/** The ring that the other side sends through, as this lcore serves it. */
interface Received {
  readonly side: VirtqueueSide;
  readonly net: ServedQueue;
  /** There is an eventfd by which the other side wakes us. */
  readonly wakes: boolean;
}

/** One queue pair of a vhost-user connection, of either end, on the lcore that serves it. Rings come and go while it runs. */
export class RingPort implements Port {
  readonly eager: boolean;
  readonly rest?: () => number;
  protected readonly context: PortContext;
  readonly #share: RingShare;
  readonly #sockets = requireSockets('a vhost-user port');
  /** Serves the rings that run now. */
  #port: Port;
  /** The ring that the other side sends through is not enabled: what it sends is thrown away. */
  #discards = false;
  #fault: string | undefined;
  /** Undefined while it is not served. */
  #received: Received | undefined;
  /** The other side was asked to notify. */
  #armed = false;

  constructor(context: PortContext, share: RingShare) {
    this.context = context;
    this.#share = share;
    this.#port = netDevicePort(context, { ...share, pairs: [] });
    this.eager = share.notify === 'interrupt';
    if (share.notify !== 'poll') this.rest = () => this.#rest();
  }

  #rest(): number {
    if (this.#received === undefined) return REST_MS;
    const { side, net, wakes } = this.#received;
    // The driver may be waiting for what it sent, and nobody looks again before it sends more.
    if (!this.#share.isDriver) (net.flush ?? net.detach)();
    if (!wakes) return POLL_MS;
    this.#armed = true;
    return side.setNotify(true) ? 0 : REST_MS;
  }

  get offloads(): number {
    return this.#port.offloads ?? 0;
  }

  rxBurst(slots: number, max: number): number {
    if (this.#armed) {
      // It is looked at now, so notifications are a waste.
      this.#received?.side.setNotify(false);
      this.#armed = false;
    }
    const n = this.#port.rxBurst(slots, max);
    if (n === 0 || !this.#discards) return n;
    const { arena, cache, refuse } = this.context;
    arena.kernels<PoolKernels>().poolFree(cache, slots, n);
    refuse(DROP_LINK_DOWN, n);
    return 0;
  }

  txBurst(slots: number, count: number): number {
    return this.#port.txBurst(slots, count);
  }

  info(): PortInfo {
    const info = this.#port.info();
    return this.#fault === undefined ? info : { ...info, fault: this.#fault };
  }

  set(name: string, value: unknown): void {
    if (name === 'peerFault') this.#fault = value as string | undefined;
    else this.#serve((value as Served).pairs);
  }

  #serve(pairs: readonly NetPair[]): void {
    // Gives back what it holds of the rings that it served so far.
    this.#port.close();
    this.#received = undefined;
    this.#armed = false;
    const { queue } = this.context;
    this.#discards = pairs[queue]?.receive?.enabled === false;
    const rings = new Map<number, NetRing>();
    const use = (ring: NetRing | undefined): number | undefined => {
      if (ring !== undefined) rings.set(ring.net, ring);
      return ring?.net;
    };
    const used = pairs.map(({ receive, send }) => ({
      receive: use(receive),
      send: use(send?.enabled === true ? send : undefined),
    }));
    this.#port = netDevicePort(this.context, { ...this.#share, pairs: used }, (address, drop) =>
      this.#attach(rings.get(address) as NetRing, address === used[queue]?.receive, drop),
    );
  }

  /** Serves a ring, and notifies the other side whenever it wants to be. */
  #attach({ net, queue, kick, call }: NetRing, isReceived: boolean, drop: ServeHooks['drop']): ServedQueue {
    const { arena, cache, async } = this.context;
    const { isDriver } = this.#share;
    const side = isDriver ? attachVirtqueueDriver(arena, queue) : attachVirtqueueDevice(arena, queue);
    side.setNotify(false);
    const [theirs, ours] = isDriver ? [kick, call] : [call, kick];
    const used = this.#notifier(side, theirs);
    const served = async?.serve(net, { used, drop });
    const ring = served ?? notifying(attachNetQueue(arena, net, cache), used);
    if (isReceived) this.#received = { side, net: ring, wakes: ours !== -1 };
    return ring;
  }

  /** What notifies the other side by the eventfd `fd`, if there is one, and it wants to be. */
  #notifier({ needsNotify }: VirtqueueSide, fd: number): () => void {
    if (fd === -1) return () => {};
    const { signal } = this.#sockets;
    return () => {
      if (needsNotify()) signal(fd);
    };
  }

  close(): void {
    this.#port.close();
  }
}

/** A queue that calls `notify` whenever the other side may have something to see. */
function notifying(ring: NetQueue, notify: () => void): NetQueue {
  return {
    ...ring,
    receive(slots, max) {
      const n = ring.receive(slots, max);
      notify();
      return n;
    },
    send(slots, count) {
      const n = ring.send(slots, count);
      notify();
      return n;
    },
    detach() {
      const n = ring.detach();
      notify();
      return n;
    },
  };
}

/**
 * What has the lcores serve other rings, and be woken by them.
 * @returns what resolves when no lcore uses any other any more.
 */
export function tellRings(
  setup: PortSetup,
  { notify, isDriver }: Pick<RingShare, 'notify' | 'isDriver'>,
): (pairs: readonly NetPair[]) => Promise<void> {
  const wakes: (() => void)[] = [];
  return async (pairs) => {
    for (const end of wakes.splice(0)) end();
    if (notify !== 'poll') {
      for (const [queue, { receive }] of pairs.entries()) {
        const fd = (isDriver ? receive?.call : receive?.kick) ?? -1;
        if (fd !== -1) wakes.push(setup.poller().wake(fd, setup.bell(queue)));
      }
    }
    await setup.tell('rings', { pairs } satisfies Served);
  };
}
