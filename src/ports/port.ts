import type { AsyncRing } from '../async/control.ts';
import type { AsyncLcore } from '../async/lcore.ts';
import type { IdleStrategy } from '../lcore/idle.ts';
import type { Arena } from '../memory/arena.ts';
import type { Bell, Poller } from '../sys/index.ts';

/** What a port of an lcore's thread is given. */
export interface PortContext {
  readonly arena: Arena;
  /** The port's number in the dataplane, 0 to 254. */
  readonly index: number;
  /** Which of the port's receive queues this is, from 0. Queue 0 also sends; see `PortShare.everyQueueSends`. */
  readonly queue: number;
  /** Address of the lcore's words: its time is there (`lcore/layout.ts`). */
  readonly lcore: number;
  /** Address of the lcore's buffer cache, for the pool's kernels. */
  readonly cache: number;
  /** Counts `n` packets that arrived and were refused for a reason (`telemetry/layout.ts`, DROP_…). */
  refuse(reason: number, n: number): void;
  /** Serves the queues of guests whose copies engines do, when there are such. */
  readonly async?: AsyncLcore;
  /**
   * Counts `n` packets, of `bytes` in all when that is known, that `txBurst` took and that could not be sent after all:
   * dropped, no longer sent.
   */
  lost(reason: number, n: number, bytes?: number): void;
}

/** How a port is doing. */
export interface PortInfo {
  /** True when nothing more will ever arrive: the end of a capture, a limit reached. */
  readonly done: boolean;
  /** How much of a finite input has arrived, 0 to 1. */
  readonly progress?: number;
  /** Packets it holds that are neither received nor sent yet. */
  readonly pending?: number;
  /** What is wrong with it, in a sentence. It goes on with what still works. */
  readonly fault?: string;
}

/**
 * One queue of a port, on the lcore that serves it. Packets are 16-byte slots in the arena (`memory/layout.ts`):
 * `rxBurst` gives packets away, `txBurst` takes those that it accepts.
 */
export interface Port {
  /** Writes up to `max` (1 to 32) received packets to address `slots`. Returns how many; 0 when nothing waits. */
  rxBurst(slots: number, max: number): number;
  /** Takes the first packets of `count` at address `slots`. Returns how many (0 to `count`); the rest stay the caller's. */
  txBurst(slots: number, count: number): number;
  /**
   * What the other side finishes itself: a mask of OFFLOAD_… (`packet/layout.ts`), 0 when missing. Packets that
   * ask for more are finished before `txBurst`. It may change while the port runs.
   */
  readonly offloads?: number;
  info(): PortInfo;
  /**
   * The lcore is about to sleep: has the other side wake it from now on, until the next `rxBurst`. Returns how many ms it may
   * sleep; 0 when something has come already. A port without this is looked at every millisecond.
   */
  rest?(): number;
  /** An lcore whose ports all say so sleeps as soon as a poll has found nothing. */
  readonly eager?: boolean;
  /** Writes out what it holds and gives everything back. Called once, last. */
  close(): void;
  /**
   * Changes a setting while it runs, by its name in the configuration.
   * @throws RingwayError `BAD_ARGUMENT` when it has no such setting.
   */
  set?(name: string, value: unknown): void;
}

/** A thread that a port brings along, such as a guest: it starts after the port and ends before it is released. */
export interface PortThread {
  /** The arena that its module sees. */
  readonly arena: Arena;
  /** Address of the lcore's words (`allocateLcore`). */
  readonly address: number;
  /** As `LcoreOptions.module` and `data`. */
  readonly module: URL;
  readonly data: unknown;
  readonly cpu?: number;
  readonly idle?: IdleStrategy;
}

/** What a port does on the control thread while it runs, such as talking to its peer. */
export interface PortService {
  /** Every lcore knows the port. */
  start(): void;
  /** The port is about to go: resolves when no lcore uses what this had set up. Not called when an lcore died. */
  stop(): Promise<void>;
}

/** Where Linux runs an XDP program on what the interface of a port receives. */
export interface PortHook {
  /** Index that Linux has for the interface. */
  readonly index: number;
  /** Descriptors of the port's XDP sockets, one a queue. */
  readonly sockets: readonly number[];
  /**
   * Has the interface run a program, by its descriptor, from the next packet on; one that brings every packet to the
   * sockets when missing.
   * @throws RingwayError `SYSTEM` when Linux refuses; it runs on as before.
   */
  run(program?: number): void;
}

/** What the control thread tells the lcores about a port that it made. */
export interface PortShare {
  /** Handed to `attach` in each lcore's thread: anything that can be posted. */
  readonly data: unknown;
  /** Number of receive queues. 0: the port only sends. */
  readonly rxQueues: number;
  /** True when the source waits for us, as a file does: it is then read only while every output has room. */
  readonly pausable: boolean;
  /** True when its input ends by itself. */
  readonly finite: boolean;
  /** Sends in answer only: a run that ends with its inputs does not wait for this one. */
  readonly passive?: boolean;
  /** The other side may stop to take packets for good, as a guest may: sources that can wait do not wait for it long. */
  readonly untrusted?: boolean;
  /**
   * Each lcore with queues of the port sends by the lowest of them, and the others by queue 0; when missing, all send by queue 0. Such a port
   * has no order between what different lcores send.
   */
  readonly everyQueueSends?: boolean;
  /** The other side is another port of the dataplane: what comes when all sources have stopped was sent before, and gets out. */
  readonly paired?: boolean;
  readonly thread?: PortThread;
  readonly service?: PortService;
  /** When Linux can run a program before packets come to this port. */
  readonly hook?: PortHook;
  /** Changes a setting that is the control thread's to change, by its name in the configuration. */
  readonly set?: (name: string, value: unknown) => void | Promise<void>;
}

/** A queue of a port whose copies are to be done by engines. */
export type PortQueue = Pick<AsyncRing, 'netq' | 'kind' | 'pair' | 'sends'>;

/** Has the copies of a port's queues done by engines. */
export interface PortAsync {
  /**
   * Makes what queues need, before an lcore is told of them.
   * @throws RingwayError `ARENA_FULL`; nothing is made then.
   */
  add(queues: readonly PortQueue[]): void;
  /** Gives that back; their lcores serve them no more. */
  remove(queues: readonly PortQueue[]): void;
  /** Gives back what all that are left needed; no lcore serves the port any more. */
  close(): void;
  /** Lcores know what was added: gives it engines. */
  assign(): Promise<void>;
}

/** What the control thread offers to a port that is being made. */
export interface PortSetup {
  readonly arena: Arena;
  /** The port's name: prefix its regions with `port NAME`. */
  readonly name: string;
  readonly seed: number;
  /** Calls `set(name, value)` of each of its queues, on the lcores that serve them. Resolves when all have done it. */
  tell(name: string, value: unknown): Promise<void>;
  /** When the dataplane has engines for copies into and out of guests. */
  readonly async?: PortAsync;
  /** Waits for descriptors; the same one for all ports. */
  poller(): Poller;
  /** The words that wake the lcore that serves one of its queues. Not before `PortService.start`. */
  bell(queue: number): Bell;
}

/** A kind of port. `create` and `release` run on the control thread, `attach` on the lcore that serves the queue. */
export interface PortType<Config = unknown> {
  /** Bytes of the arena that `create` allocates for such a configuration. */
  bytes(config: Config): number;
  /** Buffers that the other side has of such a port at most; none when missing. */
  buffers?(config: Config): number;
  /**
   * Opens and checks everything that can fail, so that a run does not start with a broken port.
   * @throws RingwayError with the port's name, the value and what is allowed.
   */
  create(setup: PortSetup, config: Config): PortShare;
  attach(context: PortContext, data: unknown): Port | Promise<Port>;
  /** Gives back what `create` took; every queue is closed. */
  release?(setup: PortSetup, data: unknown): void;
}
