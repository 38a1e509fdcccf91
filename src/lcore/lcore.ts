import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { Arena, ArenaHandle } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { moduleUrl } from '../util/module-url.ts';
import { type PostedError, unpackError } from './errors.ts';
import type { IdleStrategy } from './idle.ts';
import { LCORE_BYTES, LCORE_CACHE, LCORE_COUNTERS, LCORE_DOORBELL, LCORE_INDEX } from './layout.ts';

/** What an lcore's module is given. */
export interface LcoreContext {
  readonly arena: Arena;
  /** Number of the lcore, from 0. */
  readonly index: number;
  /** Address of the lcore's words (`layout.ts`). */
  readonly address: number;
  /** What the starter passed along: anything that can be posted. */
  readonly data: unknown;
  /** Sends `event` to the control thread, to the starter's `onEvent`. Not for the packet path. */
  notify(event: unknown): void;
}

/** What an lcore's module makes. */
export interface LcoreTask {
  /** Does a burst of work and returns how many packets or events it was; 0 lets the lcore go idle. */
  poll(): number;
  /** Answers a message of the control thread; the packets wait meanwhile. */
  handle(message: unknown): unknown;
  /** Ends the task: what it returns answers `Lcore.stop()`. */
  stop(): unknown;
  /**
   * The lcore is about to sleep, and others see that it does: has them wake it, looks once more, and returns how many ms it
   * may sleep; 0 when there is work. 1 ms without this.
   */
  rest?(): number;
  /** An lcore that parks does so at the first empty poll: all that comes wakes it, and nobody is in a hurry. */
  readonly eager?: boolean;
}

/** The default export of an lcore's module. */
export type LcoreTaskFactory = (context: LcoreContext) => LcoreTask | Promise<LcoreTask>;

/** What an lcore is started with. */
export interface LcoreOptions {
  readonly index: number;
  /** What messages call it; `lcore INDEX` when not given. */
  readonly label?: string;
  /** The module that the thread runs: JavaScript, since workers load no TypeScript. */
  readonly module: URL;
  readonly data: unknown;
  readonly idle: IdleStrategy;
  /** The processor to stay on; the system decides when left out. */
  readonly cpu?: number;
  /** Called with each event that the task sends. */
  readonly onEvent?: (event: unknown) => void;
}

/** An lcore's thread, seen from the control thread. */
export interface Lcore {
  readonly index: number;
  readonly address: number;
  readonly idle: IdleStrategy;
  readonly cpu: number | undefined;
  /** Sends `message` to the task and resolves with its answer; rejects with what it threw, or when the lcore died. */
  call(message: unknown): Promise<unknown>;
  /** Stops polling, and resolves with what the task's `stop` returned once the thread has ended. */
  stop(): Promise<unknown>;
  /** Resolves when the thread has ended after `stop`; rejects with `LCORE_DIED` when it ended by itself. */
  readonly ended: Promise<void>;
  /** Ends the thread at once, wherever it is. */
  terminate(): Promise<void>;
}

/** What the thread of an lcore is told once: it imports its module meanwhile. */
export interface LcoreStart {
  readonly arena: ArenaHandle;
  readonly index: number;
  readonly address: number;
  readonly data: unknown;
  readonly idle: IdleStrategy;
  readonly cpu?: number;
  readonly port: MessagePort;
}

/** A message to the task of an lcore. */
export interface LcoreRequest {
  /** From 1 on, in order. */
  readonly id: number;
  readonly message: unknown;
  /** The task is to end; there is no message then. */
  readonly stop: boolean;
}

/** A message from the thread of an lcore. */
export interface LcoreReply {
  /** The request's; 0 says that the task started, or why not; EVENT_ID that it sent an event. */
  readonly id: number;
  readonly result?: unknown;
  readonly error?: PostedError;
}

/** Stands in `LcoreReply.id` for an event. */
export const EVENT_ID = -1;

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/** Allocates the words of an lcore: region `lcore N`. */
export function allocateLcore(arena: Arena, index: number, cache: number, counters: number): number {
  const address = arena.allocate(`lcore ${index}`, LCORE_BYTES);
  arena.u32[(address + LCORE_INDEX) >>> 2] = index;
  arena.u32[(address + LCORE_CACHE) >>> 2] = cache;
  arena.u32[(address + LCORE_COUNTERS) >>> 2] = counters;
  return address;
}

/** By module: threads that import it and wait to be told what they are. */
const prepared = new Map<string, Worker[]>();

function startWorker({ href }: URL, label: string): Worker {
  return new Worker(moduleUrl('lcore/worker.js'), { name: `ringway ${label}`, workerData: href });
}

/**
 * Starts a thread for the next lcore of `module` ahead, while its starter still finds out what it is to do: a thread takes
 * some 70 ms. One that is not needed does not keep the process; one that fails is forgotten, and `startLcore` tries again.
 */
export function prepareLcore(module: URL): void {
  const worker = startWorker(module, 'lcore');
  const waiting = prepared.get(module.href) ?? [];
  prepared.set(module.href, waiting);
  waiting.push(worker);
  const forget = (): void => {
    const at = waiting.indexOf(worker);
    if (at >= 0) waiting.splice(at, 1);
  };
  worker.on('error', forget).on('exit', forget).unref();
}

/**
 * Starts a thread that polls `options.module`. Resolves when the task is made and polling begins.
 * @throws what the module threw while it started; RingwayError `UNSUPPORTED` when `cpu` is given and pinning is not
 *   available, `LCORE_DIED` when the thread ended.
 */
export async function startLcore(arena: Arena, address: number, options: LcoreOptions): Promise<Lcore> {
  const { index, label = `lcore ${index}`, module, data, idle, cpu } = options;
  const { port1, port2 } = new MessageChannel();
  const worker = prepared.get(module.href)?.shift() ?? startWorker(module, label);
  worker.ref();
  const start: LcoreStart = {
    arena: arena.handle,
    index,
    address,
    data,
    idle,
    ...(cpu === undefined ? {} : { cpu }),
    port: port2,
  };
  worker.postMessage(start, [port2]);
  const waiters = new Map<number, Waiter>();
  let serial = 0;
  let stopping = false;
  /** Why the lcore does not answer any more. */
  let over: RingwayError | undefined;
  const doorbell = (address + LCORE_DOORBELL) >>> 2;

  const onMessage = ({ id, result, error }: LcoreReply): void => {
    if (id === EVENT_ID) {
      options.onEvent?.(result);
      return;
    }
    const waiter = waiters.get(id);
    waiters.delete(id);
    if (error === undefined) waiter?.resolve(result);
    else waiter?.reject(unpackError(error));
  };

  const ended = new Promise<void>((resolve, reject) => {
    let failure: unknown;
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', (code) => {
      // The thread may have answered before it ended, and its answer be on the way.
      for (let item = receiveMessageOnPort(port1); item !== undefined; item = receiveMessageOnPort(port1)) {
        onMessage(item.message as LcoreReply);
      }
      port1.close();
      const isClean = stopping && failure === undefined;
      const why = isClean ? 'was stopped' : `ended by itself: ${failure ?? `exit code ${code}`}`;
      over = new RingwayError('LCORE_DIED', `${label} ${why}`, { cause: failure });
      for (const waiter of waiters.values()) waiter.reject(over);
      waiters.clear();
      if (isClean) resolve();
      else reject(over);
    });
  });
  ended.catch(() => {});

  port1.on('message', onMessage);
  const ask = (message: unknown, stop: boolean): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (over !== undefined) {
        reject(over);
        return;
      }
      serial++;
      waiters.set(serial, { resolve, reject });
      port1.postMessage({ id: serial, message, stop } satisfies LcoreRequest);
      Atomics.store(arena.i32, doorbell, 1);
      Atomics.notify(arena.i32, doorbell);
    });

  try {
    await new Promise((resolve, reject) => waiters.set(0, { resolve, reject }));
  } catch (error) {
    await worker.terminate();
    throw error;
  }
  return {
    index,
    address,
    idle,
    cpu,
    call: (message) => ask(message, false),
    stop: async () => {
      stopping = true;
      const result = await ask(undefined, true);
      await ended;
      return result;
    },
    ended,
    terminate: async () => {
      stopping = true;
      await worker.terminate();
    },
  };
}
