import { setTimeout as sleep } from 'node:timers/promises';
import { KeyedPool, MessageError } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { type Job, runAll, type Told, testPool, until } from '../support/keyed.ts';

/** Messages of a key neither overlap nor overtake each other. */
function expectOrder(results: readonly Told[]): void {
  const sorted = [...results].sort((a, b) => a.sequence - b.sequence);
  const last = new Map<string | number, Told>();
  for (const told of sorted) {
    const before = last.get(told.key);
    last.set(told.key, told);
    if (before === undefined) continue;
    expect(told.n).toBeGreaterThan(before.n as number);
    // Clocks of threads differ by some microseconds.
    if (told.worker === before.worker) expect(told.from).toBeGreaterThanOrEqual(before.to);
    else expect(told.from).toBeGreaterThan(before.to - 0.5);
  }
}

test('results come back, of one and of many', async () => {
  const pool = await testPool();
  expect(await pool.run({ key: 'a', n: 1 })).toMatchObject({ key: 'a', n: 1, sequence: 1, attempt: 1 });
  await pool.push({ key: 'b' });
  const jobs = Array.from({ length: 5000 }, (_, n) => ({ key: n % 7, n }));
  const results = await runAll(pool, jobs);
  expect(results.map(({ n }) => n as number).sort((a, b) => a - b)).toEqual(jobs.map(({ n }) => n));
  expectOrder(results);
  await pool.drain();
  expect(pool.stats()).toMatchObject({ taken: 5002, finished: 5002, failed: 0, outstanding: 0, room: 1024 });
  const { workers, queueingMicroseconds } = pool.stats();
  expect(workers.reduce((sum, { finished }) => sum + finished, 0)).toBe(5002);
  expect(queueingMicroseconds.measured).toBeGreaterThan(100);
  expect(queueingMicroseconds.highest).toBeGreaterThanOrEqual(queueingMicroseconds.p50);
});

test('keys keep their order under handlers that take random times, on several workers', async () => {
  const pool = await testPool({ workers: 3, inFlight: 200 });
  const random = (n: number): number => Math.imul(n, 2654435761) >>> 24;
  const deeds = ['sleep', 'micro', 'echo', 'sleep'];
  const jobs = Array.from({ length: 1500 }, (_, n) => ({
    key: `account ${n % 41}`,
    n,
    deed: deeds[random(n) % 4] as string,
    ms: random(n + 1) % 4,
  }));
  const results = await runAll(pool, jobs);
  expect(results).toHaveLength(1500);
  expectOrder(results);
  expect(new Set(results.map(({ worker }) => worker)).size).toBe(3);
});

test('one key that is never idle keeps its order', async () => {
  const pool = await testPool({ inFlight: 300 });
  const deeds = ['micro', 'micro', 'echo'];
  const jobs = Array.from({ length: 3000 }, (_, n) => ({ key: 1, n, deed: deeds[n % 3] as string }));
  const results = await runAll(pool, jobs);
  expect(results.map(({ n }) => n)).toEqual(jobs.map(({ n }) => n));
  expectOrder(results);
});

test('other keys go on while a handler of one takes long, also where that one is', async () => {
  const pool = await testPool({ workers: 1 });
  const slow = pool.run({ key: 'slow', deed: 'sleep', ms: 800 });
  const second = pool.run({ key: 'slow', n: 2 });
  const results = await runAll(
    pool,
    Array.from({ length: 500 }, (_, n) => ({ key: n, n })),
  );
  expect(results).toHaveLength(500);
  expect(pool.stats()).toMatchObject({ outstanding: 2, workers: [{ held: 2 }] });
  const [first, after] = [await slow, await second];
  expect(after.from).toBeGreaterThanOrEqual(first.to);
});

test('keys move away from a busy worker while a handler there waits for something', async () => {
  const pool = await testPool();
  let over = false;
  const ended = (): void => {
    over = true;
  };
  pool.run({ key: 'slow', deed: 'sleep', ms: 15_000 }).then(ended, ended);
  await until(() => pool.stats().workers.some(({ held }) => held === 1));
  const from = pool.stats().workers.findIndex(({ held }) => held === 1);
  const echoes = await runAll(
    pool,
    Array.from({ length: 300 }, (_, key) => ({ key })),
  );
  const keys = echoes.filter(({ worker }) => worker === from).map(({ key }) => key);
  expect(keys.length).toBeGreaterThan(20);
  // Only messages of that worker.
  const moved = (): number => pool.stats().workers[from]?.movedAway ?? 0;
  while (moved() === 0 && !over) {
    const jobs = Array.from({ length: 2000 }, (_, n) => ({ key: keys[n % 20] as number, n, deed: 'spin', ms: 0.02 }));
    expectOrder(await runAll(pool, jobs));
  }
  expect([over, pool.stats().workers[from]?.held]).toEqual([false, 1]);
});

test('unordered messages of one kind run at several workers at once', async () => {
  const pool = await testPool({ order: 'unordered' });
  const results = await runAll(
    pool,
    Array.from({ length: 40 }, (_, n) => ({ key: 1, n, deed: 'sleep', ms: 100 })),
  );
  expect(new Set(results.map(({ worker }) => worker)).size).toBe(2);
  expect(Math.max(...results.map(({ from }) => from))).toBeLessThan(Math.min(...results.map(({ to }) => to)));
});

test('push waits for room, and keeps one promise while there is some', async () => {
  const pool = await testPool({ workers: 1, inFlight: 4 });
  const pushes = Array.from({ length: 4 }, (_, n) => pool.push({ key: n, deed: 'sleep', ms: 400 }));
  expect(new Set(pushes).size).toBe(1);
  let taken = 0;
  const waiting = [5, 6].map((key) => pool.push({ key, n: key }).then(() => taken++));
  const result = pool.run({ key: 7, n: 7 });
  await sleep(60);
  expect([taken, pool.stats().room]).toEqual([0, 0]);
  await Promise.all(waiting);
  expect(taken).toBe(2);
  expect(await result).toMatchObject({ n: 7, sequence: 7 });
  await pool.drain();
  expect(pool.stats().outstanding).toBe(0);
});

test('pushMany reads its source only as there is room, and as bursts are asked for', async () => {
  const pool = await testPool({ workers: 1, inFlight: 16 });
  let read = 0;
  let returned = false;
  async function* source(): AsyncGenerator<Job> {
    try {
      for (;;) yield { key: read++ };
    } finally {
      returned = true;
    }
  }
  const bursts = pool.pushMany(source());
  await sleep(20);
  expect(read).toBe(0);
  let seen = 0;
  for await (const burst of bursts) {
    seen += burst.length;
    expect(read - seen).toBeLessThanOrEqual(16 + 1);
    if (seen > 100) break;
  }
  expect(returned).toBe(true);
  const before = read;
  await pool.drain();
  expect(read).toBe(before);
});

test('done runs all messages through, and several calls share the room', async () => {
  const pool = await testPool({ inFlight: 64 });
  const jobs = (n: number): Job[] => Array.from({ length: n }, (_, key) => ({ key }));
  expect(
    await Promise.all([pool.pushMany(jobs(3000)).done(), pool.pushMany(jobs(2000)).done(), pool.pushMany([]).done()]),
  ).toEqual([3000, 2000, 0]);
  expect(await Promise.all([pool.run({ key: 1, n: 1 }), runAll(pool, jobs(100))])).toMatchObject([
    { n: 1 },
    { length: 100 },
  ]);
});

test.each(['fail', 'reject'])('an error of a handler names the message (%s)', async (deed) => {
  const pool = await testPool({ workers: 1 });
  await pool.push({ key: 'a' });
  const error = await pool.run({ key: 'b', deed, text: 'no such account' }).catch((reason) => reason);
  expect(error).toBeInstanceOf(MessageError);
  expect(error).toMatchObject({
    code: 'HANDLER_FAILED',
    message: 'keyed pool: message 2 of key "b" failed at attempt 1: no such account',
    key: 'b',
    sequence: 2,
    attempt: 1,
    cause: { name: 'TypeError', message: 'no such account', stack: expect.stringContaining('keyed-worker.mjs') },
  });
  expect(await pool.run({ key: 'b', n: 5 })).toMatchObject({ n: 5 });
});

test('errors of push go to onError, and without it to the next drain', async () => {
  const errors: MessageError[] = [];
  const told = await testPool({ messageBytes: 4096, onError: (error) => errors.push(error) });
  await told.push({ key: 1, deed: 'fail', text: 'x'.repeat(3000) });
  await told.push({ key: 2, deed: 'fail', text: 'two' });
  await told.drain();
  expect(errors.map(({ key }) => key).sort()).toEqual([1, 2]);
  expect(errors.find(({ key }) => key === 1)?.message).toMatch(/: x{700,}$/);
  expect(told.stats().failed).toBe(2);
  const silent = await testPool({ workers: 1 });
  await silent.push({ key: 1, deed: 'fail', text: 'one' });
  await silent.push({ key: 1, deed: 'fail', text: 'two' });
  await expect(silent.drain()).rejects.toThrow('message 1 of key 1 failed at attempt 1: one');
  await silent.drain();
  await silent.push({ key: 1, deed: 'fail', text: 'three' });
  await expect(silent.close()).rejects.toThrow('three');
});

test('a pool can be used and closed from where it calls its user', async () => {
  const seen: unknown[] = [];
  const pool = await testPool({
    workers: 1,
    key(message) {
      if (message.n === 1) pool.push({ key: 'from key', n: 2 });
      return message.key;
    },
    onError(error) {
      seen.push(error.code);
      if (error.code === 'HANDLER_FAILED') pool.close({ force: true });
    },
  });
  await pool.push({ key: 'outer', n: 1 });
  await pool.drain();
  expect(pool.stats()).toMatchObject({ taken: 2, finished: 2 });
  const many = Array.from({ length: 40 }, (_, n) => ({
    key: n,
    n: 5,
    ...(n === 3 ? { deed: 'fail', text: 'last' } : {}),
  }));
  const calls = many.map((job, n) => (n % 2 === 1 ? pool.push(job) : pool.run(job)));
  const settled = await Promise.allSettled(calls);
  await pool.close();
  expect(seen.slice(0, 2)).toEqual(['HANDLER_FAILED', 'CLOSED']);
  expect(settled.at(-2)).toMatchObject({ status: 'rejected', reason: { code: 'CLOSED' } });
  expect(pool.stats().outstanding).toBe(0);
});

test('pushMany goes on after a failure, and throws it at its end', async () => {
  const pool = await testPool();
  const jobs = Array.from({ length: 300 }, (_, n) => ({
    key: n,
    n,
    ...(n === 5 ? { deed: 'fail', text: 'five' } : {}),
  }));
  let seen = 0;
  const all = async (): Promise<void> => {
    for await (const burst of pool.pushMany(jobs)) seen += burst.length;
  };
  await expect(all()).rejects.toThrow('message 6 of key 5 failed at attempt 1: five');
  expect(seen).toBe(299);
});

test('what cannot be sent is refused, and named', async () => {
  const pool = await testPool({ workers: 1, messageBytes: 100 });
  await expect(pool.push({ key: 1, text: 'é'.repeat(60) })).rejects.toThrow(
    /message takes 139 bytes as JSON, 100 are allowed \(messageBytes\)/,
  );
  await expect(pool.push({ key: undefined as unknown as string })).rejects.toThrow(
    'key(message) returned undefined (undefined), must be a string, a number or a bigint',
  );
  await expect(pool.push({ key: 1, n: 5n as unknown as number })).rejects.toThrow(/cannot be written as JSON/);
  await expect(pool.run({ key: 1, deed: 'large', bytes: 200 })).rejects.toThrow(/result takes 202 bytes as JSON/);
  await expect(pool.run({ key: 1, deed: 'odd' })).rejects.toThrow(/result cannot be written as JSON/);
  const some = [{ key: 1 }, { key: 2 }, { key: 3, text: 'x'.repeat(200) }, { key: 4 }];
  const seen: unknown[] = [];
  await expect(
    (async () => {
      for await (const burst of pool.pushMany(some)) seen.push(...burst);
    })(),
  ).rejects.toThrow(/message takes/);
  expect(seen).toHaveLength(2);
  expect(pool.stats()).toMatchObject({ taken: 4, outstanding: 0 });
});

test('a signal withdraws what waits for room, and leaves what was taken in', async () => {
  const pool = await testPool({ workers: 1, inFlight: 1 });
  const reason = new Error('changed my mind');
  const control = new AbortController();
  const { signal } = control;
  const running = pool.run({ key: 1, deed: 'sleep', ms: 100, n: 1 }, { signal });
  const waiting = [pool.push({ key: 2 }, { signal }), pool.run({ key: 3 }, { signal })];
  const many = pool.pushMany(
    Array.from({ length: 50 }, (_, key) => ({ key })),
    { signal },
  );
  const asked = many.next();
  control.abort(reason);
  for (const call of [
    running,
    ...waiting,
    asked,
    pool.push({ key: 4 }, { signal }),
    pool.run({ key: 4 }, { signal }),
  ]) {
    await expect(call).rejects.toBe(reason);
  }
  await pool.drain();
  expect(pool.stats()).toMatchObject({ taken: 1, finished: 1, failed: 0 });
});

test('a source that never answers keeps nobody waiting when nothing is wanted of it', async () => {
  const pool = await testPool({ workers: 1 });
  async function* source(): AsyncGenerator<Job> {
    yield { key: 1, n: 1 };
    await new Promise(() => {});
  }
  for await (const burst of pool.pushMany(source())) {
    expect(burst).toMatchObject([{ n: 1 }]);
    break;
  }
  const control = new AbortController();
  const bursts = pool.pushMany(source(), { signal: control.signal });
  await bursts.next();
  const asked = bursts.next();
  control.abort(new Error('enough'));
  await expect(asked).rejects.toThrow('enough');
  expect(await bursts.next()).toEqual({ done: true, value: undefined });
});

test('a closed pool takes in nothing, and has finished what it took in', async () => {
  const pool = await testPool();
  const results = Array.from({ length: 50 }, (_, key) => pool.run({ key, deed: 'sleep', ms: 20 }));
  const closed = pool[Symbol.asyncDispose]();
  await expect(pool.push({ key: 1 })).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(pool.run({ key: 1 })).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(pool.pushMany([{ key: 1 }]).done()).rejects.toMatchObject({ code: 'CLOSED' });
  await closed;
  expect(await Promise.all(results)).toHaveLength(50);
  await pool.close();
});

test('a handler that does not come back is named, the others go on, and close can be forced', async () => {
  const seen: unknown[] = [];
  const pool = await testPool({ onUnattended: (worker) => seen.push(worker) });
  const stuck = pool.run({ key: 'stuck', deed: 'spin', ms: 60_000 });
  const behind = pool.run({ key: 'stuck' });
  await until(() => seen.length > 0, 2500);
  const [{ worker }] = seen as [{ worker: number }];
  expect(seen).toMatchObject([{ message: { key: 'stuck', sequence: 1, attempt: 1 } }]);
  expect(pool.stats().workers[worker]?.unattended).toMatchObject({ message: { key: 'stuck', sequence: 1 } });
  expect(pool.stats().workers[1 - worker]?.unattended).toBe(undefined);
  // Of many keys, those at the other worker come back.
  const others = Array.from({ length: 60 }, (_, key) => pool.run({ key }));
  let back = 0;
  for (const other of others) other.then(() => back++).catch(() => {});
  await until(() => back > 10);
  const failed = Promise.allSettled([stuck, behind, ...others]);
  const control = new AbortController();
  const closed = pool.close({ signal: control.signal });
  control.abort();
  await closed;
  const [first, second] = await failed;
  expect([first, second]).toMatchObject([
    { reason: { code: 'CLOSED', key: 'stuck', sequence: 1 } },
    { reason: { code: 'CLOSED', key: 'stuck', sequence: 2 } },
  ]);
});

test.each([
  [{ worker: 5 }, /worker must be the URL or path/],
  [{ key: undefined }, /key must be a function/],
  [{ order: 'any' }, /order="any", must be key or unordered/],
  [{ workers: 64 }, /workers=64, must be a whole number from 1 to 63/],
  [{ inFlight: 0 }, /inFlight=0/],
  [{ messageBytes: 10 }, /messageBytes=10/],
  [{ attempts: 0 }, /attempts=0/],
  [{ message: 'xml' }, /message="xml", must be json or the fields of a struct/],
  [{ message: { a: 'u7' } }, /message: field a is "u7", must be one of u8/],
  [{ result: {} }, /result: a struct needs a field/],
])('options %o are refused', async (options, reason) => {
  const all = { worker: 'nowhere.mjs', key: () => 1, ...options };
  await expect(KeyedPool.start(all as never)).rejects.toThrow(reason);
});

test('structs cross as plain objects, with keys of all kinds', async () => {
  const shape = { account: 'u64', amount: 'f64', memo: { utf8: 20 }, ok: 'bool', raw: { bytes: 4 } } as const;
  const pool = await KeyedPool.start({
    worker: new URL('../support/keyed-mirror.mjs', import.meta.url),
    key: ({ account }) => account,
    workers: 1,
    message: shape,
    result: shape,
  });
  const message = { account: 2n ** 63n, amount: -0.5, memo: 'Zürich', ok: true, raw: Uint8Array.of(1, 2, 3) };
  expect(await pool.run(message)).toEqual(message);
  await expect(pool.run({ ...message, memo: 'x'.repeat(21) })).rejects.toThrow(
    `keyed pool: message: memo="${'x'.repeat(21)}", must be well-formed text of up to 20 bytes of UTF-8`,
  );
  // @ts-expect-error the type of a message follows from the fields
  await expect(pool.run({ ...message, ok: 1 })).rejects.toThrow('ok=1, must be true or false');
  await pool.close();
  const none = await KeyedPool.start({
    worker: new URL('../support/keyed-mirror.mjs', import.meta.url),
    order: 'unordered',
    workers: 1,
    result: 'none',
  });
  expect(await none.run({ a: 1 })).toBe(undefined);
  await none.close();
});
