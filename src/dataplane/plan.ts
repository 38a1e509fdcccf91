import { asyncBytes } from '../async/control.ts';
import { asyncQueueBuffers, asyncQueueBytes } from '../async/queue.ts';
import { ASYNC_VIF_BYTES } from '../async/vif.ts';
import { CTX_BYTES } from '../bpf/layout.ts';
import { LOG_BYTES } from '../bpf/maps/log.ts';
import type { Config, PortConfig } from '../config/types.ts';
import type { EventDeviceOptions } from '../eventdev/options.ts';
import { eventDeviceBytes } from '../eventdev/sizes.ts';
import { LCORE_BYTES } from '../lcore/layout.ts';
import { Budget } from '../memory/budget.ts';
import { BURST_MAX, CACHE_SIZE, DIRECTORY_BYTES, SLOT_SHIFT } from '../memory/layout.ts';
import { poolBytes } from '../memory/pool.ts';
import { GRO_BUFFERS_MAX, GRO_BYTES, SEGMENT_BYTES } from '../packet/layout.ts';
import { CAPTURE_FILE_BYTES } from '../ports/capture-file.ts';
import { mpscRingBytes } from '../ring/ring.ts';
import { GROUP_BYTES, OUTPUT_SIZE } from '../switch/layout.ts';
import { type SwitchOptions, switchBytes } from '../switch/switch.ts';
import { LCORE_COUNTERS_BYTES } from '../telemetry/counters.ts';
import { PORTS_MAX } from '../telemetry/layout.ts';
import { RingwayError } from '../util/errors.ts';
import { diskBytes } from '../vhost/disk.ts';
import { HOOK_BYTES } from '../xdp/layout.ts';
import { netRingSlots } from '../xen/ring.ts';
import { portTypeOf } from './queue.ts';
import { xdpBytes } from './xdp-table.ts';

/** Slots of the ring through which other lcores send to a port, or steer to an lcore. */
export const TX_RING_SLOTS = 1024;
/** Bytes of a burst of slots. */
export const BURST_BYTES = BURST_MAX << SLOT_SHIFT;
/** Bytes of an lcore's burst buffers: what it moves, what injected faults held back, segments that it makes. */
export const BURSTS_BYTES = 2 * BURST_BYTES + SEGMENT_BYTES;
/** Bytes that an lcore has for packets in front of an event device: a burst that waits, and one that is sorted. */
export const EVENT_BYTES = BURST_BYTES + GROUP_BYTES;
/** Bytes that an lcore's XDP programs run over. */
const XDP_LCORE_BYTES = CTX_BYTES + HOOK_BYTES + BURST_BYTES + LOG_BYTES;
/** Credits that new packets leave to the copies of those before them, for each lcore. */
const RESERVED_CREDITS = 192;
/** Ports that may be added while the dataplane runs, and what their regions may take. */
const SPARE_PORTS = 16;
const SPARE_BYTES = 32 << 20;

/** The sizes of a dataplane, before anything is allocated. */
export interface Plan {
  readonly buffers: number;
  readonly switch: SwitchOptions;
  readonly events?: EventDeviceOptions;
  readonly budget: Budget;
}

/** What queues of guests take when engines copy for them, by what one of so many descriptors does. */
function sumAsync({ async, ports }: Config, read: (size: number) => number): number {
  if (async === undefined) return 0;
  const of = (port: PortConfig): number => {
    if (port.type === 'guest' || port.type === 'vhost-user') return 2 * port.queues * read(port.queueSize);
    if (port.type !== 'xen-netback') return 0;
    const { queues, ringOrder } = port;
    return queues * (read(netRingSlots('tx', ringOrder)) + read(netRingSlots('rx', ringOrder)));
  };
  return ports.reduce((sum, port) => sum + of(port), 0);
}

/** Arena bytes of a port beside its ring: what its type needs, what it merges with, and a tap. */
function portBytes(port: PortConfig): number {
  const hooks = (port.queues ?? 1) * HOOK_BYTES + 256;
  const gro = port.gro ? (port.queues ?? 1) * GRO_BYTES + 256 : 0;
  const tap = port.tap === undefined ? 0 : CAPTURE_FILE_BYTES;
  return portTypeOf(port.type).bytes(port as never) + gro + tap + hooks;
}

/** How many buffers can be anywhere at once; a packet takes one, longer ones more, which then wait for each other. */
function countBuffers(config: Config): number {
  const lcores = config.lcores.length;
  const ports = config.ports.length;
  const inCaches = lcores * CACHE_SIZE;
  const inBursts = lcores * 3 * BURST_MAX;
  const inOutputs = lcores * (ports + lcores) * OUTPUT_SIZE;
  const inRings = (ports + lcores) * TX_RING_SLOTS;
  const inEvents = config.eventdev === undefined ? 0 : config.eventdev.newEventsLimit + lcores * BURST_MAX;
  const inPorts = config.ports.reduce((sum, port) => sum + (portTypeOf(port.type).buffers?.(port as never) ?? 0), 0);
  const inGro = config.ports.reduce((sum, { gro, queues }) => sum + (gro ? (queues ?? 1) * GRO_BUFFERS_MAX : 0), 0);
  const inCopies = sumAsync(config, asyncQueueBuffers);
  return inCaches + inBursts + inOutputs + inRings + inEvents + inPorts + inGro + inCopies + (config.buffers ?? 0);
}

/** A port for each lcore; a queue for each stage, and one for each lcore that has ports. */
function eventOptions({ eventdev, lcores, seed }: Config): EventDeviceOptions | undefined {
  if (eventdev === undefined) return undefined;
  const { workers, stages, schedule, newEventsLimit, migration, flowHashBits } = eventdev;
  const edge = { newEventThreshold: newEventsLimit - lcores.length * RESERVED_CREDITS };
  return {
    name: 'eventdev',
    ports: lcores.map((_, lcore) => (workers.includes(lcore) ? {} : edge)),
    queues: [
      ...[...stages, 'switch'].map(() => ({ schedule })),
      ...Array.from({ length: lcores.length - workers.length }, () => ({ schedule: 'single-link' as const })),
    ],
    newEventsLimit,
    migration,
    flowHashBits,
    seed,
  };
}

/**
 * Computes what a dataplane needs, each term by name.
 * @throws RingwayError `ARENA_FULL` when it is more than `memory` in the configuration allows, with every term.
 */
export function planDataplane(config: Config): Plan {
  const lcores = config.lcores.length;
  const buffers = countBuffers(config);
  const options: SwitchOptions = {
    ports: Math.min(PORTS_MAX, config.ports.length + SPARE_PORTS),
    lcores,
    macs: config.switch.macs,
    ageing: config.switch.ageing,
    forwardReserved: config.switch.reserved === 'forward',
  };
  const ring = mpscRingBytes(TX_RING_SLOTS) + 256;
  const budget = new Budget()
    .add('pool', poolBytes(buffers, lcores) + 4096, `${buffers} buffers for caches, bursts, outputs and rings`)
    .add('switch', switchBytes(options), `${options.macs} MACs, ${options.ports} ports, ${lcores} paths`)
    .add('rings', (config.ports.length + lcores) * ring, `${config.ports.length} ports and ${lcores} lcores`)
    .add(
      'lcores',
      lcores * (LCORE_BYTES + BURSTS_BYTES + LCORE_COUNTERS_BYTES + XDP_LCORE_BYTES + 2048),
      `${lcores} lcores: words, counters, what XDP programs run over`,
    );
  const events = eventOptions(config);
  if (events !== undefined) {
    budget.add('eventdev', eventDeviceBytes(events) + lcores * (EVENT_BYTES + 256), `${events.newEventsLimit} events`);
    const memory = (config.eventdev?.stages ?? []).reduce((sum, stage) => sum + stage.memory + 256, 0);
    budget.add('stages', memory, 'memory of the stages');
  }
  for (const port of config.ports) budget.add(`port ${port.name}`, portBytes(port), `a ${port.type} port`);
  for (const disk of config.disks) budget.add(`disk ${disk.name}`, diskBytes(disk), disk.file);
  if (config.async !== undefined) {
    const moves = config.ports.reduce((sum, port) => sum + (port.type === 'xen-netback' ? 2 * port.queues : 0), 0);
    const bytes = asyncBytes(config.async, lcores) + sumAsync(config, asyncQueueBytes) + moves * ASYNC_VIF_BYTES;
    budget.add('async', bytes, `${config.async.engines} engines, copies under way`);
  }
  budget.add('xdp', xdpBytes(config), 'maps of XDP programs');
  budget.add('spare', SPARE_BYTES, 'ports added while it runs');
  const total = budget.bytes + DIRECTORY_BYTES;
  if (total > config.memory) {
    throw new RingwayError(
      'ARENA_FULL',
      `${config.name}: needs ${total} bytes, and memory is ${config.memory}; raise \`memory\` or lower one of:\n${budget}`,
    );
  }
  return { buffers, switch: options, ...(events === undefined ? {} : { events }), budget };
}
