import { createPool } from 'ringway/memory';
import { POOL_HEAD, POOL_RING_SIZE, POOL_RUNS, POOL_TAIL } from '#build/memory/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { testArena } from './arena.ts';

/** The steps of giving a run to the recycle ring and of taking one. Indexes have 64 bits. */
export interface RecycleSteps {
  poolRecycleClaim(pool: number, n: number): bigint;
  poolRecycleWrite(pool: number, index: bigint, source: number, n: number): void;
  poolRecyclePublish(pool: number, index: bigint, n: number): void;
  poolRecycleTail(pool: number): bigint;
  poolRecycleRun(pool: number, index: bigint): number;
  poolRecycleRead(pool: number, index: bigint, target: number, n: number): void;
  poolRecycleAdvance(pool: number, index: bigint, n: number): number | boolean;
  poolRecycleTake(pool: number, target: number): number;
}

/** Places of the recycle ring and buffers: as few places as there are buffers is the hardest case. */
export const SIM_BUFFERS = 8;
const LCORES = 3;
/** Buffers in a run at most, here. */
const RUN = 3;
const ROUNDS = 6;
const IN_RING = -1;

/** A recycle ring under test, for variants that reach into its words. */
export interface RecycleBench {
  readonly u64: BigUint64Array;
  readonly pool: number;
  /** Address of the run words. */
  readonly runs: number;
}

/**
 * Lcores that hold all buffers of a small pool give runs to the recycle ring and take runs from it. Whatever the
 * order, a buffer has one owner, and at the end all are there. `fault` replaces steps by wrong ones.
 */
export function recycleSimulation(
  fault: (bench: RecycleBench, real: RecycleSteps) => Partial<RecycleSteps> = () => ({}),
  { giveTwice = false } = {},
): Simulation {
  const arena = testArena(1 << 20);
  const { address: pool } = createPool(arena, { buffers: 64, caches: 1 });
  const { u32 } = arena;
  u32[(pool + POOL_RING_SIZE) >>> 2] = SIM_BUFFERS;
  const runs = u32[(pool + POOL_RUNS) >>> 2] ?? 0;
  const scratch = Array.from({ length: LCORES }, (_, lcore) => arena.allocate(`scratch ${lcore}`, 256));
  const real = arena.kernels<RecycleSteps>();
  const k: RecycleSteps = {
    ...real,
    ...fault({ u64: new BigUint64Array(arena.handle.memory.buffer), pool, runs }, real),
  };
  /** By buffer (1 to SIM_BUFFERS): the lcore that holds it, or IN_RING. */
  const owner: number[] = [];
  const held: number[][] = [];

  function take(lcore: number, n: number): void {
    for (let i = 0; i < n; i++) {
      const buffer = u32[((scratch[lcore] as number) >>> 2) + i] ?? 0;
      const from = owner[buffer];
      if (from !== IN_RING) throw new Error(`lcore ${lcore} takes buffer ${buffer}, which ${from ?? 'nobody'} holds`);
      owner[buffer] = lcore;
      held[lcore]?.push(buffer);
    }
  }

  function* run(lcore: number, random: Random): Actor {
    const at = scratch[lcore] as number;
    const mine = held[lcore] as number[];
    for (let round = 0; round < ROUNDS; round++) {
      if (mine.length > 0) {
        const n = 1 + random.below(Math.min(RUN, mine.length));
        const given = mine.splice(0, n);
        given.forEach((buffer, i) => {
          u32[(at >>> 2) + i] = buffer;
          owner[buffer] = IN_RING;
        });
        if (giveTwice && random.below(8) === 0) mine.push(given[0] as number);
        const index = k.poolRecycleClaim(pool, n);
        yield 'claim';
        k.poolRecycleWrite(pool, index, at, n);
        yield 'write';
        k.poolRecyclePublish(pool, index, n);
        yield 'publish';
      }
      const tail = k.poolRecycleTail(pool);
      yield 'tail';
      const n = k.poolRecycleRun(pool, tail);
      yield n === 0 ? IDLE : 'run';
      if (n === 0) continue;
      k.poolRecycleRead(pool, tail, at, n);
      yield 'read';
      const won = k.poolRecycleAdvance(pool, tail, n);
      if (won) take(lcore, n);
      yield won ? 'advance' : 'lose';
    }
  }

  return new Simulation({
    name: 'recycle ring',
    steps: LCORES * ROUNDS * 6,
    setup({ random }) {
      // Indexes start anywhere, often just before the lower half wraps; run words of a lap before are still there.
      const start = random.below(2) === 0 ? 0 : 2 ** 32 - 1 - random.below(20);
      for (const offset of [POOL_HEAD, POOL_TAIL]) {
        u32[(pool + offset) >>> 2] = start;
        u32[(pool + offset + 4) >>> 2] = 0;
      }
      u32.fill(0, runs >>> 2, (runs >>> 2) + SIM_BUFFERS * 2);
      held.length = 0;
      for (let lcore = 0; lcore < LCORES; lcore++) held.push([]);
      for (let buffer = 1; buffer <= SIM_BUFFERS; buffer++) {
        owner[buffer] = buffer % LCORES;
        held[buffer % LCORES]?.push(buffer);
      }
      const actors: Record<string, Actor> = {};
      for (let lcore = 0; lcore < LCORES; lcore++) actors[`lcore ${lcore}`] = run(lcore, random);
      return {
        actors,
        invariant() {
          const fill = ((u32[(pool + POOL_HEAD) >>> 2] ?? 0) - (u32[(pool + POOL_TAIL) >>> 2] ?? 0)) >>> 0;
          if (fill > SIM_BUFFERS) throw new Error(`fill ${fill} of ${SIM_BUFFERS}`);
        },
        finish() {
          for (;;) {
            const n = k.poolRecycleTake(pool, scratch[0] as number);
            if (n === 0) break;
            take(0, n);
          }
          const found = held.reduce((sum, { length }) => sum + length, 0);
          if (found !== SIM_BUFFERS) throw new Error(`${found} of ${SIM_BUFFERS} buffers are left`);
        },
      };
    },
  });
}
