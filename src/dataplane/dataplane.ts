import { availableParallelism } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { Integration } from '../async/transmit.ts';
import { parsePort, parseSetting, parseSteeringRule, parseXdp, type Setting } from '../config/index.ts';
import type { Config, DiskConfig, IdleStrategy } from '../config/types.ts';
import type { MapSummary, SteeringEntry, XdpAttachment, XdpReport } from '../control/target.ts';
import { LCORE_SECONDS } from '../lcore/layout.ts';
import { type Lcore, startLcore } from '../lcore/lcore.ts';
import type { Snapshot } from '../telemetry/snapshot.ts';
import { RingwayError } from '../util/errors.ts';
import { type Disk, startDisk } from '../vhost/disk.ts';
import { writeDump } from './dump.ts';
import { EventsWatch } from './events-snapshot.ts';
import { createMachine, type Machine, stopEvents } from './machine.ts';
import { planDataplane } from './plan.ts';
import { type PortEntry, PortTable } from './port-table.ts';
import { LCORE_MODULE } from './prepare.ts';
import { applySwitchConfig, SteeringRules } from './rules.ts';
import type { RunningDataplane } from './running.ts';
import { busyNs, inFlight, takeSnapshot } from './snapshot.ts';
import type { PipelineMessage, QueueInfo, TraceEvent } from './wire.ts';
import { XdpControl } from './xdp-control.ts';
import { XdpWatch } from './xdp-watch.ts';

/** How often the control thread looks at its lcores, in milliseconds. */
const WATCH_MS = 50;
/** One that no input ends looks each so many times. */
const CALM_LOOKS = 4;
const AGE_MS = 1000;
/** How long packets in flight may take to get out after the sources have stopped. */
const DRAIN_MS = 2000;

/** The types of port that have a setting; every port has those that are not here. */
const SETTING_OWNERS: Readonly<Record<string, readonly string[]>> = {
  rate: ['generator'],
  speed: ['capture'],
  link: ['guest', 'vhost-user'],
};

/** What a driver is told when it asks who a disk is (virtio 1.1, 5.2.6.1). */
const DISK_ID_LENGTH = 20;

type Tracer = (line: string) => void;

/** A running dataplane: threads over a machine, and what the control thread can ask of them. */
class Dataplane implements RunningDataplane {
  readonly name: string;
  readonly finished: Promise<void>;
  readonly #config: Config;
  readonly #machine: Machine;
  readonly #ports: PortTable;
  readonly #rules: SteeringRules;
  readonly #events: EventsWatch | undefined;
  readonly #xdp: XdpControl;
  readonly #xdpWatch: XdpWatch;
  readonly #startedAtMs = Date.now();
  readonly #tracers = new Map<number, Set<Tracer>>();
  #lcores: Lcore[] = [];
  /** By port: the threads that ports brought along. */
  readonly #threads = new Map<string, Lcore>();
  readonly #disks: Disk[] = [];
  #queues: QueueInfo[] = [];
  #loads: number[] = [];
  #busy: number[] = [];
  #busyAtMs = performance.now();
  #looks = 0;
  #state: Snapshot['state'] = 'running';
  /** Everything is up: from now on an lcore that ends is one that died. */
  #started = false;
  /** What is known once all is closed. */
  #last: Snapshot | undefined;
  #aborted: Promise<void> | undefined;
  #timers: NodeJS.Timeout[] = [];
  #settle: { resolve: () => void; reject: (reason: unknown) => void };
  #stopped: Promise<Snapshot> | undefined;
  /** In the last look at the lcores, all finite inputs were done and nothing was in flight. */
  #wasDrained = false;
  /** Changes to ports and rules run one after another. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(config: Config, machine: Machine) {
    this.name = config.name;
    this.#config = config;
    this.#machine = machine;
    this.#ports = new PortTable(machine, config, (message) => this.#tellAll(message));
    this.#rules = new SteeringRules(machine.steering, this.#ports, config);
    this.#xdp = new XdpControl(machine, config, this.#ports, (message) => this.#tellAll(message));
    this.#xdpWatch = new XdpWatch(machine, this.#xdp, this.#ports);
    const { arena, events } = machine;
    const { eventdev } = config;
    this.#events =
      eventdev === undefined || events === undefined ? undefined : new EventsWatch(arena, eventdev, events);
    let settle = { resolve: () => {}, reject: (_: unknown) => {} };
    this.finished = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.finished.catch(() => {});
    this.#settle = settle;
  }

  async start(): Promise<void> {
    try {
      for (const port of this.#config.ports) {
        const { wire } = this.#ports.add(port);
        this.#machine.switch.addPort(wire.index, port);
      }
      applySwitchConfig(this.#machine, this.#config, this.#ports);
      this.#rules.replaceAll(this.#config.steering);
      await this.#machine.async?.start(async (lcore, message) => this.#lcores[lcore]?.call({ kind: 'async', message }));
      await this.#startLcores();
      for (const port of this.#ports.all()) {
        await this.#tellAll({ kind: 'add', port: port.wire });
        await this.#startThread(port);
      }
      await this.#machine.async?.assign();
      for (const { name, xdp } of this.#config.ports) if (xdp !== undefined) await this.#xdp.attach(name, xdp);
      await this.#tellAll({ kind: 'resume' });
      for (const { share } of this.#ports.all()) share.service?.start();
      for (const disk of this.#config.disks) await this.#startDisk(disk);
    } catch (error) {
      await this.#abort();
      throw error;
    }
    this.#started = true;
    this.#watch();
  }

  /** All at once: a thread takes a while to start. */
  async #startLcores(): Promise<void> {
    const starts = await Promise.allSettled(this.#config.lcores.map((_, index) => this.#startLcore(index)));
    for (const start of starts) if (start.status === 'fulfilled') this.#lcores.push(start.value);
    for (const start of starts) if (start.status === 'rejected') throw start.reason;
  }

  async #startLcore(index: number): Promise<Lcore> {
    const { arena, lcores, pipelines } = this.#machine;
    const { cpu, idle = this.#defaultIdle() } = this.#config.lcores[index] ?? {};
    const lcore = await startLcore(arena, lcores[index] ?? 0, {
      index,
      module: LCORE_MODULE,
      data: pipelines[index],
      idle,
      ...(cpu === undefined ? {} : { cpu }),
      onEvent: (event) => this.#onTrace(event as TraceEvent),
    });
    lcore.ended.catch((error) => this.#onDeath(error));
    return lcore;
  }

  /** Starts the thread that a port brings along. */
  async #startThread({ config, share: { thread } }: PortEntry): Promise<void> {
    if (thread === undefined) return;
    const { arena, address, module, data, cpu, idle = this.#defaultIdle() } = thread;
    const label = `the thread of port ${config.name}`;
    const started = await startLcore(arena, address, {
      index: 0,
      label,
      module,
      data,
      idle,
      ...(cpu === undefined ? {} : { cpu }),
    });
    this.#threads.set(config.name, started);
    started.ended.catch((error) => this.#onDeath(error));
  }

  async #startDisk(config: DiskConfig): Promise<void> {
    const name = `disk ${config.name}`;
    const options = { ...config, name, id: config.name.slice(0, DISK_ID_LENGTH) };
    const disk = await startDisk(this.#machine.arena, () => this.#ports.poller(name), options);
    this.#disks.push(disk);
    disk.ended.catch((error) => this.#onDeath(error));
  }

  async #stopThread(port: string): Promise<void> {
    await this.#threads.get(port)?.stop();
    this.#threads.delete(port);
  }

  /** Spinning threads take all they can get: only when that leaves a core for the control thread. */
  #defaultIdle(): IdleStrategy {
    const threads = this.#ports.all().filter(({ share }) => share.thread !== undefined).length;
    return this.#config.lcores.length + threads < availableParallelism() ? 'spin' : 'yield';
  }

  #tellAll(message: PipelineMessage): Promise<unknown[]> {
    return Promise.all(this.#lcores.map((lcore) => lcore.call(message)));
  }

  #watch(): void {
    this.#timers.push(
      setInterval(() => void this.#look().catch((error) => this.#onDeath(error)), WATCH_MS),
      setInterval(() => this.#age(), AGE_MS),
    );
  }

  async #look(): Promise<void> {
    // Only an input that ends by itself ends a run. Without one nobody is in a hurry, and an idle dataplane is to stay idle.
    const hasEnd = this.#ports.all().some(({ share }) => share.finite);
    this.#looks++;
    if (!hasEnd && this.#looks % CALM_LOOKS !== 0) return;
    this.#queues = (await this.#tellAll({ kind: 'info' })).flat() as QueueInfo[];
    this.#updateLoads();
    this.#xdpWatch.look();
    if (!hasEnd) return;
    const snapshot = this.snapshot();
    const isDone = snapshot.ports.every(({ name, done }) => done || !this.#ports.get(name).share.finite);
    const isDrained = isDone && inFlight(snapshot.totals) === 0;
    // Twice in a row: counters of several lcores are not read at one moment.
    if (isDrained && this.#wasDrained && this.#onlyFinite()) this.#settle.resolve();
    this.#wasDrained = isDrained;
  }

  /** True when no source is left that could send for ever. */
  #onlyFinite(): boolean {
    return this.#ports.all().every(({ share }) => share.finite || share.rxQueues === 0 || share.passive === true);
  }

  #updateLoads(): void {
    const now = performance.now();
    const elapsedNs = (now - this.#busyAtMs) * 1e6;
    const busy = this.#lcores.map((lcore) => busyNs(this.#machine, lcore));
    this.#loads = busy.map((ns, index) => Math.min(1, Math.max(0, (ns - (this.#busy[index] ?? 0)) / elapsedNs)));
    this.#busy = busy;
    this.#busyAtMs = now;
  }

  #age(): void {
    const { arena, lcores } = this.#machine;
    this.#machine.switch.age(arena.u32[((lcores[0] ?? 0) + LCORE_SECONDS) >>> 2] ?? 0);
  }

  /** An lcore ended by itself: everything stops, with what is known written down. */
  #onDeath(error: unknown): void {
    if (!this.#started || this.#state !== 'running') return;
    this.#state = 'stopping';
    const dump = writeDump(this.#machine, this.snapshot());
    const message = error instanceof Error ? error.message : String(error);
    const failure = new RingwayError('LCORE_DIED', `${this.name}: ${message}; the state is in ${dump}`, {
      cause: error,
    });
    void this.#endSurvivors()
      .then(() => this.#abort())
      .then(() => this.#settle.reject(failure));
  }

  /** Lets the lcores that still live close their ports, so that what they hold is written out; a while at most. */
  async #endSurvivors(): Promise<void> {
    const end = async (lcore: Lcore): Promise<void> => {
      await lcore.call({ kind: 'abandon' } satisfies PipelineMessage);
      await lcore.stop();
    };
    const ended = Promise.allSettled(this.#lcores.map(end));
    const patience = new AbortController();
    const late = setTimeout(DRAIN_MS, undefined, { signal: patience.signal }).catch(() => {});
    await Promise.race([ended, late]);
    patience.abort();
  }

  /** Ends all threads wherever they are, and closes what is open. */
  #abort(): Promise<void> {
    const aborted =
      this.#aborted ??
      this.#endThreads()
        .then(() => void this.#close())
        .then(() => this.#ports.close());
    this.#aborted = aborted;
    return aborted;
  }

  async #endThreads(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all([...this.#lcores, ...this.#threads.values(), ...this.#disks].map((each) => each.terminate()));
    await this.#machine.async?.close();
  }

  /** Gives back what the ports opened; no thread uses it any more. */
  #close(): Snapshot {
    this.#state = 'stopped';
    stopEvents(this.#machine);
    this.#last = this.snapshot();
    for (const { config } of this.#ports.all()) this.#ports.release(config.name);
    this.#xdp.close();
    return this.#last;
  }

  snapshot(): Snapshot {
    if (this.#last !== undefined) return this.#last;
    return takeSnapshot(this.#machine, this.#ports, this.#lcores, {
      name: this.name,
      state: this.#state,
      startedAtMs: this.#startedAtMs,
      queues: this.#queues,
      loads: this.#loads,
      xdp: this.#xdp,
      disks: this.#disks.map((disk) => ({ name: disk.name.replace('disk ', ''), ...disk.state() })),
      ...(this.#events === undefined ? {} : { events: this.#events }),
    });
  }

  /** Runs `change` after the changes before it. */
  #change<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(() => {
      if (this.#state !== 'running') throw new RingwayError('BUSY', `${this.name} is ${this.#state}`);
      return change();
    });
    this.#queue = result.catch(() => {});
    return result;
  }

  set(path: string, value: string): Promise<void> {
    return this.#change(() => this.#apply(parseSetting(path, value)));
  }

  async #apply(setting: Setting): Promise<void> {
    const table = this.#machine.switch;
    if (setting.key === 'ageing') return table.setAgeing(setting.value);
    if (setting.key === 'reserved') return table.setForwardReserved(setting.value === 'forward');
    if (setting.key === 'integration') return await this.#integrate(setting.value);
    const { wire, config, share } = this.#ports.get(setting.port);
    if (setting.key === 'learn') return table.setLearn(wire.index, setting.value);
    if (setting.key === 'storm') return table.setStorm(wire.index, setting.value);
    const owners = SETTING_OWNERS[setting.key];
    if (owners !== undefined && !owners.includes(config.type)) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `ports.${setting.port}.${setting.key}: it is a ${config.type} port; only a ${owners.join(' or a ')} has that`,
      );
    }
    if (setting.key === 'link') await share.set?.(setting.key, setting.value);
    else await this.#tellAll({ kind: 'set', index: wire.index, name: setting.key, value: setting.value });
  }

  async #integrate(integration: Integration): Promise<void> {
    const { async } = this.#machine;
    if (async === undefined) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `async.integration: ${this.name} has no engines that copy; start it with \`async: {}\` in its configuration`,
      );
    }
    await async.integrate(integration);
  }

  addPort(name: string, source: unknown): Promise<void> {
    return this.#change(async () => {
      const config = parsePort(name, source, { directory: process.cwd() });
      const port = this.#ports.add(config);
      const { wire } = port;
      // An lcore receives as soon as it has the port, and sends there only when all have it.
      this.#machine.switch.preparePort(wire.index, config);
      try {
        await this.#tellAll({ kind: 'add', port: wire });
      } catch (error) {
        this.#machine.switch.removePort(wire.index);
        await this.#tellAll({ kind: 'remove', index: wire.index });
        this.#ports.release(name);
        throw error;
      }
      this.#machine.switch.openPort(wire.index);
      // Last: what a guest sends first is for a switch that knows its port, and for its program.
      try {
        if (config.xdp !== undefined) await this.#xdp.attach(name, config.xdp);
        await this.#machine.async?.assign();
        await this.#startThread(port);
        port.share.service?.start();
      } catch (error) {
        await this.#removePort(name);
        throw error;
      }
    });
  }

  deletePort(name: string): Promise<void> {
    return this.#change(async () => {
      this.#ports.get(name);
      const route = this.#config.switch.routes.find(({ port }) => port === name);
      if (route !== undefined) {
        throw new RingwayError(
          'BUSY',
          `port ${name}: the route ${route.prefix} leads there, and routes stay while it runs`,
        );
      }
      await this.#removePort(name);
    });
  }

  /** First nobody sends to it any more, then it is closed: no packet is left where nobody looks. */
  async #removePort(name: string): Promise<void> {
    const { wire, share } = this.#ports.get(name);
    const { index } = wire;
    this.#machine.switch.removePort(index);
    await share.service?.stop();
    await this.#tellAll({ kind: 'detach', index });
    try {
      await this.#tellAll({ kind: 'remove', index });
    } finally {
      // Before its memory is given back, whatever became of the rest.
      await this.#stopThread(name);
      await this.#xdp.forget(index);
      this.#rules.forgetPort(name);
      this.#ports.release(name);
      this.#tracers.delete(index);
    }
    await this.#machine.async?.assign();
  }

  addSteering(source: unknown): Promise<number> {
    return this.#change(async () => {
      const id = this.#rules.add(parseSteeringRule(source));
      await this.#tellAll({ kind: 'info' });
      return id;
    });
  }

  deleteSteering(id: number): Promise<void> {
    return this.#change(async () => {
      this.#rules.delete(id);
      await this.#tellAll({ kind: 'info' });
    });
  }

  listSteering(): SteeringEntry[] {
    return this.#rules.list();
  }

  attachXdp(port: string, source: unknown): Promise<XdpAttachment> {
    return this.#change(() => this.#xdp.attach(port, parseXdp(source, { directory: process.cwd() })));
  }

  detachXdp(port: string): Promise<void> {
    return this.#change(() => this.#xdp.detach(port));
  }

  listXdp(): XdpAttachment[] {
    return this.#xdp.list();
  }

  listMaps(): MapSummary[] {
    return this.#xdp.listMaps();
  }

  dumpMap(name: string): { readonly key: unknown; readonly value: unknown }[] {
    return this.#xdp.dumpMap(name);
  }

  updateMap(name: string, key: unknown, value: unknown): Promise<void> {
    return this.#change(async () => this.#xdp.updateMap(name, key, value));
  }

  deleteMapEntry(name: string, key: unknown): Promise<void> {
    return this.#change(async () => this.#xdp.deleteMapEntry(name, key));
  }

  watchXdp(onReport: (report: XdpReport) => void): () => void {
    return this.#xdpWatch.add(onReport);
  }

  trace(port: string, onPacket: Tracer): () => void {
    const { index } = this.#ports.get(port).wire;
    const tracers = this.#tracers.get(index) ?? new Set<Tracer>();
    this.#tracers.set(index, tracers);
    tracers.add(onPacket);
    if (tracers.size === 1) void this.#tellAll({ kind: 'trace', index, on: true }).catch(() => {});
    return () => {
      const isLast = tracers.delete(onPacket) && tracers.size === 0;
      // Another port may have the number by now.
      if (isLast && this.#tracers.get(index) === tracers)
        void this.#tellAll({ kind: 'trace', index, on: false }).catch(() => {});
    };
  }

  #onTrace({ index, line }: TraceEvent): void {
    for (const tracer of this.#tracers.get(index) ?? []) tracer(line);
  }

  requestStop(): void {
    this.#settle.resolve();
  }

  stop(): Promise<Snapshot> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<Snapshot> {
    await this.#queue;
    if (this.#state !== 'running') {
      await this.#aborted;
      return this.snapshot();
    }
    this.#state = 'stopping';
    for (const timer of this.#timers) clearInterval(timer);
    try {
      await this.#endTasks();
    } catch (error) {
      await this.#abort();
      this.#settle.reject(error);
      throw error;
    }
    const last = this.#close();
    await this.#ports.close();
    this.#settle.resolve();
    return last;
  }

  /** Lets out what is on its way, then ends the lcores one by one. */
  async #endTasks(): Promise<void> {
    await this.#tellAll({ kind: 'quiesce' });
    await this.#drain();
    for (const { share } of this.#ports.all()) await share.service?.stop();
    for (const disk of this.#disks) await disk.close();
    await this.#tellAll({ kind: 'abandon' });
    const queues: QueueInfo[] = [];
    for (const lcore of this.#lcores) queues.push(...((await lcore.stop()) as QueueInfo[]));
    this.#queues = queues;
    for (const port of this.#threads.keys()) await this.#stopThread(port);
    await this.#machine.async?.close();
  }

  /** Waits until nothing is in flight, a while at most. */
  async #drain(): Promise<void> {
    const until = performance.now() + DRAIN_MS;
    for (let clear = 0; clear < 2 && performance.now() < until; ) {
      await setTimeout(2);
      clear = inFlight(this.snapshot().totals) === 0 ? clear + 1 : 0;
    }
  }
}

/**
 * Starts a dataplane: allocates its arena, opens its ports, starts its lcores, and lets packets in.
 * @throws RingwayError when something in `config` cannot be had; nothing is left open then.
 */
export function startDataplane(config: Config): Promise<RunningDataplane> {
  return startOn(config, createMachine(config, planDataplane(config)));
}

/** As `startDataplane`, over a machine that was made of `config`. */
export async function startOn(config: Config, machine: Machine): Promise<RunningDataplane> {
  const dataplane = new Dataplane(config, machine);
  await dataplane.start();
  return dataplane;
}
