import type { Arena } from '../../memory/arena.ts';
import {
  RECORD_RUNNING,
  RECORD_SEQUENCE,
  RECORD_STATE,
  RECORD_WORKER_SHIFT,
  WORKER_AT,
  WORKER_BEATS,
} from './layout.ts';
import type { Places } from './records.ts';

/** A worker that has not come back for longer than this is unattended; milliseconds. */
const UNATTENDED_MS = 500;

/** When each worker last served its port. */
export class Attendance {
  readonly #arena: Arena;
  readonly #places: Places;
  readonly #beats: number[];
  readonly #since: number[];
  readonly #told: boolean[];

  constructor(arena: Arena, places: Places) {
    this.#arena = arena;
    this.#places = places;
    this.#beats = places.workers.map(() => -1);
    this.#since = places.workers.map(() => performance.now());
    this.#told = places.workers.map(() => false);
  }

  /** Looks whether worker `id` has served its port since the last look. Returns true when it is newly unattended. */
  look(id: number): boolean {
    const beats = Atomics.load(this.#arena.u32, ((this.#places.workers[id] as number) + WORKER_BEATS) >>> 2);
    if (beats !== this.#beats[id]) {
      this.#beats[id] = beats;
      this.#since[id] = performance.now();
      this.#told[id] = false;
      return false;
    }
    if (this.#told[id] === true || this.awayMs(id) < UNATTENDED_MS) return false;
    this.#told[id] = true;
    return true;
  }

  /** Worker `id` has nothing to do, or is being started: it need not come back. */
  excuse(id: number): void {
    this.#since[id] = performance.now();
    this.#told[id] = false;
  }

  /** How long worker `id` has not served its port, as of the last looks; 0 when that is nothing unusual. Milliseconds. */
  awayMs(id: number): number {
    const away = performance.now() - (this.#since[id] as number);
    return away < UNATTENDED_MS ? 0 : away;
  }

  /** Address of the record that worker `id` is at: whose handler has the thread, or the oldest that has not finished. */
  recordAt(id: number): number | undefined {
    const { u32 } = this.#arena;
    const { records, stride, count, workers } = this.#places;
    const at = Atomics.load(u32, ((workers[id] as number) + WORKER_AT) >>> 2);
    if (at !== 0) return at;
    const running = RECORD_RUNNING | (id << RECORD_WORKER_SHIFT);
    let oldest: number | undefined;
    for (let record = records; record < records + count * stride; record += stride) {
      const word = (offset: number, from = record): number => u32[(from + offset) >>> 2] as number;
      if (word(RECORD_STATE) !== running) continue;
      if (oldest === undefined || word(RECORD_SEQUENCE) < word(RECORD_SEQUENCE, oldest)) oldest = record;
    }
    return oldest;
  }
}
