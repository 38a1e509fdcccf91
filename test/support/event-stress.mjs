// A port that sends its flows through two stages and moves flows it owns to other ports all the time. At an atomic stage,
// each event takes its flow's lock, and finds it free; its number is the one that the flow waits for. Behind a first stage
// that is ordered, its numbers are so too.
import { parentPort, workerData } from 'node:worker_threads';
import { attachEventPort, EVENT_OP, readEvent, writeEvent } from '#build/eventdev/index.js';
import * as layout from '#build/eventdev/layout.js';
import { attachArena } from '#build/memory/index.js';

const { handle, device, address, slots, shared, ports, flows, events, ordered, seconds } = workerData;
const arena = attachArena(handle);
const { u32, u8 } = arena;
const port = attachEventPort(arena, address);
const kernels = arena.kernels();
const [locks, expected, finished, quiet, ready] = [0, 2 * flows, 4 * flows, 4 * flows + 1, 4 * flows + 2].map(
  (word) => (shared >>> 2) + word,
);
const total = flows * events;
const word = (offset) => (address + offset) >>> 2;
let problem;
let state = port.id + 1;
const random = (limit) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
};

function process(slot) {
  const { queue, flow } = readEvent(arena, slot);
  const id = u32[slot >>> 2];
  if (ordered && queue === 0) {
    for (let i = random(100); i > 0; i--) Atomics.load(u32, locks);
    writeEvent(arena, slot, { queue: 1, flow, op: EVENT_OP.FORWARD });
    return 0;
  }
  const at = queue * flows + flow;
  const holder = Atomics.compareExchange(u32, locks + at, 0, port.id + 1);
  if (holder !== 0) problem ??= `flow ${flow} of queue ${queue} is at ports ${holder - 1} and ${port.id}`;
  if (u32[expected + at] !== id)
    problem ??= `event ${id} of flow ${flow}, queue ${queue}, before ${u32[expected + at]}`;
  u32[expected + at] = id + 1;
  for (let i = random(100); i > 0; i--) Atomics.load(u32, locks + at);
  Atomics.store(u32, locks + at, 0);
  writeEvent(arena, slot, { queue: 1, flow, op: queue === 0 ? EVENT_OP.FORWARD : EVENT_OP.RELEASE });
  return queue;
}

function pass() {
  const n = port.dequeue(slots, 1 + random(32));
  let ended = 0;
  for (let i = 0; i < n; i++) ended += process(slots + i * 16);
  if (n > 0 && port.enqueue(slots, n) !== n) problem ??= 'forwards were refused';
  if (ended > 0) Atomics.add(u32, finished, ended);
}

const sent = new Uint32Array(flows);
function produce() {
  let n = 0;
  for (let flow = port.id; flow < flows; flow += ports) {
    if (sent[flow] === events || n === 32) continue;
    u32[(slots + n * 16) >>> 2] = sent[flow]++;
    writeEvent(arena, slots + n++ * 16, { queue: 0, flow, op: EVENT_OP.NEW });
  }
  if (n > 0 && port.enqueue(slots, n) === 0) for (let i = 0; i < n; i++) sent[readEvent(arena, slots + i * 16).flow]--;
}

let begun = 0;
function move() {
  if (u32[word(layout.EVPORT_STATE)] !== layout.MIGRATION_IDLE || u32[word(layout.EVPORT_PAUSED_EVENTS)] > 0) return;
  const tables = u32[(device + layout.EVDEV_TABLES) >>> 2];
  let n = 0;
  for (let tries = 0; tries < 20 && n < 8; tries++) {
    const [queue, hash] = [ordered ? 1 : random(2), kernels.eventdevFlowHash(random(flows), 13)];
    const flow = (queue << layout.FLOW_QUEUE_SHIFT) | hash;
    const list = u32.subarray(word(layout.EVPORT_MOVING_FLOWS), word(layout.EVPORT_MOVING_FLOWS) + n);
    if (u8[tables + (queue << 13) + hash] !== port.id || list.includes(flow)) continue;
    u32[word(layout.EVPORT_MOVING_FLOWS) + n] = flow;
    u32[word(layout.EVPORT_MOVING_TARGETS) + n] = (port.id + 1 + random(ports - 1)) % ports;
    n++;
  }
  if (n === 0) return;
  u32[word(layout.EVPORT_MOVING_COUNT)] = n;
  kernels.eventdevBeginMigration(address);
  begun++;
}

let isQuiet = false;
const deadline = performance.now() + seconds * 1000;
Atomics.add(u32, ready, 1);
while (Atomics.load(u32, ready) < ports && performance.now() < deadline);
while (Atomics.load(u32, quiet) < ports && problem === undefined) {
  if (performance.now() > deadline) problem = `${Atomics.load(u32, finished)} of ${total} events after ${seconds} s`;
  pass();
  const over = Atomics.load(u32, finished) === total;
  if (!over) {
    produce();
    if (random(8) === 0) move();
  } else if (!isQuiet && u32[word(layout.EVPORT_STATE)] === layout.MIGRATION_IDLE) {
    isQuiet = true;
    Atomics.add(u32, quiet, 1);
  }
}
parentPort.postMessage(problem ?? `done, ${begun > 0 ? 'moved' : 'not moved'}`);
