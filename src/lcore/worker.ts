// The thread of an lcore: imports the module it is given, and polls it, once told over what, until it is told to stop.
import { once } from 'node:events';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type Arena, attachArena } from '../memory/arena.ts';
import { requireSys } from '../sys/index.ts';
import { addCounter } from '../telemetry/counters.ts';
import { LcoreClock } from './clock.ts';
import { packError } from './errors.ts';
import { idle, PARK_MS, sleeps } from './idle.ts';
import {
  LCORE_BUSY_NS,
  LCORE_DOORBELL,
  LCORE_EMPTY_POLLS,
  LCORE_PACKETS,
  LCORE_PARKED,
  LCORE_POLLS,
  LCORE_RUNNING,
  LCORE_STATE,
  LCORE_STOPPED,
} from './layout.ts';
import {
  EVENT_ID,
  type LcoreReply,
  type LcoreRequest,
  type LcoreStart,
  type LcoreTask,
  type LcoreTaskFactory,
} from './lcore.ts';

/** Busy polls between two readings of the clock: 64 bursts of 32 take some 50 µs. */
const POLLS_PER_REFRESH = 64;
/** Polls between two updates of the lcore's counters. */
const POLLS_PER_REPORT = 1024;

/** Polls `task` until the doorbell rings. */
function pollUntilDoorbell(arena: Arena, data: LcoreStart, task: LcoreTask, clock: LcoreClock): void {
  const { address, idle: strategy } = data;
  const { i32 } = arena;
  const doorbell = (address + LCORE_DOORBELL) >>> 2;
  const parked = (address + LCORE_PARKED) >>> 2;
  let polls = 0;
  let emptyPolls = 0;
  let packets = 0;
  let empties = 0;
  let now = clock.refresh();
  let busySince = 0;
  let busyNs = 0;

  const report = (): void => {
    if (busySince > 0) {
      busyNs += now - busySince;
      busySince = now;
    }
    addCounter(arena, address + LCORE_POLLS, polls);
    addCounter(arena, address + LCORE_EMPTY_POLLS, emptyPolls);
    addCounter(arena, address + LCORE_PACKETS, packets);
    addCounter(arena, address + LCORE_BUSY_NS, Math.round(busyNs));
    polls = 0;
    emptyPolls = 0;
    packets = 0;
    busyNs = 0;
  };

  const rest = (): number => task.rest?.() ?? PARK_MS;
  const isTired = (): boolean => empties > 0 && sleeps(strategy, empties, task.eager ?? false);

  while (i32[doorbell] === 0) {
    const work = task.poll();
    polls++;
    packets += work;
    if (work === 0) {
      emptyPolls++;
      empties++;
      now = clock.refresh();
      if (busySince > 0) {
        busyNs += now - busySince;
        busySince = 0;
      }
      if (isTired()) {
        idle(strategy, i32, doorbell, parked, rest);
        // What comes next is neither as old as the sleep nor busy since before it.
        now = clock.refresh();
      }
    } else {
      empties = 0;
      if (busySince === 0) busySince = now;
      if (polls % POLLS_PER_REFRESH === 0) now = clock.refresh();
    }
    if (polls >= POLLS_PER_REPORT || isTired()) report();
  }
  report();
}

/** Handles the messages that wait. Returns false after `stop`. */
async function handleMessages(arena: Arena, data: LcoreStart, task: LcoreTask, port: MessagePort): Promise<boolean> {
  Atomics.store(arena.i32, (data.address + LCORE_DOORBELL) >>> 2, 0);
  for (let item = receiveMessageOnPort(port); item !== undefined; item = receiveMessageOnPort(port)) {
    const request = item.message as LcoreRequest;
    try {
      const result = request.stop ? await task.stop() : await task.handle(request.message);
      port.postMessage({ id: request.id, result } satisfies LcoreReply);
    } catch (error) {
      if (request.stop) throw error;
      // Also when the result is nothing that can be posted.
      port.postMessage({ id: request.id, error: packError(error) } satisfies LcoreReply);
    }
    if (request.stop) return false;
  }
  return true;
}

async function startTask(
  module: Promise<{ default: LcoreTaskFactory }>,
  data: LcoreStart,
  arena: Arena,
): Promise<LcoreTask> {
  const { port } = data;
  if (data.cpu !== undefined) requireSys(`pinning lcore ${data.index} to cpu ${data.cpu}`).pinThread(data.cpu);
  const { default: start } = await module;
  return start({
    arena,
    index: data.index,
    address: data.address,
    data: data.data,
    notify: (event) => port.postMessage({ id: EVENT_ID, result: event } satisfies LcoreReply),
  });
}

async function main(control: MessagePort, url: string): Promise<void> {
  const module = import(url) as Promise<{ default: LcoreTaskFactory }>;
  module.catch(() => {});
  const [data] = (await once(control, 'message')) as [LcoreStart];
  const { port } = data;
  const arena = attachArena(data.arena);
  const clock = new LcoreClock(arena, data.address);
  clock.refresh();
  let task: LcoreTask;
  try {
    task = await startTask(module, data, arena);
  } catch (error) {
    port.postMessage({ id: 0, error: packError(error) } satisfies LcoreReply);
    return;
  }
  const state = (data.address + LCORE_STATE) >>> 2;
  Atomics.store(arena.i32, state, LCORE_RUNNING);
  port.postMessage({ id: 0, result: undefined } satisfies LcoreReply);
  do {
    pollUntilDoorbell(arena, data, task, clock);
  } while (await handleMessages(arena, data, task, port));
  Atomics.store(arena.i32, state, LCORE_STOPPED);
  // Whatever timers and sockets the module left open must not keep the thread.
  process.exit(0);
}

if (parentPort !== null) await main(parentPort, workerData as string);
