import { afterEach, expect, test } from 'vitest';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { Echoes, testEngine } from '../support/async-echo.ts';
import { problemsOf, start } from '../support/dataplanes.ts';

let running: RunningDataplane | undefined;
afterEach(async () => {
  const last = await running?.stop();
  running = undefined;
  if (last !== undefined) expect(problemsOf(last)).toEqual([]);
});

async function echoes(async: object, limit: number, guest: object = {}): Promise<Echoes> {
  const made = await Echoes.start({ async, limit, guest });
  running = made.dataplane;
  return made;
}

test('engines copy, both ways, while integrations change, and a guest comes and goes', async () => {
  const limit = 6000;
  const run = await echoes({ assignment: 'dynamic-vring', engines: 2 }, limit);
  let changes = 0;
  while (run.returned().some((n) => n < limit)) {
    await run.dataplane.set('async.integration', ['v3', 'v4', 'vq', 'defer'][changes % 4] as string);
    if (changes % 4 === 0) await run.dataplane.addPort('e', { type: 'guest', queues: 2, lcore: 0, idle: 'park' });
    if (changes % 4 === 2) await run.dataplane.deletePort('e');
    changes++;
  }
  expect(changes).toBeGreaterThan(3);
  const { engines, rings } = run.async;
  expect(engines.map(({ isShared }) => isShared)).toEqual([true, true]);
  for (const { port, sends, offloaded, copied } of rings.filter((ring) => ring.port !== 'e')) {
    expect([port, sends, offloaded + copied]).toEqual([port, sends, limit]);
    expect(offloaded).toBeGreaterThan(limit / 2);
  }
  expect(run.engines(({ completed }) => completed)).toBe(run.engines(({ submitted }) => submitted));
  await expect(run.dataplane.set('async.integration', 'v5')).rejects.toThrow(
    /"v5" is not an integration; use defer, v3/,
  );
  const completed = run.engines((engine) => engine.completed);
  // Of engines that have ended, too.
  expect((await run.dataplane.stop()).async?.engines.reduce((sum, engine) => sum + engine.completed, 0)).toBe(
    completed,
  );
});

test('an engine that fails now and then, and one that hangs: the CPU copies what they do not', async () => {
  const run = await echoes({ engine: testEngine('./dma-hang.mjs', { how: 'hang' }), assignment: 'vring' }, 400);
  // A port that goes has copies in the engine.
  await run.dataplane.addPort('e', {
    type: 'guest',
    app: { to: '10.0.0.1' },
    ipv4: '10.0.0.9',
    lcore: 0,
    idle: 'park',
  });
  await run.dataplane.deletePort('e');
  await run.finished();
  expect(run.async.engines.map(({ fault }) => fault)).toEqual(
    [0, 1].map((i) => expect.stringContaining(`engine ${i}`)),
  );
  expect(run.engines(({ failed }) => failed)).toBeGreaterThan(0);
});

test('work that is looked at seldom, and often then, is done all the same', async () => {
  const run = await echoes({ integration: 'defer', attempts: 4, delay: 1024 }, 600);
  await run.finished();
  for (const { deferred, done } of run.async.lcores) {
    expect(done).toBeGreaterThan(0);
    // An item stands for all that its queue has under way.
    expect(deferred).toBeGreaterThanOrEqual(done);
  }
});

test('what finds the ring of v4 full is dropped, if it is to be, and counted on the port and on the queue', async () => {
  running = await start({
    version: 1,
    lcores: 2,
    async: { integration: 'v4', ringFull: 'drop' },
    ports: {
      in: { type: 'generator', learn: false, size: 999, lcore: 0 },
      sink: { type: 'guest', app: 'sink', idle: 'park', queueSize: 16, learn: false, lcore: 1 },
    },
  });
  const port = (name: string) => running?.snapshot().ports.find((each) => each.name === name);
  await expect.poll(() => port('sink')?.drops['tx-full'] ?? 0, { timeout: 20_000 }).toBeGreaterThan(100);
  const last = await running.stop();
  const [from, to] = last.ports;
  const ring = last.async?.rings.find(({ sends }) => sends);
  expect(ring?.ringFull).toBeGreaterThan(0);
  expect(to?.drops).toMatchObject({ 'tx-full': ring?.dropped });
  expect((to?.txPackets ?? 0) + Object.values(to?.drops ?? {}).reduce((sum, n) => sum + n, 0)).toBe(from?.rxPackets);
});

test('without engines there is nothing to change', async () => {
  running = await start({ version: 1, name: 'plain', ports: { a: { type: 'null' } } });
  await expect(running.set('async.integration', 'v3')).rejects.toThrow(
    /async.integration: plain has no engines that copy; start it with `async: {}`/,
  );
});
