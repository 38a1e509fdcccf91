// Sends each event on to the next queue, sleeping while there is none.
import { parentPort, workerData } from 'node:worker_threads';
import { attachEventPort, EVENT_OP, readEvent, writeEvent } from '#build/eventdev/index.js';
import { attachArena } from '#build/memory/index.js';

const { handle, address, slots, events } = workerData;
const arena = attachArena(handle);
const port = attachEventPort(arena, address);
let passed = 0;
while (passed < events) {
  const n = port.dequeue(slots, 32, 10_000);
  if (n === 0) break;
  for (let i = 0; i < n; i++) {
    const { flow } = readEvent(arena, slots + i * 16);
    writeEvent(arena, slots + i * 16, { queue: 1, flow, op: EVENT_OP.FORWARD });
  }
  passed += port.enqueue(slots, n);
}
port.enqueue(slots, 0);
parentPort.postMessage(passed);
