import { Worker } from 'node:worker_threads';
import { moduleUrl } from '../util/module-url.ts';
import { type Libc, loadLibc } from './libc.ts';
import { requireSys } from './linux.ts';
import { requireSockets } from './sockets.ts';

/** Linux include/uapi/linux/eventpoll.h. */
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLRDHUP = 0x2000;
const EPOLLONESHOT = 1 << 30;
const EPOLLET = 1 << 31;
/** struct epoll_event: its u64 is not aligned on x86-64. */
export const EPOLL_DATA = process.arch === 'x64' ? 4 : 8;
export const EPOLL_EVENT_BYTES = EPOLL_DATA + 8;

/** Words that wake a thread that sleeps: indexes of the arena's i32 view. */
export interface Bell {
  readonly doorbell: number;
  readonly parked: number;
}

/** A descriptor that rings a bell once it is armed; can be posted to the thread that sleeps. */
export interface Alarm extends Bell {
  readonly epoll: number;
  readonly fd: number;
}

/** What the waiting thread is started with. */
export interface PollerData {
  readonly epoll: number;
  readonly memory: WebAssembly.Memory;
}

/** An event's u64: the number of a watch and 0, or the two words of a bell, the first of which is never 0. */
export const STOP = 0;

/**
 * One thread that waits in epoll for all descriptors of a dataplane. What is to be read on the control thread is told to
 * it, one descriptor at a time; what wakes an lcore rings its bell at once.
 *
 *     socket readable ──▶ epoll thread ──message──▶ control thread: onReady, and the watch is armed again
 *     kick            ──▶ epoll thread ──bell──▶ lcore that sleeps
 */
export class Poller {
  readonly #libc: Libc;
  readonly #epoll: number;
  readonly #stop: number;
  readonly #worker: Worker;
  readonly #event = new Uint8Array(EPOLL_EVENT_BYTES);
  readonly #view = new DataView(this.#event.buffer);
  readonly #address: number;
  readonly #control: (epoll: number, operation: number, fd: number, event: number) => number;
  readonly #watches = new Map<number, { readonly fd: number; readonly onReady: () => void | Promise<void> }>();
  #serial = STOP;

  /**
   * @param memory where the bells are.
   * @throws RingwayError `UNSUPPORTED` when there are no system calls here.
   */
  constructor(memory: WebAssembly.Memory, what: string) {
    const sockets = requireSockets(what);
    this.#libc = loadLibc();
    const { call, check, koffi } = this.#libc;
    this.#address = Number(koffi.address(this.#event));
    const control = call('int epoll_ctl(int epoll, int operation, int fd, uintptr_t event)');
    this.#control = (epoll, operation, fd, event) => Number(control(epoll, operation, fd, event));
    this.#epoll = check(call('int epoll_create1(int flags)')(EPOLL_CLOEXEC), 'epoll_create1');
    this.#stop = sockets.eventfd();
    this.#add(this.#stop, EPOLLIN, STOP, 0);
    const workerData: PollerData = { epoll: this.#epoll, memory };
    this.#worker = new Worker(moduleUrl('sys/poller-worker.js'), { name: 'ringway epoll', workerData });
    this.#worker.on('message', (watch: number) => void this.#ready(watch));
    this.#worker.unref();
  }

  #set(operation: number, fd: number, events: number, low: number, high: number): number {
    this.#view.setUint32(0, events >>> 0, true);
    this.#view.setUint32(EPOLL_DATA, low, true);
    this.#view.setUint32(EPOLL_DATA + 4, high, true);
    return this.#control(this.#epoll, operation, fd, this.#address);
  }

  #add(fd: number, events: number, low: number, high: number): void {
    this.#libc.check(this.#set(EPOLL_CTL_ADD, fd, events, low, high), `epoll_ctl(ADD ${fd})`);
  }

  /**
   * Calls `onReady` on this thread whenever `fd` has something to read, or its other side is gone. It is not called again
   * before what it returned is settled. Returns what ends that; call it before `fd` is closed.
   * @throws RingwayError `SYSTEM` when `fd` is nothing that can be waited for.
   */
  watch(fd: number, onReady: () => void | Promise<void>): () => void {
    this.#serial++;
    const watch = this.#serial;
    this.#add(fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, watch, 0);
    this.#watches.set(watch, { fd, onReady });
    return () => {
      if (this.#watches.delete(watch)) this.#set(EPOLL_CTL_DEL, fd, 0, 0, 0);
    };
  }

  async #ready(watch: number): Promise<void> {
    await this.#watches.get(watch)?.onReady();
    const still = this.#watches.get(watch);
    if (still !== undefined) this.#set(EPOLL_CTL_MOD, still.fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, watch, 0);
  }

  /**
   * Rings a bell whenever `fd`, an eventfd, is written. It is never read, since a read could block when its other owner reads
   * it too. Returns what ends that; call it before `fd` is closed.
   * @throws RingwayError `SYSTEM` when `fd` is nothing that can be waited for.
   */
  wake(fd: number, { doorbell, parked }: Bell): () => void {
    this.#add(fd, EPOLLIN | EPOLLET, doorbell, parked);
    return () => void this.#set(EPOLL_CTL_DEL, fd, 0, 0, 0);
  }

  /**
   * What has `fd` ring a bell when there is something to read and whoever sleeps has armed it (`alarmArmer`), and what ends
   * that; call it before `fd` is closed.
   */
  alarm(fd: number, { doorbell, parked }: Bell): { readonly alarm: Alarm; end(): void } {
    const end = (): void => void this.#set(EPOLL_CTL_DEL, fd, 0, 0, 0);
    return { alarm: { epoll: this.#epoll, fd, doorbell, parked }, end };
  }

  /** Ends the thread. Descriptors stay their owners'. */
  async close(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    // Until now it kept nobody waiting; who closes it waits for its end.
    this.#worker.ref();
    requireSockets('epoll').signal(this.#stop);
    await ended;
    const { closeFd } = requireSys('epoll');
    closeFd(this.#stop);
    closeFd(this.#epoll);
  }
}

/** What arms alarms from a thread. */
export interface AlarmArmer {
  /** The next time that there is something to read, or if there is already, the bell rings, once. */
  arm(alarm: Alarm): void;
  /** To be called by who is awake again: a descriptor that epoll knows tells it of each packet, wanted or not, in or out. */
  disarm(alarm: Alarm): void;
}

/** What arms alarms from this thread. */
export function alarmArmer(): AlarmArmer {
  const { call, koffi } = loadLibc();
  const control = call('int epoll_ctl(int epoll, int operation, int fd, uintptr_t event)');
  // Never freed while it is used: an address does not keep its buffer.
  const event = new Uint8Array(EPOLL_EVENT_BYTES);
  const view = new DataView(event.buffer);
  const address = Number(koffi.address(event));
  return {
    arm({ epoll, fd, doorbell, parked }) {
      view.setUint32(0, EPOLLIN | EPOLLONESHOT, true);
      view.setUint32(EPOLL_DATA, doorbell, true);
      view.setUint32(EPOLL_DATA + 4, parked, true);
      control(epoll, EPOLL_CTL_ADD, fd, address);
    },
    disarm: ({ epoll, fd }) => void control(epoll, EPOLL_CTL_DEL, fd, address),
  };
}
