import { requireSys, sysAvailable } from '../sys/index.ts';

/** A stretch of a measurement: how many items moved, and the share of the time in which the thread had the CPU. */
export interface Window {
  /** Which stretch of WINDOW_MS of the system's time it is: the same number in all threads. */
  readonly index: number;
  readonly ns: number;
  readonly items: number;
  readonly share: number;
}

/** Short, so that one in which the thread lost the CPU is one of many. */
const WINDOW_MS = 5;
/** A window counts when the thread had the CPU for this share of it. */
const SHARE_MIN = 0.97;
/** With fewer windows that count there is no median to speak of. */
const WINDOWS_MIN = 5;

/** The middle of `values`; the upper one of the two when they are even in number. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** Cuts a thread's time into windows. */
export class WindowRecorder {
  readonly windows: Window[] = [];
  readonly #cpuNs: () => number;
  #at = 0;
  #cpu = 0;
  #index = -1;
  #items = 0;

  constructor() {
    const sys = sysAvailable() ? requireSys('a bench') : undefined;
    this.#cpuNs = sys === undefined ? () => performance.now() * 1e6 : () => sys.threadCpuNs();
  }

  /** Notes that `items` more moved. Call it every few microseconds: it looks at the clock. */
  add(items: number): void {
    this.#items += items;
    const now = performance.timeOrigin + performance.now();
    const index = Math.floor(now / WINDOW_MS);
    if (index === this.#index) return;
    const cpu = this.#cpuNs();
    const ns = (now - this.#at) * 1e6;
    // The first is cut off at its start.
    if (this.#index >= 0)
      this.windows.push({ index: this.#index, ns, items: this.#items, share: (cpu - this.#cpu) / ns });
    this.#index = index;
    this.#at = now;
    this.#cpu = cpu;
    this.#items = 0;
  }
}

/**
 * ns an item, in the median of the windows in which all `threads` had their CPU; of all windows, and a note, when
 * those are too few. Items are those of the first thread.
 */
export function medianNs(threads: readonly (readonly Window[])[]): { value: number | null; note: string } {
  const [counted = [], ...rest] = threads;
  const others = rest.map((windows) => new Map(windows.map((window) => [window.index, window.share])));
  const moved = counted.filter(({ items }) => items > 0);
  const undisturbed = moved.filter(
    ({ index, share }) => share >= SHARE_MIN && others.every((shares) => (shares.get(index) ?? 0) >= SHARE_MIN),
  );
  const enough = undisturbed.length >= WINDOWS_MIN;
  const value = median((enough ? undisturbed : moved).map(({ ns, items }) => ns / items));
  if (Number.isNaN(value)) return { value: null, note: 'nothing moved' };
  return { value, note: enough ? '' : `other programs had the CPU in all but ${undisturbed.length} windows` };
}
