import type { Config } from '../config/types.ts';
import { allocateLcore } from '../lcore/lcore.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { createPool, type Pool } from '../memory/pool.ts';
import { createMpscRing, type Ring } from '../ring/ring.ts';
import { Steering } from '../switch/steering.ts';
import { Switch } from '../switch/switch.ts';
import { LCORE_COUNTERS_BYTES } from '../telemetry/counters.ts';
import { BURST_BYTES, BURSTS_BYTES, type Plan, TX_RING_SLOTS } from './plan.ts';
import type { PipelineData } from './wire.ts';

/** Everything of a dataplane that lies in the arena, before any thread runs over it. */
export interface Machine {
  readonly arena: Arena;
  readonly pool: Pool;
  readonly switch: Switch;
  readonly steering: Steering;
  /** Address of each lcore's words. */
  readonly lcores: readonly number[];
  /** Address of each lcore's block of port counters. */
  readonly counters: readonly number[];
  /** Per lcore: packets that other lcores steer to it. */
  readonly inputs: readonly Ring[];
  /** What each lcore's pipeline is started with. */
  readonly pipelines: readonly PipelineData[];
}

/** How the arena of a machine is made, for tests. */
export interface MachineOptions {
  /** Use the test build of the kernels. */
  readonly debug?: boolean;
  /** Where the arena's regions start. */
  readonly base?: number;
}

/** Allocates a dataplane in a new arena of the planned size. */
export function createMachine(config: Config, plan: Plan, options: MachineOptions = {}): Machine {
  const { budget, buffers } = plan;
  const arena = createArena({ bytes: budget.bytes, budget, ...options });
  const count = config.lcores.length;
  const pool = createPool(arena, { buffers, caches: count });
  const counters = config.lcores.map((_, index) => arena.allocate(`counters ${index}`, LCORE_COUNTERS_BYTES));
  const lcores = config.lcores.map((_, index) =>
    allocateLcore(arena, index, pool.caches[index] ?? 0, counters[index] ?? 0),
  );
  const inputs = lcores.map((_, index) =>
    createMpscRing(arena, { name: `lcore ${index} input`, slots: TX_RING_SLOTS }),
  );
  const bursts = lcores.map((_, index) => arena.allocate(`lcore ${index} bursts`, BURSTS_BYTES));
  const table = new Switch(arena, plan.switch, lcores);
  const steering = new Steering(arena, table.address, table.paths);
  const pipelines = lcores.map(
    (_, index): PipelineData => ({
      cache: pool.caches[index] ?? 0,
      counters: counters[index] ?? 0,
      path: table.paths[index] ?? 0,
      burst: bursts[index] ?? 0,
      faultBurst: (bursts[index] ?? 0) + BURST_BYTES,
      segments: (bursts[index] ?? 0) + 2 * BURST_BYTES,
      ports: plan.switch.ports,
      inputRings: inputs.map(({ address }) => address),
      lcores,
    }),
  );
  return { arena, pool, switch: table, steering, lcores, counters, inputs, pipelines };
}
