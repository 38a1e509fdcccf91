import type { Snapshot } from 'ringway';
import { afterEach, expect, test } from 'vitest';
import type { RunningDataplane } from '#dist/dataplane/running.js';
import { problemsOf, start } from '../support/dataplanes.ts';

const INTEGRATIONS = ['defer', 'v3', 'v4', 'vq'] as const;
const ASSIGNMENTS = ['lcore', 'vring', 'dynamic-lcore', 'dynamic-vring'] as const;
const LIMIT = 1500;
const NUMBERED = new URL('../support/numbered-port.mjs', import.meta.url).href;

/** A port that sends numbered frames, and takes them back in their order, or ends the dataplane. */
const numbered = (lcore: number, limit = LIMIT) => ({
  type: 'module',
  module: NUMBERED,
  options: { limit, window: 100 },
  learn: false,
  lcore,
});
const echo = (lcore: number, more: object = {}) => ({
  type: 'guest',
  app: 'forward',
  idle: 'yield',
  learn: false,
  lcore,
  ...more,
});

let dataplane: RunningDataplane | undefined;
afterEach(async () => {
  const last = await dataplane?.stop();
  dataplane = undefined;
  if (last !== undefined) expect(problemsOf(last)).toEqual([]);
});

const asyncOf = (snapshot: Snapshot) => snapshot.async as NonNullable<Snapshot['async']>;
const received = (name: string): number =>
  dataplane?.snapshot().ports.find((port) => port.name === name)?.txPackets ?? 0;

/** Two lcores, each with a guest that sends back what the other lcore's port sent. */
async function runEchoes(options: object, limit = LIMIT, guest: object = {}): Promise<void> {
  dataplane = await start({
    version: 1,
    name: 'async',
    lcores: [{ idle: 'yield' }, { idle: 'yield' }],
    async: { threshold: 128, ...options },
    ports: {
      a: { ...echo(0, guest), vlan: { access: 1 } },
      b: { ...echo(1, { layout: 'split', ...guest }), vlan: { access: 2 } },
      c: { ...numbered(1, limit), vlan: { access: 1 } },
      d: { ...numbered(0, limit), vlan: { access: 2 } },
    },
  });
}

const finished = (limit = LIMIT) =>
  expect.poll(() => [received('c'), received('d')], { timeout: 30_000, interval: 5 }).toEqual([limit, limit]);

test.each(INTEGRATIONS.flatMap((integration) => ASSIGNMENTS.map((assignment) => [integration, assignment] as const)))(
  '%s, %s: what goes to guests and comes back is whole and in order, by engines',
  async (integration, assignment) => {
    await runEchoes({ integration, assignment, engines: 1 + (ASSIGNMENTS.indexOf(assignment) % 2) });
    await finished();
    const { engines, rings, lcores } = asyncOf(dataplane?.snapshot() as Snapshot);
    const sum = (read: (engine: (typeof engines)[number]) => number): number =>
      engines.reduce((all, engine) => all + read(engine), 0);
    expect(sum(({ completed }) => completed)).toBe(sum(({ submitted }) => submitted));
    expect(rings.reduce((all, { offloaded }) => all + offloaded, 0)).toBe(sum(({ submitted }) => submitted));
    expect(sum(({ errors }) => errors)).toBe(0);
    expect(rings).toHaveLength(4);
    for (const { engine, offloaded, copied, inFlight } of rings) {
      // Every frame is one copy here; those below the threshold are the CPU's.
      expect([offloaded + copied, inFlight]).toEqual([LIMIT, 0]);
      if (engine >= 0) expect(offloaded).toBeGreaterThan(LIMIT / 2);
    }
    const deferred = lcores.reduce((all, each) => all + each.deferred, 0);
    if (integration === 'defer') expect(deferred).toBeGreaterThan(0);
    else expect(deferred).toBe(0);
  },
);
