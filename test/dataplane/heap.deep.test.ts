import { expect, test } from 'vitest';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { problemsOf, start } from '../support/dataplanes.ts';

/** Bytes of the worker's heap, as its module port says; none before the lcore was first asked. */
function heap(dataplane: RunningDataplane): number {
  const fault = dataplane.snapshot().ports.find(({ name }) => name === 'probe')?.fault;
  return fault === undefined ? Number.POSITIVE_INFINITY : Number(fault.replace('heap ', ''));
}

/** The lowest of the heap's sizes while `packets` more go through: what is left when the garbage was just collected. */
async function lowest(dataplane: RunningDataplane, packets: number): Promise<number> {
  const sent = (): number => dataplane.snapshot().ports.find(({ name }) => name === 'out')?.txPackets ?? 0;
  const until = sent() + packets;
  let low = Number.POSITIVE_INFINITY;
  // A fast machine may send them all before the lcore answers for the first time.
  while (sent() < until || low === Number.POSITIVE_INFINITY) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    low = Math.min(low, heap(dataplane));
  }
  return low;
}

test('10,000,000 packets leave no garbage on the heap of the lcore', async () => {
  const dataplane = await start({
    version: 1,
    ports: {
      in: { type: 'generator', flows: 1000, size: 'imix', learn: false, dstMac: '02:00:00:00:00:02' },
      out: { type: 'null' },
      probe: {
        type: 'module',
        module: new URL('../support/death-port.mjs', import.meta.url).href,
        vlan: { access: 7 },
      },
    },
  });
  const before = await lowest(dataplane, 1_000_000);
  await lowest(dataplane, 9_000_000);
  const after = await lowest(dataplane, 1_000_000);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.ports[1]?.txPackets).toBeGreaterThan(10_000_000);
  // Compiled code and the odd message; a byte a packet would be ten times as much.
  expect(after - before).toBeLessThan(1_000_000);
});
