import type { VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { sitesOf } from '../support/traced.ts';
import { hostileOptions, runHostile, searchFaults } from './support/hostile.ts';
import { HOSTILE_FAULTS } from './support/planted.ts';

const STEPS = 1_000;
const queues: [VirtqueueLayout, number][] = [
  ['split', 1],
  ['split', 4],
  ['split', 64],
  ['packed', 1],
  ['packed', 3],
  ['packed', 7],
  ['packed', 100],
];

// 7 queues of 1,500 runs of 1,000 steps: over 10^7.
test.each(queues)('%s, %i descriptors: 1,500,000 steps with a hostile peer', (layout, size) => {
  let broken = 0;
  for (let seed = 1_000; seed < 2_500; seed++)
    broken += runHostile(hostileOptions(layout, size, seed), seed, STEPS).broken;
  expect(broken).toBeGreaterThan(1_500 * 20);
});

test('a hostile peer reaches nearly every branch of the kernels', async () => {
  const module = await compileTraced({ folders: ['virtio'], branches: true });
  const sites = sitesOf(module).branches;
  const seen = new Uint8Array(sites.length);
  for (const [layout, size] of queues) {
    for (let seed = 0; seed < 100; seed++) {
      for (const branches of runHostile({ ...hostileOptions(layout, size, seed), module }, seed, STEPS).branches) {
        for (const [site, bits] of branches.entries()) seen[site] = (seen[site] as number) | bits;
      }
    }
  }
  // The rings' own kernels: those that work on top of them have tests of their own.
  const ring = /^virtio\/(chain|driver|notify|packed|packed-driver|split|split-driver|state|translate)\.kernel\//;
  const ours = sites.filter(({ where }) => ring.test(where));
  const missing = sites.flatMap(({ where, text }, site) => {
    if (!ring.test(where)) return [];
    const bits = seen[site] as number;
    const ways = [...((bits & 1) === 0 ? ['not taken'] : []), ...((bits & 2) === 0 ? ['taken'] : [])];
    return ways.map((way) => `${where}, never ${way}: ${text}`);
  });
  const reached = 1 - missing.length / (ours.length * 2);
  console.log(`${(reached * 100).toFixed(1)} % of ${ours.length * 2} branches\n${missing.join('\n')}`);
  expect(reached).toBeGreaterThan(0.97);
});

test('the runs that find planted faults find nothing in the kernels as they are', async () => {
  const module = await compileTraced({ folders: ['virtio'] });
  searchFaults('split', module);
  searchFaults('packed', module);
});

test.each(HOSTILE_FAULTS.map((fault) => [fault.layout, fault.what, fault] as const))(
  '%s: it is found when %s',
  async (layout, _, { mutations }) => {
    const module = await compileTraced({ folders: ['virtio'], mutations });
    expect(() => searchFaults(layout, module)).toThrow(/^seed \d+/);
  },
);
