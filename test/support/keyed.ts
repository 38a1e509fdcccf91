import { KeyedPool, type KeyedPoolOptions } from 'ringway/eventdev';
import { afterEach } from 'vitest';

/** What the tests' handlers take. */
export interface Job {
  readonly key: string | number;
  readonly deed?: string;
  readonly ms?: number;
  readonly text?: string;
  /** Deliveries that kill their worker. */
  readonly deaths?: number;
  readonly bytes?: number;
  readonly n?: number;
}

/** What they return. */
export interface Told extends Job {
  readonly sequence: number;
  readonly attempt: number;
  readonly worker: number;
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

const open = new Set<KeyedPool<Job, Told>>();
afterEach(async () => {
  // A pool that a test has closed rejects as it did there.
  await Promise.allSettled([...open].map((pool) => pool.close({ force: true })));
  open.clear();
});

/** A pool of the tests' handlers, closed after the test. */
export async function testPool(
  options: Partial<KeyedPoolOptions<'json', 'json', Job>> = {},
): Promise<KeyedPool<Job, Told>> {
  const pool = await KeyedPool.start<'json', 'json', Job, Told>({
    worker: new URL('keyed-worker.mjs', import.meta.url),
    key: ({ key }) => key,
    workers: 2,
    ...options,
  });
  open.add(pool);
  return pool;
}

/** All results of `jobs`. */
export async function runAll(pool: KeyedPool<Job, Told>, jobs: Iterable<Job>): Promise<Told[]> {
  const results: Told[] = [];
  for await (const burst of pool.pushMany(jobs)) results.push(...burst);
  return results;
}

/** Waits until `isTrue`, for `ms` milliseconds at most. */
export async function until(isTrue: () => boolean, ms = 5000): Promise<void> {
  for (const end = performance.now() + ms; !isTrue(); ) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
