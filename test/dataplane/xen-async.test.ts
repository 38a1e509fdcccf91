import type { RunningDataplane, Snapshot } from 'ringway';
import { afterEach, expect, test } from 'vitest';
import { testEngine } from '../support/async-echo.ts';
import { problemsOf, start } from '../support/dataplanes.ts';

let dataplane: RunningDataplane;
const port = (name: string): Snapshot['ports'][number] | undefined =>
  dataplane.snapshot().ports.find((candidate) => candidate.name === name);
const received = (name: string): number => port(name)?.rxPackets ?? 0;
const ring = () => dataplane.snapshot().async?.rings[0];

// All that was received or copied was sent or dropped, and every buffer is back.
afterEach(async () => {
  await dataplane.deletePort('load');
  expect(problemsOf(await dataplane.stop())).toEqual([]);
});

const ETH0 = { type: 'xen-netfront', backend: 'vif', vlan: { access: 20 }, lcore: 1 };

/** Frames to the guest of a Xen device whose backend has engines. */
async function begin(async: object, front: object, back: object = {}): Promise<void> {
  dataplane = await start({
    version: 1,
    name: 'xen',
    lcores: [{ idle: 'park' }, { idle: 'park' }],
    async,
    ports: {
      load: {
        type: 'generator',
        vlan: { access: 10 },
        lcore: 0,
        rate: '20kpps',
        flows: 64,
        size: [60, 600, 1514].map((size) => ({ size, weight: 1 })),
      },
      eth0: { ...ETH0, ...front },
      vif: { type: 'xen-netback', vlan: { access: 10 }, lcore: 0, ...back },
    },
  });
}

async function grows(read: () => number, more: number): Promise<void> {
  const least = read() + more;
  await expect.poll(read, { timeout: 20_000 }).toBeGreaterThanOrEqual(least);
}

test.each([
  ['staging, defer', { integration: 'defer' }, { path: 'staging', rxDataLength: 65_536 }],
  [
    'a data ring, v4, two queues',
    { integration: 'v4', engines: 2, assignment: 'vring' },
    { path: 'data-ring', queues: 2 },
  ],
  ['pages that stay mapped, vq', { integration: 'vq' }, { path: 'persistent' }],
])('an engine copies to a Xen guest, while integrations change: %s', async (_, async, front) => {
  await begin(async, front, { queues: 2 });
  await grows(() => received('eth0'), 200);
  for (const integration of ['v3', 'v4', 'vq', 'defer']) {
    await dataplane.set('async.integration', integration);
    await grows(() => received('eth0'), 100);
  }
  expect([port('vif')?.fault, port('eth0')?.fault]).toEqual([undefined, undefined]);
  expect(ring()).toMatchObject({ port: 'vif', pair: 0, sends: true, lcore: 0 });
  expect(ring()?.offloaded).toBeGreaterThan(100);
});

test.each([
  ['is slow', testEngine('./dma-faulty.mjs', { every: 5, polls: 20_000 })],
  ['hangs', testEngine('./dma-hang.mjs', { how: 'hang' })],
])('a frontend that goes with copies under way, in an engine that %s, leaves nothing', async (_, engine) => {
  await begin({ engine, assignment: 'vring' }, { path: 'staging', rxDataLength: 65_536 });
  for (let round = 0; round < 3; round++) {
    await grows(() => ring()?.offloaded ?? 0, round === 0 ? 1 : 0);
    await grows(() => port('vif')?.txPackets ?? 0, 20);
    await dataplane.deletePort('eth0');
    expect(dataplane.snapshot().async?.rings).toEqual([]);
    await dataplane.addPort('eth0', { ...ETH0, path: 'staging', rxDataLength: 65_536 });
    await grows(() => received('eth0'), 20);
  }
});
