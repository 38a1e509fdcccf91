import {
  EVPORT_BUSY,
  EVPORT_BUSY_NS,
  EVPORT_BUSY_START,
  EVPORT_IMMIGRATION_LOAD,
  EVPORT_LOAD,
  EVPORT_NEXT_LOAD,
  EVPORT_NOW,
  EVPORT_PERIOD_START,
  EVPORT_STEADY_LOAD,
  EVPORT_TOTAL_BUSY_NS,
  LOAD_INTERVAL_NS,
  LOAD_MAX,
  STEADY_SHIFT,
} from './layout.ts';

/** The first dequeue with events: a busy time begins. */
export function turnBusy(port: u32): void {
  store<u32>(port, 1, EVPORT_BUSY);
  store<u64>(port, load<u64>(port, EVPORT_NOW), EVPORT_BUSY_START);
}

/** The first dequeue without: it ends. */
export function turnIdle(port: u32): void {
  store<u32>(port, 0, EVPORT_BUSY);
  const busy = load<u64>(port, EVPORT_NOW) - load<u64>(port, EVPORT_BUSY_START);
  store<u64>(port, load<u64>(port, EVPORT_BUSY_NS) + busy, EVPORT_BUSY_NS);
}

/** When a period is over: the load becomes the mean of what it was and of the period's. */
export function updateLoad(port: u32): void {
  const now = load<u64>(port, EVPORT_NOW);
  if (now < load<u64>(port, EVPORT_NEXT_LOAD)) return;
  store<u64>(port, now + LOAD_INTERVAL_NS, EVPORT_NEXT_LOAD);
  if (load<u32>(port, EVPORT_BUSY) !== 0) {
    turnIdle(port);
    turnBusy(port);
  }
  const busy = load<u64>(port, EVPORT_BUSY_NS);
  const passed = now - load<u64>(port, EVPORT_PERIOD_START);
  store<u64>(port, now, EVPORT_PERIOD_START);
  store<u64>(port, 0, EVPORT_BUSY_NS);
  store<u64>(port, load<u64>(port, EVPORT_TOTAL_BUSY_NS) + busy, EVPORT_TOTAL_BUSY_NS);
  const period = passed === 0 ? 0 : (min(busy, passed) * LOAD_MAX) / passed;
  const estimate = (load<u32>(port, EVPORT_LOAD) + <u32>period) >> 1;
  atomic.store<u32>(port, estimate, EVPORT_LOAD);
  const steady = load<u32>(port, EVPORT_STEADY_LOAD);
  const change = (<i32>estimate - <i32>steady) >> STEADY_SHIFT;
  atomic.store<u32>(port, steady + <u32>change, EVPORT_STEADY_LOAD);
  // What came with flows that moved here is part of the estimate by now.
  atomic.store<u32>(port, 0, EVPORT_IMMIGRATION_LOAD);
}
