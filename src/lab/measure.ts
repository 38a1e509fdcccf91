import { Histogram } from '../telemetry/histogram.ts';
import { median, medianNs, WindowRecorder } from './windows.ts';

/** Before anything counts: kernels and loops are compiled, caches are warm, the clock speed has settled. */
const WARM_UP_MS = 100;
const MEASURE_MS = 250;
/** Turns between two looks at the clock, which costs about as much as a burst. */
const TURNS = 256;

/** What a measurement came to. */
export interface Measured {
  /** ns an item: median of the windows. */
  readonly value: number | null;
  /** Quantiles of single samples, in ns. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly note: string;
}

/** The quantiles that rows show. */
export function quantilesOf(histogram: Histogram): Pick<Measured, 'p50' | 'p99' | 'p999'> {
  return { p50: histogram.quantile(0.5), p99: histogram.quantile(0.99), p999: histogram.quantile(0.999) };
}

/** What two looks at the clock cost, in ns. */
export function clockCost(): number {
  return median(Array.from({ length: 1001 }, () => -(performance.now() - performance.now()) * 1e6));
}

/**
 * Runs `turn` again and again. `turn` is a few kernel calls, and moves `items` items.
 * Every 256th turn is timed alone, the clock's own cost taken off.
 */
export function measure(items: number, turn: () => void): Measured {
  const warm = performance.now() + WARM_UP_MS;
  while (performance.now() < warm) turn();
  const cost = clockCost();
  const turns = new Histogram();
  const recorder = new WindowRecorder();
  const end = performance.now() + MEASURE_MS;
  for (let from = 0; from < end; ) {
    for (let i = 0; i < TURNS; i++) turn();
    recorder.add(TURNS * items);
    from = performance.now();
    turn();
    turns.record((performance.now() - from) * 1e6 - cost);
  }
  return { ...medianNs([recorder.windows]), ...quantilesOf(turns) };
}
