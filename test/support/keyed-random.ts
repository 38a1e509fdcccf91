import { KeyedPool, type KeyedPoolOptions } from 'ringway/eventdev';
import { Random } from '#build/util/random.js';
import type { Job, Told } from './keyed.ts';

/** Deliveries that kill a worker, and how. */
const DEATHS = ['exit', 'exitLater', 'throwLater', 'exitWritten'];
const LIMIT_MS = 20_000;

function jobOf(random: Random, n: number, keys: number, attempts: number, deadly: boolean): Job {
  const job = { key: random.below(keys), n, ms: random.below(4) };
  if (deadly && random.below(250) === 0) {
    return { ...job, deed: DEATHS[random.below(4)] as string, deaths: random.below(attempts + 1) };
  }
  const choice = random.below(100);
  if (choice < 10) return { ...job, deed: 'sleep' };
  if (choice < 20) return { ...job, deed: 'micro' };
  if (choice < 22) return { ...job, deed: 'spin', ms: random.below(2) };
  return choice < 23 ? { ...job, deed: 'fail', text: 'as told' } : job;
}

async function* later(jobs: readonly Job[]): AsyncGenerator<Job> {
  yield* jobs;
}

/** Runs `jobs` in one of three ways. Returns the results in the order in which they came. */
async function results(pool: KeyedPool<Job, Told>, jobs: readonly Job[], way: number): Promise<Told[]> {
  const all: Told[] = [];
  if (way === 0) {
    await Promise.allSettled(jobs.map((job) => pool.run(job).then((result) => all.push(result))));
    return all;
  }
  try {
    for await (const burst of pool.pushMany(way === 1 ? jobs : later(jobs))) all.push(...burst);
  } catch (error) {
    const { code } = error as { code: string };
    if (code !== 'HANDLER_FAILED' && code !== 'WORKER_DIED') throw error;
  }
  return all;
}

function check(pool: KeyedPool<Job, Told>, jobs: readonly Job[], all: readonly Told[], ordered: boolean): void {
  const { taken, finished, failed, outstanding, workers } = pool.stats();
  const counts = [taken, finished, all.length + failed, outstanding, ...workers.map(({ held }) => held)];
  const expected = [jobs.length, jobs.length, jobs.length, 0, ...workers.map(() => 0)];
  if (counts.join() !== expected.join()) throw new Error(`counts are ${counts}, and should be ${expected}`);
  // A message whose result is written by what kills its worker has a text for a result.
  const told = all.filter((result) => typeof result === 'object');
  if (new Set(told.map(({ n }) => n)).size !== told.length) throw new Error('a result came twice');
  const last = new Map<string | number, number>();
  for (const { key, n = -1 } of ordered ? told : []) {
    if (n <= (last.get(key) ?? -1)) throw new Error(`result ${n} of key ${key} came after ${last.get(key)}`);
    last.set(key, n);
  }
}

/** A pool of random make, with random messages that are slow, fail or kill. Returns how many workers died. */
export async function randomPool(seed: number): Promise<number> {
  const random = new Random(seed);
  const attempts = 1 + random.below(3);
  const order = random.below(4) === 0 ? 'unordered' : 'key';
  const options: KeyedPoolOptions<'json', 'json', Job> = {
    worker: new URL('keyed-worker.mjs', import.meta.url),
    key: ({ key }) => key,
    workers: 1 + random.below(3),
    inFlight: [4, 32, 200, 1024][random.below(4)] as number,
    attempts,
    order,
  };
  const [keys, deadly] = [1 + random.below(60), random.below(2) === 0];
  const jobs = Array.from({ length: 200 + random.below(1000) }, (_, n) => jobOf(random, n, keys, attempts, deadly));
  const pool = await KeyedPool.start<'json', 'json', Job, Told>(options);
  const what = `seed ${seed}, ${JSON.stringify({ ...options, worker: '', keys, deadly, jobs: jobs.length })}`;
  const control = new AbortController();
  const timer = setTimeout(() => {
    control.abort();
    void pool.close({ force: true });
  }, LIMIT_MS);
  try {
    const all = await results(pool, jobs, random.below(3));
    await pool.drain();
    if (control.signal.aborted) throw new Error(`not over after ${LIMIT_MS} ms`);
    check(pool, jobs, all, order === 'key');
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}; ${JSON.stringify(pool.stats())}`, { cause: error });
  } finally {
    clearTimeout(timer);
    await pool.close();
  }
  return pool.stats().workers.reduce((sum, { deaths }) => sum + deaths, 0);
}
