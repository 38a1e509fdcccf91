import { opening } from '../netif/interface.ts';
import { type DropWord, dropReporter, type NetifQueue } from '../netif/queue.ts';
import { type Alarm, alarmArmer } from '../sys/index.ts';
import type { Port, PortContext, PortHook, PortInfo, PortService, PortSetup, PortShare, PortType } from './port.ts';

/** The descriptors of an open interface, one a queue. */
interface Opened {
  readonly queues: readonly { readonly fd: number; readonly address: number }[];
}

/** A kind of network interface of the system. */
interface Netif<Config, Share extends Opened> {
  bytes(config: Config): number;
  buffers?(config: Config): number;
  open(setup: PortSetup, config: Config): Share;
  serve(context: PortContext, share: Share): NetifQueue;
  /** What the kernels count of the queue at an address. */
  drops(address: number): readonly DropWord[];
  hook?(share: Share): PortHook;
  close(setup: PortSetup, share: Share): void;
}

/** The descriptor wakes the lcore; it looks by itself now and then, all the same. */
const REST_MS = 1000;
/** As often it looks when nothing wakes it, or when something waits to be sent. */
const POLL_MS = 1;

/** One queue, on the lcore that serves it. */
class NetifPort implements Port {
  readonly offloads: number;
  readonly #queue: NetifQueue;
  readonly #index: number;
  readonly #report: () => void;
  readonly #armer = alarmArmer();
  #alarm: Alarm | undefined;
  /** The alarm that is armed. */
  #armed: Alarm | undefined;

  constructor({ arena, queue, refuse, lost }: PortContext, served: NetifQueue, drops: readonly DropWord[]) {
    this.offloads = served.offloads;
    this.#queue = served;
    this.#index = queue;
    this.#report = dropReporter(arena, drops, refuse, lost);
  }

  rxBurst(slots: number, max: number): number {
    this.#disarm();
    const n = this.#queue.receive(slots, max);
    this.#report();
    return n;
  }

  txBurst(slots: number, count: number): number {
    const n = this.#queue.send(slots, count);
    this.#report();
    return n;
  }

  info(): PortInfo {
    const fault = this.#queue.fault();
    return { done: false, pending: this.#queue.unsent(), ...(fault === undefined ? {} : { fault }) };
  }

  rest(): number {
    // An interface that is gone would wake it again and again.
    if (this.#alarm === undefined || this.#queue.unsent() > 0 || this.#queue.fault() !== undefined) return POLL_MS;
    this.#disarm();
    this.#armer.arm(this.#alarm);
    this.#armed = this.#alarm;
    return REST_MS;
  }

  #disarm(): void {
    if (this.#armed === undefined) return;
    this.#armer.disarm(this.#armed);
    this.#armed = undefined;
  }

  set(_: string, value: unknown): void {
    this.#disarm();
    this.#alarm = (value as readonly Alarm[])[this.#index];
  }

  close(): void {
    this.#queue.close();
    this.#report();
  }
}

/** Has the descriptors wake the lcores that serve them, while the port is there. */
function waker({ poller, bell, tell }: PortSetup, { queues }: Opened): PortService {
  let ends: (() => void)[] = [];
  return {
    start() {
      const made = queues.map(({ fd }, queue) => poller().alarm(fd, bell(queue)));
      ends = made.map(({ end }) => end);
      void tell(
        'alarms',
        made.map(({ alarm }) => alarm),
      ).catch(() => {});
    },
    async stop() {
      await tell('alarms', []).catch(() => {});
      for (const end of ends.splice(0)) end();
    },
  };
}

/** The kind of port that a kind of network interface makes. */
export function netifPort<Config extends { readonly queues: number }, Share extends Opened>(
  netif: Netif<Config, Share>,
): PortType<Config> {
  return {
    bytes: netif.bytes,
    ...(netif.buffers === undefined ? {} : { buffers: netif.buffers }),
    create(setup, config): PortShare {
      const share = opening(setup.name, () => netif.open(setup, config));
      return {
        data: share,
        rxQueues: config.queues,
        pausable: false,
        finite: false,
        service: waker(setup, share),
        ...(netif.hook === undefined ? {} : { hook: netif.hook(share) }),
      };
    },
    attach(context, data) {
      const share = data as Share;
      return new NetifPort(
        context,
        netif.serve(context, share),
        netif.drops(share.queues[context.queue]?.address ?? 0),
      );
    },
    release: (setup, data) => netif.close(setup, data as Share),
  };
}
