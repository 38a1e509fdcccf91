import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { Random } from '#build/util/random.js';
import { problemsOf, start } from '../support/dataplanes.ts';
import { effort } from '../support/effort.ts';
import { MachineBench, problemsAtEnd } from '../support/machine-bench.ts';

const SOURCE = {
  version: 1,
  name: 'guests',
  lcores: 2,
  ports: {
    a: {
      type: 'guest',
      queues: 2,
      lcore: 0,
      ipv4: '10.0.0.1',
      idle: 'park',
      app: { to: '10.0.0.2', rate: '20kpps', flows: 64, size: 100 },
    },
    b: { type: 'guest', layout: 'split', queues: 2, lcore: 1, ipv4: '10.0.0.2', idle: 'park' },
  },
};
/** A guest of which ten do not fit into the room that there is for ports that come later. */
const MORE = { type: 'guest', queues: 2, queueSize: 512, ipv4: '10.0.0.3', idle: 'park' };

const ROUNDS = effort(2, 10);

let dataplane: RunningDataplane;
beforeEach(async () => {
  dataplane = await start(SOURCE);
});
// All that was received or copied was sent or dropped, and every buffer is back.
afterEach(async () => {
  expect(problemsOf(await dataplane.stop())).toEqual([]);
});

const port = (name: string) => dataplane.snapshot().ports.find((candidate) => candidate.name === name);
const received = (name: string): number => port(name)?.rxPackets ?? 0;
const sent = (name: string): number => port(name)?.txPackets ?? 0;
const sentBytes = (): number => port('b')?.txBytes ?? 0;
const linkDown = (): number => port('b')?.drops['link-down'] ?? 0;

/** Waits until `read` gives `more` more than now. */
async function grows(read: () => number, more = 1): Promise<void> {
  const least = read() + more;
  await expect.poll(read, { timeout: 10_000 }).toBeGreaterThanOrEqual(least);
}

test('two guests of two queue pairs talk, and nothing passes a link that is down', async () => {
  await grows(() => received('b'), 1000);
  await dataplane.set('ports.b.link', 'down');
  await grows(linkDown);
  // What was on its way has arrived by now.
  const before = [received('b'), sent('b')] as const;
  const bytes = sentBytes();
  await grows(linkDown, 500);
  expect(received('b')).toBe(before[0]);
  // A burst is counted as sent, and then not: a snapshot may come between.
  expect(Math.abs(sent('b') - before[1])).toBeLessThanOrEqual(32);
  expect(Math.abs(sentBytes() - bytes)).toBeLessThanOrEqual(32 * 100);
  await dataplane.set('ports.b.link', 'up');
  await grows(() => received('b'), 500);
  const down = linkDown();
  await grows(() => received('b'), 500);
  expect(linkDown()).toBe(down);
  await expect(dataplane.set('ports.b.link', 'sideways')).rejects.toThrow(/sideways/);
}, 30_000);

test(`a guest comes and goes ${ROUNDS} times while others talk, and leaves nothing`, async () => {
  await grows(() => received('b'), 100);
  for (let i = 0; i < ROUNDS; i++) {
    await dataplane.addPort('c', { ...MORE, app: { to: '10.0.0.2', rate: '2kpps' } });
    await grows(() => received('c'));
    // The switch knew the port when its guest asked for the first time.
    expect(port('c')?.drops).not.toHaveProperty('vlan');
    await dataplane.deletePort('c');
    await grows(() => received('b'));
  }
}, 30_000);

test('the arena has the same regions before and after a guest', async () => {
  const bench = new MachineBench({ version: 1, lcores: 2, ports: SOURCE.ports }, new Random(1));
  await bench.start();
  const { arena } = bench.machine;
  const regions = (): string[] => arena.regions().map(({ name, bytes }) => `${name} ${bytes}`);
  const before = regions();
  for (const layout of ['split', 'packed', 'split']) {
    await bench.addPort('c', { ...MORE, layout });
    expect(regions().length).toBeGreaterThan(before.length);
    bench.poll(20);
    await bench.deletePort('c');
    expect(regions().sort()).toEqual([...before].sort());
  }
  expect(problemsAtEnd(await bench.stop(100), bench.machine)).toEqual([]);
});
