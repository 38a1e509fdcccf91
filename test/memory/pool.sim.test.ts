import { expect, test } from 'vitest';
import { POOL_HEAD, POOL_TAIL, RUN_LENGTH_MASK } from '#build/memory/layout.js';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { type RecycleBench, type RecycleSteps, recycleSimulation, SIM_BUFFERS } from '../support/pool-scenario.ts';

test('recycle ring: every buffer has one owner, and none is lost, in 5,000 schedules', () => {
  expect(recycleSimulation().explore(5_000)).toBeGreaterThan(5_000 * 20);
});

/** Wrong versions of some steps, the schedules within which each must be found, and as what. */
const FAULTS: [string, number, RegExp, (bench: RecycleBench, real: RecycleSteps) => Partial<RecycleSteps>][] = [
  [
    'a run is published before it is written',
    500,
    /takes buffer/,
    (_, real) => {
      const sources = new Map<bigint, number>();
      return {
        poolRecycleWrite(pool, index, source, n) {
          sources.set(index, source);
          real.poolRecyclePublish(pool, index, n);
        },
        poolRecyclePublish: (pool, index, n) => real.poolRecycleWrite(pool, index, sources.get(index) ?? 0, n),
      };
    },
  ],
  [
    'the head is bumped by a load and a store',
    500,
    /takes buffer|are left/,
    ({ u64, pool }, real) => ({
      poolRecycleClaim: () => u64[(pool + POOL_HEAD) >>> 3] ?? 0n,
      poolRecycleWrite(address, index, source, n) {
        u64[(pool + POOL_HEAD) >>> 3] = index + BigInt(n);
        real.poolRecycleWrite(address, index, source, n);
      },
    }),
  ],
  [
    'the tail is bumped by a load and a store',
    500,
    /takes buffer/,
    ({ u64, pool }) => ({
      poolRecycleAdvance(_, index, n) {
        u64[(pool + POOL_TAIL) >>> 3] = index + BigInt(n);
        return true;
      },
    }),
  ],
  [
    'a run is read when its places are free for the next lap already',
    5000,
    /takes buffer/,
    (_, real) => {
      // The scenario reads, then advances: here the advance happens at the read, and the read at the advance.
      const won = new Map<bigint, [number, number]>();
      return {
        poolRecycleRead(pool, index, target, n) {
          if (real.poolRecycleAdvance(pool, index, n)) won.set(index, [target, n]);
        },
        poolRecycleAdvance(pool, index) {
          const mine = won.get(index);
          if (mine === undefined) return false;
          won.delete(index);
          real.poolRecycleRead(pool, index, ...mine);
          return true;
        },
      };
    },
  ],
  [
    'run words carry no index and are cleared by whoever took the run',
    5000,
    /takes buffer|are left/,
    ({ u64, runs }, real) => {
      const runWord = (index: bigint): number => (runs >>> 3) + Number(index % BigInt(SIM_BUFFERS));
      const won = new Map<bigint, number>();
      return {
        poolRecycleRun: (_, index) => Number((u64[runWord(index)] ?? 0n) & BigInt(RUN_LENGTH_MASK)),
        poolRecycleRead(pool, index, target, n) {
          real.poolRecycleRead(pool, index, target, n);
          if (real.poolRecycleAdvance(pool, index, n)) won.set(index, target);
        },
        poolRecycleAdvance(_, index) {
          if (!won.delete(index)) return false;
          u64[runWord(index)] = 0n;
          return true;
        },
      };
    },
  ],
];

test.each(FAULTS)('recycle ring: it is found when %s', (_, budget, reason, fault) => {
  expectFound(explorePlanted(recycleSimulation(fault), budget), reason);
});

test('recycle ring: it is found when a buffer is given twice', () => {
  expectFound(explorePlanted(recycleSimulation(undefined, { giveTwice: true }), 500), /takes buffer|fill/);
});
