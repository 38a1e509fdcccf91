import { AsyncControl } from '../async/control.ts';
import { CTX_BYTES } from '../bpf/layout.ts';
import { createLog } from '../bpf/maps/log.ts';
import type { Config, EventdevConfig } from '../config/types.ts';
import { createEventDevice, type EventDevice } from '../eventdev/device.ts';
import { LCORE_DOORBELL } from '../lcore/layout.ts';
import { allocateLcore } from '../lcore/lcore.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { BUFFER_BYTES, DIRECTORY_BYTES, POOL_BASE, SLOT_PORT } from '../memory/layout.ts';
import { createPool, type Pool, type PoolKernels } from '../memory/pool.ts';
import { createMpscRing, type Ring } from '../ring/ring.ts';
import { Steering } from '../switch/steering.ts';
import { Switch } from '../switch/switch.ts';
import { requireSys, sysAvailable } from '../sys/index.ts';
import { addCounter, LCORE_COUNTERS_BYTES, portCounters } from '../telemetry/counters.ts';
import { COUNTER_DROPS, DROP_STOPPED } from '../telemetry/layout.ts';
import { alignUp } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import { HOOK_BYTES } from '../xdp/layout.ts';
import { BURST_BYTES, BURSTS_BYTES, EVENT_BYTES, type Plan, TX_RING_SLOTS } from './plan.ts';
import type { EventWire, PipelineData, StageWire } from './wire.ts';

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
  /** Spreads the packets over lcores: started. */
  readonly events?: EventDevice;
  /** Copies into and out of guests that engines do; not started. */
  readonly async?: AsyncControl;
  /** Per lcore: what its XDP programs say with trace_printk. */
  readonly logs: readonly number[];
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

/** Makes and starts the event device, if there is to be one. */
function createEvents(arena: Arena, { eventdev }: Config, { events: options }: Plan): EventDevice | undefined {
  if (eventdev === undefined || options === undefined) return undefined;
  const device = createEventDevice(arena, options);
  const stages = eventdev.stages.length + 1;
  for (let stage = 0; stage < stages; stage++) for (const worker of eventdev.workers) device.link(worker, stage);
  txQueuesOf(device.ports, eventdev).forEach((queue, lcore) => {
    if (queue >= 0) device.link(lcore, queue);
  });
  device.start();
  return device;
}

/** By lcore, the queue of packets that leave through its ports: behind those of the stages; -1 for workers. */
function txQueuesOf(lcores: number, { workers, stages }: EventdevConfig): number[] {
  let next = stages.length + 1;
  return Array.from({ length: lcores }, (_, lcore) => (workers.includes(lcore) ? -1 : next++));
}

/** What each lcore must know of the event device. */
function eventWires(
  arena: Arena,
  eventdev: EventdevConfig,
  device: EventDevice,
  lcores: readonly number[],
): EventWire[] {
  const txQueues = txQueuesOf(device.ports, eventdev);
  const stages = eventdev.stages.map(({ module, options, memory: bytes }, index): StageWire => {
    const address = bytes === 0 ? 0 : arena.allocate(`eventdev stage ${index}`, bytes);
    return { url: module, options, field: `eventdev.stages[${index}].module`, memory: { address, bytes } };
  });
  return txQueues.map((queue, lcore): EventWire => {
    const held = arena.allocate(`lcore ${lcore} events`, EVENT_BYTES);
    return {
      port: device.portAddress(lcore),
      bell: (lcores[lcore] ?? 0) + LCORE_DOORBELL,
      isWorker: queue < 0,
      stages,
      txQueues,
      held,
      work: held + BURST_BYTES,
    };
  });
}

const PAGE_BYTES = 4096;
/** A memory of 4 GiB, but for its first page and the directory. */
const ARENA_BYTES_MAX = 2 ** 32 - 2 * DIRECTORY_BYTES;

/**
 * Asks for huge pages behind the packet buffers: each lies in another 4 KiB page or shares it with one more, so that with
 * small pages nearly every packet costs a walk through the page table. Where that cannot be had, nothing is lost but speed.
 */
function adviseBuffers(arena: Arena, { buffers, address }: Pool): void {
  if (!sysAvailable()) return;
  const start = alignUp(arena.u32[(address + POOL_BASE) >>> 2] ?? 0, PAGE_BYTES);
  const bytes = buffers * BUFFER_BYTES - PAGE_BYTES;
  try {
    requireSys('huge pages').adviseHugePages(arena.handle.memory, start, bytes - (bytes % PAGE_BYTES));
  } catch (error) {
    if (!(error instanceof RingwayError)) throw error;
  }
}

/**
 * An arena with room for guests' memory, which takes address space and nothing else until something is mapped there. Where
 * the system refuses so much, one that holds the dataplane itself.
 */
function createWideArena({ budget }: Plan, options: MachineOptions): Arena {
  if (sysAvailable()) {
    try {
      return createArena({ bytes: ARENA_BYTES_MAX - (options.base ?? 0), ...options });
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
    }
  }
  return createArena({ bytes: budget.bytes, budget, ...options });
}

/** Allocates a dataplane in a new arena of the planned size. */
export function createMachine(config: Config, plan: Plan, options: MachineOptions = {}): Machine {
  const { buffers } = plan;
  const arena = createWideArena(plan, options);
  const count = config.lcores.length;
  const pool = createPool(arena, { buffers, caches: count });
  adviseBuffers(arena, pool);
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
  const events = createEvents(arena, config, plan);
  const logs = lcores.map((_, index) => createLog(arena, `lcore ${index} xdp log`));
  const async = config.async === undefined ? undefined : new AsyncControl(arena, config.async, count);
  const wires =
    config.eventdev === undefined || events === undefined ? [] : eventWires(arena, config.eventdev, events, lcores);
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
      ...(wires[index] === undefined ? {} : { events: wires[index] }),
      ...(async === undefined ? {} : { async: async.wire(index) }),
      xdp: {
        context: arena.allocate(`lcore ${index} xdp`, CTX_BYTES),
        hook: arena.allocate(`lcore ${index} xdp hook`, HOOK_BYTES),
        arrivals: arena.allocate(`lcore ${index} xdp arrivals`, BURST_BYTES),
        routes: table.routes,
        log: logs[index] ?? 0,
        seed: config.seed,
      },
    }),
  );
  const optional = { ...(events === undefined ? {} : { events }), ...(async === undefined ? {} : { async }) };
  return { arena, pool, switch: table, steering, lcores, counters, inputs, ...optional, logs, pipelines };
}

/**
 * Stops the event device of a machine whose threads have ended: what is in it is dropped, on the account of the port that
 * it came from or was to leave through, and its buffers go back to the pool.
 */
export function stopEvents({ arena, events, pool, counters }: Machine): void {
  if (events === undefined || !events.running) return;
  const { poolFree, poolFlush } = arena.kernels<PoolKernels>();
  const [cache = 0] = pool.caches;
  const [block = 0] = counters;
  events.stop((slot) => {
    const port = arena.u8[slot + SLOT_PORT] ?? 0;
    addCounter(arena, portCounters(block, port) + COUNTER_DROPS + DROP_STOPPED * 8, 1);
    poolFree(cache, slot, 1);
  });
  poolFlush(cache);
}
