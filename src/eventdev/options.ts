import { RingwayError } from '../util/errors.ts';
import { DEPTH_MAX, IN_FLIGHT_MAX, LEVELS_MAX, PORTS_MAX, QUEUES_MAX } from './layout.ts';

/**
 * How events of a queue are handed out: each flow to one port at a time and in order (`atomic`), to any port
 * (`parallel`), all to one port in order (`single-link`), or to any port that has time, and what becomes of them leaves in
 * the order in which they came (`ordered`).
 *
 * A device with an ordered queue knows what became of an event by its turn: the forwards and releases of a port are of
 * the events that it holds in the order of their dequeue, whatever their queues.
 */
export type Schedule = 'atomic' | 'parallel' | 'single-link' | 'ordered';

/**
 * How a busy port chooses what to move. `flow-group`: up to 8 flows at a time, each to where it leaves the lowest load,
 * flows that are on their way counted in, so that ports do not all turn to the same target. `single-flow`: one flow at a
 * time, the smallest that was seen, with 15 bits of flow hash unless told otherwise: finer, and slower to a balance.
 */
export type Migration = 'flow-group' | 'single-flow';

/** What a queue is made of. */
export interface EventQueueOptions {
  readonly schedule: Schedule;
  /**
   * 0 (the highest) to 255, 128 by default; a device has up to 4 different ones. A port gets events of lower priority only
   * when it has none of higher: a queue that always has events starves those below it at the ports they share. An
   * ordered queue has none: its events come after all others.
   */
  readonly priority?: number;
}

/** What a port is made of. */
export interface EventPortOptions {
  /** New events are refused while more credits than this are on loan: 1 to the device's `newEventsLimit`, the default. */
  readonly newEventThreshold?: number;
  /** Events that one call enqueues or dequeues at most: 1 to 128, 32 by default. */
  readonly enqueueDepth?: number;
  readonly dequeueDepth?: number;
  /** A dequeue releases what is left of the one before (the default). Otherwise the application releases each event. */
  readonly implicitRelease?: boolean;
}

/** What an event device is made of. */
export interface EventDeviceOptions {
  /** Prefix of the names of its regions: 1 to 40 bytes. */
  readonly name: string;
  /** How many ports, 1 to 64, or one entry for each. */
  readonly ports: number | readonly EventPortOptions[];
  /** 1 to 16 queues, numbered in this order. */
  readonly queues: readonly EventQueueOptions[];
  /**
   * Events that may be in the device at once: 1 to 16,384, 4,096 by default. Where 128 for each port are more, the
   * credits are as many, since ports keep up to 128 in stock.
   */
  readonly newEventsLimit?: number;
  /** `flow-group` by default. */
  readonly migration?: Migration;
  /** Flow ids are folded to so many bits: 13 (finds imbalances faster) or 15 (the default of `single-flow`). */
  readonly flowHashBits?: 13 | 15;
  /** Of the random first owners of flows. 1 by default. */
  readonly seed?: number;
}

/** The same with every default filled in. */
export interface CheckedOptions {
  readonly name: string;
  readonly ports: readonly Required<EventPortOptions>[];
  readonly queues: readonly Required<EventQueueOptions>[];
  /** The priorities that queues have, from the highest: those of the levels. */
  readonly levels: readonly number[];
  readonly newEventsLimit: number;
  readonly migration: Migration;
  readonly flowHashBits: 13 | 15;
  readonly seed: number;
}

const SCHEDULES: readonly Schedule[] = ['atomic', 'parallel', 'single-link', 'ordered'];
/** As RTE_EVENT_DEV_PRIORITY_NORMAL and _LOWEST. */
export const PRIORITY_DEFAULT = 128;
const PRIORITY_MAX = 255;
const MIGRATIONS: readonly Migration[] = ['flow-group', 'single-flow'];
const NAME_MAX = 40;
const LIMIT_DEFAULT = 4096;
const DEPTH_DEFAULT = 32;

function whole(name: string, field: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RingwayError('BAD_ARGUMENT', `${name}: ${field}=${value}, must be a whole number from ${least} to ${most}`);
}

function oneOf(name: string, field: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new RingwayError(
    'BAD_ARGUMENT',
    `${name}: ${field}=${JSON.stringify(value)}, must be one of ${allowed.join(', ')}`,
  );
}

function checkQueue(name: string, at: string, options: EventQueueOptions): Required<EventQueueOptions> {
  const { schedule, priority = PRIORITY_DEFAULT } = options;
  oneOf(name, `${at}.schedule`, schedule, SCHEDULES);
  if (schedule === 'ordered' && options.priority !== undefined) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: ${at}.priority=${priority}, must be left out: events of ordered queues come after all others`,
    );
  }
  return { schedule, priority: whole(name, `${at}.priority`, priority, 0, PRIORITY_MAX) };
}

/** The different priorities of `queues`, from the highest. */
function levelsOf(name: string, queues: readonly Required<EventQueueOptions>[]): number[] {
  const levelled = queues.filter(({ schedule }) => schedule !== 'ordered');
  const levels = [...new Set(levelled.map(({ priority }) => priority))].sort((a, b) => a - b);
  if (levels.length === 0) return [PRIORITY_DEFAULT];
  if (levels.length <= LEVELS_MAX) return levels;
  throw new RingwayError(
    'BAD_ARGUMENT',
    `${name}: queues have ${levels.length} priorities (${levels.join(', ')}), and may have ${LEVELS_MAX}`,
  );
}

function checkPort(name: string, at: string, options: EventPortOptions, limit: number): Required<EventPortOptions> {
  const { newEventThreshold = limit, enqueueDepth = DEPTH_DEFAULT, dequeueDepth = DEPTH_DEFAULT } = options;
  return {
    newEventThreshold: whole(name, `${at}.newEventThreshold`, newEventThreshold, 1, limit),
    enqueueDepth: whole(name, `${at}.enqueueDepth`, enqueueDepth, 1, DEPTH_MAX),
    dequeueDepth: whole(name, `${at}.dequeueDepth`, dequeueDepth, 1, DEPTH_MAX),
    implicitRelease: options.implicitRelease ?? true,
  };
}

/** What has no default is there: callers in JavaScript may leave it out. */
function requireParts({ name, ports, queues }: EventDeviceOptions): void {
  const bytes = typeof name === 'string' ? Buffer.byteLength(name) : 0;
  if (bytes < 1 || bytes > NAME_MAX) {
    throw new RingwayError('BAD_ARGUMENT', `event device: name=${name}, must be 1 to ${NAME_MAX} bytes`);
  }
  if (typeof ports !== 'number' && !Array.isArray(ports)) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: ports=${ports}, must be a whole number or a list`);
  }
  if (!Array.isArray(queues)) throw new RingwayError('BAD_ARGUMENT', `${name}: queues=${queues}, must be a list`);
}

/**
 * Checks what a device is made of, and fills in the defaults.
 * @throws RingwayError `BAD_ARGUMENT` naming the field.
 */
export function checkOptions(options: EventDeviceOptions): CheckedOptions {
  requireParts(options);
  const { name, ports, queues, newEventsLimit = LIMIT_DEFAULT, migration = 'flow-group', seed = 1 } = options;
  oneOf(name, 'migration', migration, MIGRATIONS);
  const { flowHashBits = migration === 'single-flow' ? 15 : 13 } = options;
  const limit = whole(name, 'newEventsLimit', newEventsLimit, 1, IN_FLIGHT_MAX);
  if (flowHashBits !== 13 && flowHashBits !== 15) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: flowHashBits=${flowHashBits}, must be 13 or 15`);
  }
  whole(name, 'seed', seed, 0, 2 ** 32 - 1);
  const count = typeof ports === 'number' ? ports : ports.length;
  whole(name, 'ports', count, 1, PORTS_MAX);
  whole(name, 'queues.length', queues.length, 1, QUEUES_MAX);
  const checked = queues.map((queue, index) => checkQueue(name, `queues[${index}]`, queue));
  const list = typeof ports === 'number' ? new Array<EventPortOptions>(ports).fill({}) : ports;
  return {
    name,
    ports: list.map((port, index) => checkPort(name, `ports[${index}]`, port, limit)),
    queues: checked,
    levels: levelsOf(name, checked),
    newEventsLimit: limit,
    migration,
    flowHashBits,
    seed,
  };
}
