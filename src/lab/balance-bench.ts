import type { Migration } from '../eventdev/options.ts';
import { EventWorld, type Rates, type Sample } from './event-world.ts';
import { type Row, rowOf } from './row.ts';
import { median } from './windows.ts';

const WORKERS = 2;
/** Of real work an event: what the RFC's overheads are compared with. */
const WORK_NS = 400;
const FLOWS = 1024;
/** Events a second that one worker can take, about. */
const CAPACITY = 1e9 / (WORK_NS + 10);
const SAMPLE_NS = 250_000;
const MS = 1e6;
/** Loads are compared over so many samples, 5 ms: single ones differ by chance. */
const SMOOTH = 20;
const EVEN = 0.1;
const STEADY: Rates = () => EventWorld.zipf(FLOWS, 0.8 * WORKERS * CAPACITY, 1);

/** One experiment: what the flows do, for how long, and where they are when it begins. */
export interface Experiment {
  readonly name: string;
  readonly strategy: Migration;
  readonly rates: Rates;
  readonly ms: number;
  readonly first?: readonly number[];
}

const slowStart: Rates = (ns, homeOf) => {
  // Eight connections of one worker begin with 2 % of it together, and send twice as much every 10 ms until they have 70 %.
  const grown = Math.min(0.02 * 2 ** (ns / (10 * MS)), 0.7) * CAPACITY;
  const rates = EventWorld.zipf(FLOWS, 0.45 * WORKERS * CAPACITY, 1);
  let left = 8;
  for (let flow = 100; left > 0; flow++) {
    if (homeOf(flow) !== 0) continue;
    rates[flow] = (rates[flow] as number) + grown / 8;
    left--;
  }
  return rates;
};

const bursts: Rates = (ns) => {
  // Each of three flows in turn sends twice as much for 5 ms: 60 % of a worker, 30 % else; small ones 40 % together.
  const turn = Math.floor(ns / (5 * MS)) % 3;
  const background = EventWorld.zipf(FLOWS, 0.2 * WORKERS * CAPACITY, 0);
  return background.map((rate, flow) => (flow < 3 ? rate + (flow === turn ? 0.6 : 0.3) * CAPACITY : rate));
};

/** All that are run. */
export const EXPERIMENTS = {
  even: {
    name: 'even after all flows were at one of two ports',
    strategy: 'flow-group',
    rates: STEADY,
    ms: 3000,
    first: [0],
  },
  evenSingly: { name: 'the same, flows moved singly', strategy: 'single-flow', rates: STEADY, ms: 3000, first: [0] },
  slowStart: { name: 'slow start of eight flows at one port', strategy: 'flow-group', rates: slowStart, ms: 400 },
  bursts: { name: 'three large bursty flows', strategy: 'flow-group', rates: bursts, ms: 1000 },
} as const satisfies Record<string, Experiment>;

/** Runs one. The same seed gives the same samples. */
export function runExperiment({ strategy, rates, ms, first }: Experiment, seed = 1): readonly Sample[] {
  const world = new EventWorld({
    workers: WORKERS,
    strategy,
    workNs: WORK_NS,
    rates,
    ratesEveryNs: MS,
    seed,
    ...(first === undefined ? {} : { first }),
  });
  world.run(ms * MS, SAMPLE_NS);
  return world.samples;
}

/** How far the two loads are apart, as a share of their mean, in the mean of the samples around each. */
export function imbalances(samples: readonly Sample[]): number[] {
  const mean = (at: number, worker: number): number => {
    const part = samples.slice(Math.max(0, at - SMOOTH), at + 1);
    return part.reduce((sum, { loads }) => sum + (loads[worker] ?? 0), 0) / part.length;
  };
  return samples.map((_, at) => {
    const [a, b] = [mean(at, 0), mean(at, 1)];
    return (2 * Math.abs(a - b)) / Math.max(a + b, 1e-9);
  });
}

/** Virtual ms until the loads are within 10 % of even, and stay so; null when they never do. */
export function evenAfterMs(samples: readonly Sample[]): number | null {
  const last = imbalances(samples).findLastIndex((value) => value > EVEN);
  const at = samples[last + 1];
  return at === undefined ? null : at.ns / MS;
}

/** Flows that moved in the last `ms`, a second. */
export function movesPerSecond(samples: readonly Sample[], ms: number): number {
  const end = samples[samples.length - 1] as Sample;
  const from = samples.find(({ ns }) => ns >= end.ns - ms * MS) as Sample;
  return ((end.moved - from.moved) * 1e9) / (end.ns - from.ns);
}

const nothing = { p50: null, p99: null, p999: null, state: 'virtual time', note: '' } as const;

/**
 * How well the event device spreads flows over two ports, in virtual time: real kernels, whose ports' clocks go on by what
 * their work and calls cost. The same on every machine.
 */
export function benchBalance(): Row[] {
  const row = (name: string, unit: string, value: number | null): Row => rowOf({ ...nothing, name, unit, value }, null);
  const rows: Row[] = [];
  for (const one of [EXPERIMENTS.even, EXPERIMENTS.evenSingly]) {
    const samples = runExperiment(one);
    rows.push(row(`${one.name}, within 10 %`, 'ms', evenAfterMs(samples)));
    rows.push(row(`${one.name}, moves from then on`, 'flows/s', movesPerSecond(samples, 2000)));
  }
  const grown = runExperiment(EXPERIMENTS.slowStart);
  rows.push(
    row(`${EXPERIMENTS.slowStart.name}, worst imbalance`, '%', 100 * Math.max(...imbalances(grown).slice(SMOOTH))),
  );
  rows.push(row(`${EXPERIMENTS.slowStart.name}, within 10 %`, 'ms', evenAfterMs(grown)));
  const bursty = runExperiment(EXPERIMENTS.bursts);
  rows.push(row(`${EXPERIMENTS.bursts.name}, median imbalance`, '%', 100 * median(imbalances(bursty))));
  rows.push(row(`${EXPERIMENTS.bursts.name}, moves`, 'flows/s', movesPerSecond(bursty, 900)));
  return rows;
}
