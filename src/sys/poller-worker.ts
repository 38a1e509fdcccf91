// The thread that waits in epoll: rings bells, and tells the control thread what is to be read.
import { parentPort, workerData } from 'node:worker_threads';
import { loadLibc } from './libc.ts';
import { EPOLL_DATA, EPOLL_EVENT_BYTES, type PollerData, STOP } from './poller.ts';

const EVENTS = 64;
/** A process that ends without closing its poller waits so long for this thread, which nothing else interrupts. */
const WAIT_MS = 500;

const { epoll, memory } = workerData as PollerData;
const { koffi, call } = loadLibc();
const wait = call('int epoll_wait(int epoll, uintptr_t events, int max, int timeout)');
// Never freed while the thread runs: the kernel writes there.
const events = new Uint8Array(EVENTS * EPOLL_EVENT_BYTES);
const view = new DataView(events.buffer);
const address = Number(koffi.address(events));
const i32 = new Int32Array(memory.buffer);

function ring(doorbell: number, parked: number): void {
  if (Atomics.load(i32, parked) === 0) return;
  Atomics.store(i32, doorbell, 1);
  Atomics.notify(i32, doorbell);
}

for (let running = true; running; ) {
  // -1 when a signal came in between.
  const count = Math.max(0, Number(wait(epoll, address, EVENTS, WAIT_MS)));
  for (let i = 0; i < count; i++) {
    const at = i * EPOLL_EVENT_BYTES + EPOLL_DATA;
    const [low, high] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    if (high !== 0) ring(low, high);
    else if (low === STOP) running = false;
    else parentPort?.postMessage(low);
  }
}
