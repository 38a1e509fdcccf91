import type { AsyncControl } from '../async/control.ts';
import type { Config, PortConfig } from '../config/types.ts';
import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import { GRO_BYTES } from '../packet/layout.ts';
import { type CaptureFileShare, createCaptureFile, releaseCaptureFile } from '../ports/capture-file.ts';
import type { PortAsync, PortSetup, PortShare } from '../ports/port.ts';
import { createMpscRing, type Ring } from '../ring/ring.ts';
import { Poller } from '../sys/index.ts';
import { type PortCounters, readPortCounters } from '../telemetry/counters.ts';
import { RingwayError } from '../util/errors.ts';
import { HOOK_BYTES } from '../xdp/layout.ts';
import type { Machine } from './machine.ts';
import { TX_RING_SLOTS } from './plan.ts';
import { portTypeOf } from './queue.ts';
import type { PipelineMessage, PortWire } from './wire.ts';

/** A port of the dataplane, as the control thread knows it. */
export interface PortEntry {
  readonly config: PortConfig;
  readonly wire: PortWire;
  readonly share: PortShare;
  readonly txRing: Ring;
  /** What its place had counted when it was made: another port may have been there. */
  readonly before: PortCounters;
}

/** What a port has beside what its type made. */
interface Opened {
  readonly queueLcores: number[];
  readonly txRing: Ring;
  readonly tap?: CaptureFileShare;
  readonly hooks: number;
  readonly gro?: number;
}

/** The ports of a dataplane: opens and closes what they need, and deals their queues to lcores. */
export class PortTable {
  readonly #machine: Machine;
  readonly #config: Config;
  readonly #entries = new Map<string, PortEntry>();
  readonly #tellAll: (message: PipelineMessage) => Promise<unknown>;
  #nextLcore = 0;
  #poller: Poller | undefined;

  /** @param tellAll sends a message to every lcore; without it there are none, as in a benchmark of one thread. */
  constructor(
    machine: Machine,
    config: Config,
    tellAll: (message: PipelineMessage) => Promise<unknown> = () => Promise.resolve(),
  ) {
    this.#machine = machine;
    this.#config = config;
    this.#tellAll = tellAll;
  }

  /** All ports, in the order of their numbers. */
  all(): PortEntry[] {
    return [...this.#entries.values()].sort((a, b) => a.wire.index - b.wire.index);
  }

  /** @throws RingwayError `NOT_FOUND` with the names that there are. */
  get(name: string): PortEntry {
    const entry = this.#entries.get(name);
    if (entry === undefined) {
      const names = [...this.#entries.keys()].join(', ');
      throw new RingwayError('NOT_FOUND', `no port ${JSON.stringify(name)}; there are: ${names}`);
    }
    return entry;
  }

  /** The interface index that XDP programs know a port by: its number, from 1. Undefined when there is no such port. */
  ifindexOf(name: string): number | undefined {
    const entry = this.#entries.get(name);
    return entry === undefined ? undefined : entry.wire.index + 1;
  }

  byIndex(index: number): PortEntry | undefined {
    return this.all().find(({ wire }) => wire.index === index);
  }

  #setup(name: string): PortSetup {
    const { arena, async } = this.#machine;
    return {
      arena,
      name: `port ${name}`,
      seed: this.#config.seed,
      tell: async (key, value) => {
        const { index } = this.get(name).wire;
        await this.#tellAll({ kind: 'set', index, name: key, value });
      },
      ...(async === undefined ? {} : { async: this.#asyncOf(async, name) }),
      poller: () => this.poller(`port ${name}`),
      bell: (queue) => {
        const lcore = this.#machine.lcores[this.get(name).wire.queueLcores[queue] ?? 0] ?? 0;
        return { doorbell: (lcore + LCORE_DOORBELL) >>> 2, parked: (lcore + LCORE_PARKED) >>> 2 };
      },
    };
  }

  #asyncOf(async: AsyncControl, name: string): PortAsync {
    // One lcore sends for all queue pairs of a port.
    const lcoreOf = (queue: number): number => this.get(name).wire.queueLcores[queue] ?? 0;
    return {
      add: (queues) =>
        async.add(
          queues.map((queue) => ({ ...queue, port: name, lcore: () => lcoreOf(queue.sends ? 0 : queue.pair) })),
        ),
      remove: (queues) => async.remove(queues),
      close: () => async.removeAll(name),
      assign: () => async.assign(),
    };
  }

  /**
   * What waits for descriptors, the same for all.
   * @param what wants it, for messages.
   */
  poller(what: string): Poller {
    this.#poller ??= new Poller(this.#machine.arena.handle.memory, what);
    return this.#poller;
  }

  /** Ends the thread that waits for descriptors; no port is left. */
  async close(): Promise<void> {
    await this.#poller?.close();
    this.#poller = undefined;
  }

  #freeIndex(): number {
    const taken = new Set(this.all().map(({ wire }) => wire.index));
    const { ports } = this.#machine.switch.options;
    for (let index = 0; index < ports; index++) if (!taken.has(index)) return index;
    throw new RingwayError('ARENA_FULL', `all ${ports} places for ports are taken; delete one first`);
  }

  /** The lcore of each queue: the configured one, or the next in turn. */
  #dealLcores(config: PortConfig, queues: number): number[] {
    const { length } = this.#config.lcores;
    if (config.lcore !== undefined && config.lcore >= length) {
      throw new RingwayError(
        'BAD_CONFIG',
        `ports.${config.name}.lcore: ${config.lcore}, there are lcores 0 to ${length - 1}`,
      );
    }
    const workers = this.#config.eventdev?.workers ?? [];
    if (config.lcore !== undefined && workers.includes(config.lcore)) {
      throw new RingwayError(
        'BAD_CONFIG',
        `ports.${config.name}.lcore: ${config.lcore} is a worker of the event device; use an lcore that is none`,
      );
    }
    const free = Array.from({ length }, (_, lcore) => lcore).filter((lcore) => !workers.includes(lcore));
    const next = (): number => free[this.#nextLcore++ % free.length] ?? 0;
    return Array.from({ length: Math.max(1, queues) }, () => config.lcore ?? next());
  }

  /**
   * Opens a port; the switch and the lcores do not know it yet.
   * @throws RingwayError what its type throws, or `ARENA_FULL` when there is no room for it.
   */
  add(config: PortConfig): PortEntry {
    if (this.#entries.has(config.name)) {
      throw new RingwayError(
        'BUSY',
        `port ${JSON.stringify(config.name)} exists already; delete it first or take another name`,
      );
    }
    if (config.tap !== undefined && config.queues > 1) {
      throw new RingwayError(
        'BAD_CONFIG',
        `ports.${config.name}.tap: a tap records one queue, and queues is ${config.queues}; use 1`,
      );
    }
    const setup = this.#setup(config.name);
    const index = this.#freeIndex();
    const type = portTypeOf(config.type);
    const share = type.create(setup, config as never);
    let opened: Opened;
    try {
      opened = this.#openRest(setup, config, share.rxQueues);
    } catch (error) {
      type.release?.(setup, share.data);
      throw error;
    }
    const { queueLcores, txRing, tap, hooks, gro } = opened;
    const {
      loss = 0,
      duplicate = 0,
      reorder = 0,
      corrupt = 0,
      delay = 0,
      seed = this.#config.seed + index,
    } = config.fault ?? {};
    const wire: PortWire = {
      index,
      name: config.name,
      type: config.type,
      data: share.data,
      pausable: share.pausable,
      untrusted: share.untrusted ?? false,
      everyQueueSends: share.everyQueueSends ?? false,
      paired: share.paired ?? false,
      queueLcores,
      txRing: txRing.address,
      fault: { loss, duplicate, reorder, corrupt, delay, seed },
      hooks,
      ...(tap === undefined ? {} : { tap }),
      ...(gro === undefined ? {} : { gro }),
    };
    const before = readPortCounters(this.#machine.arena, this.#machine.counters, index);
    const entry = { config, wire, share, txRing, before };
    this.#entries.set(config.name, entry);
    return entry;
  }

  /** Opens all of it, or nothing. */
  #openRest(setup: PortSetup, config: PortConfig, queues: number): Opened {
    const { arena } = this.#machine;
    const queueLcores = this.#dealLcores(config, queues);
    const txRing = createMpscRing(arena, { name: `${setup.name} tx`, slots: TX_RING_SLOTS });
    const regions = [`${setup.name} tx`];
    const allocate = (what: string, bytes: number): number => {
      const address = arena.allocate(`${setup.name} ${what}`, queueLcores.length * bytes);
      regions.push(`${setup.name} ${what}`);
      return address;
    };
    try {
      return {
        queueLcores,
        txRing,
        hooks: allocate('hooks', HOOK_BYTES),
        ...(config.gro ? { gro: allocate('gro', GRO_BYTES) } : {}),
        ...(config.tap === undefined ? {} : { tap: this.#openTap(setup, config.name, config.tap) }),
      };
    } catch (error) {
      for (const region of regions) arena.release(region);
      throw error;
    }
  }

  #openTap(setup: PortSetup, name: string, path: string): CaptureFileShare {
    return createCaptureFile(setup, `ports.${name}.tap`, path, path.endsWith('.pcapng') ? 'pcapng' : 'pcap');
  }

  /** Closes a port that no lcore uses any more. */
  release(name: string): void {
    const { config, wire, share } = this.get(name);
    const setup = this.#setup(name);
    portTypeOf(config.type).release?.(setup, share.data);
    if (wire.tap !== undefined) releaseCaptureFile(setup, wire.tap);
    this.#machine.arena.release(`${setup.name} tx`);
    this.#machine.arena.release(`${setup.name} hooks`);
    if (wire.gro !== undefined) this.#machine.arena.release(`${setup.name} gro`);
    this.#entries.delete(name);
  }
}
