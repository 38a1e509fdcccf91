import type { RunningDataplane, Snapshot } from 'ringway';
import { afterEach, expect, test } from 'vitest';
import { testEngine } from '../support/async-echo.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { someOf } from '../support/effort.ts';

let dataplane: RunningDataplane;
const port = (name: string): Snapshot['ports'][number] | undefined =>
  dataplane.snapshot().ports.find((candidate) => candidate.name === name);
const received = (name: string): number => port(name)?.rxPackets ?? 0;
const ring = (sends: boolean) => dataplane.snapshot().async?.rings.find((each) => each.sends === sends);

// All that was received or copied was sent or dropped, and every buffer is back.
afterEach(async () => {
  await dataplane.deletePort('load');
  expect(problemsOf(await dataplane.stop())).toEqual([]);
});

const ETH0 = { type: 'xen-netfront', backend: 'vif', vlan: { access: 20 }, lcore: 1 };

/** Both ways: the VLAN that packets start in, the port that they are received from in the other one, whether the backend sends. */
const TO_GUEST = { vlan: 10, arrive: 'eth0', sends: true } as const;
const FROM_GUEST = { vlan: 20, arrive: 'vif', sends: false } as const;

/** Frames to or from the guest of a Xen device whose backend has engines. */
async function begin(vlan: number, async: object, front: object, back: object = {}): Promise<void> {
  dataplane = await start({
    version: 1,
    name: 'xen',
    lcores: [{ idle: 'park' }, { idle: 'park' }],
    async,
    ports: {
      load: {
        type: 'generator',
        vlan: { access: vlan },
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

const STAGING = { path: 'staging', txDataLength: 4096, rxDataLength: 65_536 };
const TWO_ENGINES = { integration: 'v4', engines: 2, assignment: 'vring' };

const COPIES = [
  ['to it, a data ring, v4, two queues', TO_GUEST, TWO_ENGINES, { path: 'data-ring', queues: 2 }],
  ['from it, a data ring, v4, two queues', FROM_GUEST, TWO_ENGINES, { path: 'data-ring', queues: 2 }],
  ['from it, staging, v3', FROM_GUEST, { integration: 'v3' }, STAGING],
  ['to it, staging, defer', TO_GUEST, { integration: 'defer' }, STAGING],
  ['from it, pages that stay mapped, defer', FROM_GUEST, { integration: 'defer' }, { path: 'persistent' }],
  ['to it, pages that stay mapped, vq', TO_GUEST, { integration: 'vq' }, { path: 'persistent' }],
] as const;

test.each(someOf(COPIES, 2))(
  'an engine copies for a Xen guest, while integrations change: %s',
  async (_, way, async, front) => {
    await begin(way.vlan, async, front, { queues: 2 });
    await grows(() => received(way.arrive), 200);
    for (const integration of ['v3', 'v4', 'vq', 'defer']) {
      await dataplane.set('async.integration', integration);
      await grows(() => received(way.arrive), 100);
    }
    expect([port('vif')?.fault, port('eth0')?.fault]).toEqual([undefined, undefined]);
    expect(ring(way.sends)).toMatchObject({ port: 'vif', pair: 0, sends: way.sends, lcore: 0 });
    expect(ring(way.sends)?.offloaded).toBeGreaterThan(100);
  },
);

const SLOW = testEngine('./dma-faulty.mjs', { every: 5, polls: 20_000 });
const HANGS = testEngine('./dma-hang.mjs', { how: 'hang' });

const ENDS = [
  ['from it, in an engine that is slow', FROM_GUEST, SLOW],
  ['to it, in an engine that is slow', TO_GUEST, SLOW],
  ['to it, in an engine that hangs', TO_GUEST, HANGS],
  ['from it, in an engine that hangs', FROM_GUEST, HANGS],
] as const;

test.each(someOf(ENDS, 2))(
  'a frontend that goes with copies under way leaves nothing: %s',
  async (_, { vlan, arrive, sends }, engine) => {
    await begin(vlan, { engine, assignment: 'vring' }, STAGING);
    for (let round = 0; round < 3; round++) {
      await grows(() => ring(sends)?.offloaded ?? 0, round === 0 ? 1 : 0);
      await grows(() => (sends ? port('vif')?.txPackets : received('vif')) ?? 0, 20);
      await dataplane.deletePort('eth0');
      expect(dataplane.snapshot().async?.rings).toEqual([]);
      await dataplane.addPort('eth0', { ...ETH0, ...STAGING });
      await grows(() => received(arrive), 20);
    }
  },
);
