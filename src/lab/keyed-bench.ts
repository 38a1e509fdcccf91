import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { StructOf } from '../eventdev/pool/codec-struct.ts';
import { KeyedPool } from '../eventdev/pool/keyed-pool.ts';
import { moduleUrl } from '../util/module-url.ts';
import { MESSAGE, RESULT } from './keyed-handler.ts';
import { NOT_WANTED, type PeerFigure, type Peers, reasonOf } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import { median } from './windows.ts';

const HANDLER = moduleUrl('lab/keyed-handler.js');
const IN_FLIGHT = 1024;
const ACCOUNTS = 1000;
const WARM_UP_MS = 500;
const MEASURE_MS = 1500;
/** Short, so that a window in which other programs had a core is one of many. */
const WINDOW_MS = 50;
const UNIT = 'M/s';

type Trade = StructOf<typeof MESSAGE>;
type Result = StructOf<typeof RESULT>;

/** Trades without end: one object with other numbers each time, since all pools take a copy at once. */
function* trades(isOver: () => boolean): Generator<Trade> {
  const figures = {
    time: 1.5,
    price: 2.25,
    amount: 3.5,
    fee: 0.125,
    balance: 99.5,
    limit: 1e6,
    bid: 2.125,
    ask: 2.375,
  };
  const trade = { account: 0, number: 0, ...figures, rate: 1.1, symbol: 'EURUSD' };
  while (!isOver()) {
    trade.number = (trade.number + 1) >>> 0;
    trade.account = trade.number % ACCOUNTS;
    yield trade;
  }
}

/** Lines of a log, in 100 bytes of JSON. */
type Line = { account: number; number: number; text: string };
function* lines(isOver: () => boolean): Generator<Line> {
  const line = { account: 0, number: 1e6, text: 'the quick brown fox jumps over the lazy dog, and so it goes' };
  while (!isOver()) {
    line.number++;
    line.account = line.number % ACCOUNTS;
    yield line;
  }
}

/** Counts results in windows, and says when it is time to end. */
class Meter {
  readonly #start = performance.now();
  readonly #rates: number[] = [];
  #at = this.#start;
  #count = 0;
  #sum = 0;

  /** A result came: `number` of it, which is hardly ever 0, shows that somebody made it. */
  add(number: number): void {
    this.#count++;
    this.#sum += number;
  }

  /** True when enough was counted. Call it every few messages. */
  readonly isOver = (): boolean => {
    const now = performance.now();
    if (now - this.#at >= WINDOW_MS) {
      if (now - this.#start > WARM_UP_MS) this.#rates.push(this.#count / (now - this.#at) / 1000);
      this.#at = now;
      this.#count = 0;
    }
    return now - this.#start > WARM_UP_MS + MEASURE_MS;
  };

  /** Millions of results a second, in the median of windows; null when there were none. */
  get rate(): number | null {
    return this.#sum > 0 ? median(this.#rates) : null;
  }
}

/** A look at the clock for each 64 messages. */
function everySoOften(isOver: () => boolean): () => boolean {
  let asked = 0;
  let over = false;
  return () => {
    if (asked++ % 64 === 0) over ||= isOver();
    return over;
  };
}

const key = ({ account }: { readonly account: number }): number => account;
const common = { worker: HANDLER, workers: 1, inFlight: IN_FLIGHT };
const startStructs = (): Promise<KeyedPool<Trade, Result>> =>
  KeyedPool.start({ ...common, key, message: MESSAGE, result: RESULT });

async function measurePushMany<M>(pool: KeyedPool<M, Result>, messages: (isOver: () => boolean) => Iterable<M>) {
  const meter = new Meter();
  const run = pool.pushMany(messages(everySoOften(meter.isOver)));
  for await (const results of run) for (const { number } of results) meter.add(number);
  await pool.close();
  return meter.rate;
}

/** Keeps IN_FLIGHT calls of `run` going. */
async function measureRun(run: (trade: Trade) => Promise<Result>): Promise<number | null> {
  const meter = new Meter();
  // One generator for all callers: each takes the next trade, and all end with it.
  const source = trades(everySoOften(meter.isOver));
  const caller = async (): Promise<void> => {
    for (const trade of source) meter.add((await run(trade)).number);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  return meter.rate;
}

async function measureKeyedRun(): Promise<number | null> {
  const pool = await startStructs();
  const rate = await measureRun((trade) => pool.run(trade));
  await pool.close();
  return rate;
}

/** A pool of another library: tasks by postMessage, one worker. */
interface TaskPool {
  run(trade: Trade): Promise<Result>;
  destroy(): Promise<void>;
}

type TaskPoolClass = new (options: Record<string, unknown>) => TaskPool;

/** Pools of other libraries, which are installed with this repository, not with the package; both are default exports. */
async function taskPool(name: 'piscina' | 'tinypool'): Promise<TaskPool> {
  const { default: Pool } = (await import(name)) as { default: TaskPoolClass };
  return new Pool({
    filename: HANDLER.href,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: IN_FLIGHT,
    runtime: 'worker_threads',
  });
}

async function measureTasks(name: 'piscina' | 'tinypool'): Promise<number | null> {
  const pool = await taskPool(name);
  const rate = await measureRun((trade) => pool.run(trade));
  await pool.destroy();
  return rate;
}

async function measurePosts(): Promise<number | null> {
  const worker = new Worker(moduleUrl('lab/post-worker.js'));
  await once(worker, 'online');
  const meter = new Meter();
  const source = trades(everySoOften(meter.isOver));
  await new Promise<void>((resolve) => {
    const send = (): void => {
      const { value, done } = source.next();
      if (done) resolve();
      else worker.postMessage(value);
    };
    worker.on('message', ({ number }: Result) => {
      meter.add(number);
      send();
    });
    for (let i = 0; i < IN_FLIGHT; i++) send();
  });
  await worker.terminate();
  return meter.rate;
}

async function peerOf(peers: Peers, measure: () => Promise<number | null>): Promise<PeerFigure> {
  if (!peers.wanted) return NOT_WANTED;
  try {
    return { value: await measure(), note: '' };
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  }
}

/**
 * KeyedPool with one worker: messages of 100 bytes, a handler that does next to nothing, results returned, 1,024 in flight;
 * beside it piscina and tinypool, and a bare worker with postMessage. Two threads each; the system deals their cores.
 */
export async function benchKeyed(peers: Peers): Promise<Row[]> {
  const none = { p50: null, p99: null, p999: null, unit: UNIT, state: 'several cores', note: '' } as const;
  const figures = {
    structs: await measurePushMany(await startStructs(), trades),
    json: await measurePushMany((await KeyedPool.start({ ...common, key })) as KeyedPool<Line, Result>, lines),
    single: await measureKeyedRun(),
  };
  const others = {
    piscina: await peerOf(peers, () => measureTasks('piscina')),
    tinypool: await peerOf(peers, () => measureTasks('tinypool')),
    postMessage: await peerOf(peers, measurePosts),
  };
  const row = (what: string, value: number | null, name: keyof typeof others): Row =>
    rowOf({ ...none, name: `KeyedPool, ${what}`, value }, { name, ...others[name] });
  return [
    row('structs, pushMany', figures.structs, 'piscina'),
    row('structs, pushMany', figures.structs, 'tinypool'),
    row('structs, pushMany', figures.structs, 'postMessage'),
    row('JSON, pushMany', figures.json, 'piscina'),
    row('JSON, pushMany', figures.json, 'tinypool'),
    row('structs, run', figures.single, 'piscina'),
  ];
}
