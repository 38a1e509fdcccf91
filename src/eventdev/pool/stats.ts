import type { Histogram } from '../../telemetry/histogram.ts';
import type { EventXstats } from '../xstats.ts';
import type { Unattended } from './options.ts';

/** Of how long something took: the values that so many of all are at or below, and how many were measured. */
export interface Durations {
  readonly measured: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly highest: number;
}

/** A worker of a pool. */
export interface WorkerStats {
  /** Its number, from 0. */
  readonly worker: number;
  /** Messages it has finished. */
  readonly finished: number;
  /** Messages it has taken on and not finished. */
  readonly held: number;
  /** How busy it is, 0 to 100. */
  readonly loadPercent: number;
  /** Groups of keys that moved from it to other workers, and from others to it. */
  readonly movedAway: number;
  readonly movedHere: number;
  /** Threads that died and were replaced. */
  readonly deaths: number;
  /** Set while it does not come back to its port. */
  readonly unattended: Unattended | undefined;
}

/** What a pool has done and is at. */
export interface PoolStats {
  /** Messages taken in, finished in any way, and failed, since the start. */
  readonly taken: number;
  readonly finished: number;
  readonly failed: number;
  /** Messages that were taken in and are not finished, and how many more there is room for. */
  readonly outstanding: number;
  readonly room: number;
  readonly workers: readonly WorkerStats[];
  /** From the moment that a message is taken in to its handler's start, and from there to its end. About one in 32 is measured. */
  readonly queueingMicroseconds: Durations;
  readonly handlingMicroseconds: Durations;
}

/** The quantiles of `histogram`. */
export function durations(histogram: Histogram): Durations {
  const of = (fraction: number): number => histogram.quantile(fraction);
  return { measured: histogram.count, p50: of(0.5), p90: of(0.9), p99: of(0.99), highest: of(1) };
}

/** What the device says of the port of worker `id`. */
export function portStats(xstats: EventXstats, id: number) {
  const get = (name: string): number => xstats.get(`port_${id}_${name}`);
  return { loadPercent: get('load'), movedAway: get('emigrations'), movedHere: get('immigrations') };
}
