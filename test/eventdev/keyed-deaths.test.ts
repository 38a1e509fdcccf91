import { attachEventPort, createEventDevice, EVENT_OP, writeEvent } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import * as layout from '#build/eventdev/pool/layout.js';
import { leftBehind } from '#build/eventdev/pool/left-behind.js';
import type { WorkerSetup } from '#build/eventdev/pool/setup.js';
import { testArena } from '../support/arena.ts';
import { type Job, runAll, testPool, until } from '../support/keyed.ts';

const jobs = (n: number, special: (n: number) => Partial<Job>): Job[] =>
  Array.from({ length: n }, (_, i) => ({ key: i % 9, n: i, ...special(i) }));

test.each<[string, Partial<Job>]>([
  ['its handler ends the thread', { deed: 'exit', deaths: 1 }],
  ['the thread ends in the middle of it', { deed: 'exitLater', ms: 5, deaths: 1 }],
  ['nobody catches what a timer throws', { deed: 'throwLater', deaths: 1 }],
  ['the thread ends while the result is written', { deed: 'exitWritten', deaths: 2 }],
])('no message is lost, and none handled twice that had ended: %s', async (_, deed) => {
  const pool = await testPool();
  const mixed = jobs(300, (i) => (i === 150 ? deed : i % 5 === 0 ? { deed: 'sleep', ms: 2 } : {}));
  const results = await runAll(pool, mixed);
  const plain = results.filter((told) => typeof told === 'object');
  expect(results).toHaveLength(300);
  expect(new Set(plain.map(({ n }) => n)).size).toBe(plain.length);
  const special = results.find((told) => told.n === 150) ?? results.find((told) => String(told) === 'written');
  if (typeof special === 'object') expect(special.attempt).toBe(2);
  else expect(special).toBe('written');
  const last = new Map<unknown, number>();
  for (const { key, n } of plain.sort((a, b) => a.from - b.from)) {
    expect(n).toBeGreaterThan(last.get(key) ?? -1);
    last.set(key, n as number);
  }
  expect(pool.stats().workers.reduce((sum, { deaths }) => sum + deaths, 0)).toBe(deed.deaths);
});

test('a message that kills its worker each time fails, and takes no other with it', async () => {
  const pool = await testPool({ workers: 1, attempts: 2 });
  const poison = pool.run({ key: 'bad', deed: 'exit', deaths: 99 });
  const next = pool.run({ key: 'bad', n: 2 });
  const asleep = Array.from({ length: 20 }, (_, n) => pool.run({ key: n, deed: 'sleep', ms: 30, n }));
  await expect(poison).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message:
      'keyed pool: message 1 of key "bad" failed at attempt 2: its worker died each time: it ended with exit code 7',
    sequence: 1,
    attempt: 2,
  });
  expect(await next).toMatchObject({ n: 2, attempt: 1 });
  expect(await Promise.all(asleep)).toHaveLength(20);
  const later = pool.run({ key: 1, deed: 'exitLater', ms: 20, deaths: 99 });
  const others = Array.from({ length: 20 }, (_, n) => pool.run({ key: `x${n}`, deed: 'sleep', ms: 60, n }));
  await expect(later).rejects.toMatchObject({ code: 'WORKER_DIED' });
  // Those that had begun when it died the first time began once more, and no more often.
  expect((await Promise.all(others)).filter(({ attempt }) => attempt > 2)).toEqual([]);
  expect(pool.stats()).toMatchObject({ outstanding: 0, failed: 2, workers: [{ deaths: 4, held: 0 }] });
});

test.each([
  ['throws', /worker 0 with data:.* cannot run: broken module/],
  ['exits', /cannot run: it ended with exit code 9/],
  ['is missing', /cannot run: Cannot find module/],
  ['has no handler', /its default export is no function/],
])('start rejects when the module %s', async (what, reason) => {
  const code = {
    throws: 'throw new Error("broken module")',
    exits: 'process.exit(9)',
    'has no handler': 'export default 5',
  };
  const source = code[what as 'throws'];
  const worker = source === undefined ? '/nowhere/handler.mjs' : `data:text/javascript,${encodeURIComponent(source)}`;
  await expect(testPool({ worker, workers: 1 })).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message: reason && expect.stringMatching(reason),
  });
});

test('workers that die of themselves are not replaced for ever, and what waits fails', async () => {
  const source = 'setTimeout(() => process.exit(4), 20); export default () => new Promise(() => {})';
  const pool = await testPool({ workers: 1, worker: `data:text/javascript,${encodeURIComponent(source)}` });
  await until(() => pool.stats().workers[0]?.deaths === 3);
  await expect(pool.run({ key: 1 })).rejects.toMatchObject({
    code: 'WORKER_DIED',
    message: expect.stringMatching(/worker 0 .* cannot run: it ended with exit code 4/),
  });
  await pool.close();
});

/** A worker's port with 3 events dequeued, of 4 that were sent. */
function abandonedPort() {
  const arena = testArena();
  const device = createEventDevice(arena, {
    name: 'pool',
    ports: [{ implicitRelease: false }, {}],
    queues: [{ schedule: 'atomic' }, { schedule: 'single-link' }],
  });
  device.link(0, 0);
  device.link(1, 1);
  device.start();
  const places = {
    records: arena.allocate('records', 8 * 128),
    stride: 128,
    count: 8,
    messageAt: 64,
    resultAt: 96,
    errors: 0,
    main: arena.allocate('main', 4096),
    workers: [arena.allocate('worker', 8192)],
  };
  const [words] = places.workers as [number];
  const main = attachEventPort(arena, device.portAddress(1));
  const worker = attachEventPort(arena, device.portAddress(0));
  const record = (n: number): number => places.records + n * 128;
  const set = (address: number, value: number): void => {
    arena.u32[address >>> 2] = value;
  };
  for (let n = 0; n < 4; n++) {
    set(record(n) + layout.RECORD_SEQUENCE, 10 - n);
    set(places.main, record(n));
    writeEvent(arena, places.main, { queue: 0, flow: n, op: EVENT_OP.NEW });
    main.enqueue(places.main, 1);
  }
  main.enqueue(places.main, 0);
  // What older bursts left.
  for (let n = 0; n < 32; n++) set(words + layout.WORKER_DEQUEUED + n * 16, record(3));
  expect(worker.dequeue(words + layout.WORKER_DEQUEUED, 3)).toBe(3);
  const out = words + layout.WORKER_OUT;
  return {
    record,
    state: (n: number, state: number) => set(record(n) + layout.RECORD_STATE, state),
    /** Puts record `n` into the outgoing burst. */
    send(n: number): void {
      const count = arena.u32[(words + layout.WORKER_OUTGOING) >>> 2] as number;
      set(out + count * 16, record(n));
      writeEvent(arena, out + count * 16, { queue: 1, flow: 0, op: EVENT_OP.FORWARD });
      set(words + layout.WORKER_OUTGOING, count + 1);
    },
    enqueue: (n: number) => worker.enqueue(out, n),
    find: () => leftBehind(arena, { id: 0, port: worker.address, places } as unknown as WorkerSetup),
    out,
  };
}

test('what a thread left behind is found, wherever it died', () => {
  const { RECORD_HELD, RECORD_RUNNING, RECORD_DONE, RECORD_FAILED, RECORD_QUEUED } = layout;
  const { record, state, send, enqueue, find, out } = abandonedPort();
  // Between the dequeue and the first mark, and in the middle of marking.
  expect(find()).toEqual({ outgoing: [], held: [record(2), record(1), record(0)] });
  state(0, RECORD_HELD);
  expect(find()).toEqual({ outgoing: [], held: [record(2), record(1), record(0)] });
  state(1, RECORD_HELD);
  state(2, RECORD_HELD);
  // Another worker's.
  state(5, RECORD_RUNNING | (1 << layout.RECORD_WORKER_SHIFT));
  state(0, RECORD_RUNNING);
  expect(find()).toEqual({ outgoing: [], held: [record(2), record(1), record(0)] });
  // In the burst, and not done yet.
  send(0);
  expect(find()).toEqual({ outgoing: [], held: [record(2), record(1), record(0)] });
  state(0, RECORD_DONE);
  expect(find()).toEqual({ outgoing: [out], held: [record(2), record(1)] });
  send(1);
  state(1, RECORD_FAILED);
  expect(find()).toEqual({ outgoing: [out, out + 16], held: [record(2)] });
  // Sent, and the burst is not marked empty: whether the main thread has used the records again or not.
  enqueue(2);
  expect(find()).toEqual({ outgoing: [], held: [record(2)] });
  state(0, RECORD_QUEUED);
  expect(find()).toEqual({ outgoing: [], held: [record(2)] });
});
