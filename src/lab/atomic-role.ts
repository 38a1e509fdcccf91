import { attachEventPort } from '../eventdev/port.ts';
import type { Arena } from '../memory/arena.ts';

/** A worker at an event port whose two stages check that they are atomic. */
export interface AtomicRole {
  readonly role: 'atomic';
  /** Addresses of the port, of its slots, of locks and numbers (`labAtomicStages`), and of a count of events, u32 each 2^20. */
  readonly port: number;
  readonly slots: number;
  readonly words: number;
  readonly millions: number;
  /** Events that all workers together are to check, in 2^20. */
  readonly target: number;
  readonly flows: number;
  readonly window: number;
}

/** What such a worker posts. */
export interface AtomicResult {
  readonly events: number;
  readonly broken: number;
}

const BURST = 32;
const MEGA = 2 ** 20;
const TURNS = 1024;

interface AtomicKernel {
  labAtomicStages(slots: number, n: number, words: number, flows: number, window: number, self: number): number;
}

/** Checks events until all together have checked enough, or `stopped` says so. */
export function playAtomic(arena: Arena, role: AtomicRole, stopped: () => boolean): AtomicResult {
  const { slots, words, millions, target, flows, window } = role;
  const { dequeue, enqueue, id } = attachEventPort(arena, role.port);
  const { labAtomicStages } = arena.kernels<AtomicKernel>();
  let [events, told, broken] = [0, 0, 0];
  while (!stopped()) {
    for (let turn = 0; turn < TURNS; turn++) {
      const n = dequeue(slots, BURST);
      if (n === 0) continue;
      broken += labAtomicStages(slots, n, words, flows, window, id + 1);
      events += enqueue(slots, n);
    }
    const more = Math.floor(events / MEGA) - told;
    told += more;
    if (Atomics.add(arena.u32, millions >>> 2, more) + more >= target) break;
  }
  return { events, broken };
}
