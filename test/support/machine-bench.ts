import { parseConfig, parsePort, parseSetting, parseSteeringRule, parseXdp } from '#build/config/index.js';
import type { Config } from '#build/config/types.js';
import { createMachine, type Machine, stopEvents } from '#build/dataplane/machine.js';
import { Pipeline } from '#build/dataplane/pipeline.js';
import { planDataplane } from '#build/dataplane/plan.js';
import { PortTable } from '#build/dataplane/port-table.js';
import { applySwitchConfig, SteeringRules } from '#build/dataplane/rules.js';
import { inFlight, takeSnapshot } from '#build/dataplane/snapshot.js';
import { loadStages } from '#build/dataplane/stage.js';
import type { PipelineData, PipelineMessage, QueueInfo } from '#build/dataplane/wire.js';
import { XdpControl } from '#build/dataplane/xdp-control.js';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '#build/lcore/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Snapshot } from '#build/telemetry/snapshot.js';
import type { Random } from '#build/util/random.js';

/** Virtual nanoseconds that a poll takes. */
const POLL_NS = 5_000;

export interface MachineBenchOptions {
  /** Buffers instead of the planned number, to see the pool run dry. */
  readonly buffers?: number;
  /** Messages that the lcores never get: a fault planted in the order of things. */
  readonly skip?: readonly PipelineMessage['kind'][];
}

/**
 * A dataplane in one thread and in virtual time: its real pipelines over debug kernels, polled in an order that a seed
 * decides. Control messages reach one lcore after another, with polls of all between.
 */
export class MachineBench {
  readonly config: Config;
  readonly machine: Machine;
  readonly ports: PortTable;
  readonly rules: SteeringRules;
  readonly xdp: XdpControl;
  readonly #random: Random;
  readonly #skip: readonly PipelineMessage['kind'][];
  readonly #pipelines: Pipeline[] = [];
  /** Lcores that have stopped. */
  readonly #stopped = new Set<number>();
  #queues: QueueInfo[] = [];
  #now = 0;

  constructor(source: unknown, random: Random, { buffers, skip = [] }: MachineBenchOptions = {}) {
    this.config = parseConfig(JSON.stringify(source), { file: '/random.yaml' });
    const plan = planDataplane(this.config);
    this.machine = createMachine(this.config, { ...plan, buffers: buffers ?? plan.buffers }, { debug: true });
    this.ports = new PortTable(this.machine, this.config);
    this.rules = new SteeringRules(this.machine.steering, this.ports, this.config);
    this.xdp = new XdpControl(this.machine, this.config, this.ports, (message) => this.#tell(message));
    this.#random = random;
    this.#skip = skip;
  }

  /** An lcore's pipeline, with the stages that its thread would load. */
  async #makePipeline(index: number, data: PipelineData): Promise<Pipeline> {
    const { arena, lcores } = this.machine;
    const { cache, events } = data;
    const stages = events?.isWorker === true ? await loadStages({ arena, lcore: index, cache }, events.stages) : [];
    return new Pipeline({ arena, index, address: lcores[index] ?? 0, data, notify() {} }, stages);
  }

  /** Polls every lcore `polls` times at most, interleaved. */
  poll(polls: number): void {
    const { arena, lcores } = this.machine;
    const actor = function* (bench: MachineBench, index: number): Actor {
      const pipeline = bench.#pipelines[index] as Pipeline;
      for (let left = polls; left > 0 && !bench.#stopped.has(index); left--) {
        bench.#now += POLL_NS;
        arena.u32[((lcores[index] ?? 0) + LCORE_SECONDS) >>> 2] = 1_000_000_000 + Math.floor(bench.#now / 1e9);
        arena.u32[((lcores[index] ?? 0) + LCORE_NANOSECONDS) >>> 2] = bench.#now % 1e9;
        yield pipeline.poll() === 0 ? IDLE : 'poll';
      }
    };
    const simulation = new Simulation({
      name: 'dataplane',
      steps: 1 + polls * lcores.length,
      setup: () => ({ actors: Object.fromEntries(lcores.map((_, index) => [`lcore ${index}`, actor(this, index)])) }),
    });
    simulation.explore(1, this.#random.next());
  }

  /** Tells every lcore, in a random order, with a few polls between. */
  async #tell(message: PipelineMessage): Promise<unknown[]> {
    const answers: unknown[] = [];
    if (this.#skip.includes(message.kind)) return answers;
    const order = [...this.#pipelines.keys()].sort(() => this.#random.below(3) - 1);
    for (const index of order) {
      answers.push(await this.#pipelines[index]?.handle(message));
      this.poll(this.#random.below(4));
    }
    return answers;
  }

  async start(): Promise<void> {
    for (const [index, data] of this.machine.pipelines.entries()) {
      this.#pipelines.push(await this.#makePipeline(index, data));
    }
    for (const port of this.config.ports) this.machine.switch.addPort(this.ports.add(port).wire.index, port);
    applySwitchConfig(this.machine, this.config, this.ports);
    this.rules.replaceAll(this.config.steering);
    for (const { wire } of this.ports.all()) await this.#tell({ kind: 'add', port: wire });
    for (const { name, xdp } of this.config.ports) if (xdp !== undefined) await this.xdp.attach(name, xdp);
    await this.#tell({ kind: 'resume' });
  }

  /** Makes a port run an XDP program, as the configuration has it. */
  async attach(port: string, program: unknown): Promise<void> {
    await this.xdp.attach(port, parseXdp(program, { directory: '/' }));
  }

  async addPort(name: string, source: unknown): Promise<void> {
    const config = parsePort(name, source, { directory: '/' });
    const { wire } = this.ports.add(config);
    this.machine.switch.preparePort(wire.index, config);
    await this.#tell({ kind: 'add', port: wire });
    this.machine.switch.openPort(wire.index);
    if (config.xdp !== undefined) await this.xdp.attach(name, config.xdp);
  }

  async deletePort(name: string): Promise<void> {
    const { index } = this.ports.get(name).wire;
    this.machine.switch.removePort(index);
    await this.#tell({ kind: 'detach', index });
    await this.#tell({ kind: 'remove', index });
    await this.xdp.forget(index);
    this.rules.forgetPort(name);
    this.ports.release(name);
  }

  async set(path: string, value: string): Promise<void> {
    const setting = parseSetting(path, value);
    if (!('port' in setting)) return;
    await this.#tell({
      kind: 'set',
      index: this.ports.get(setting.port).wire.index,
      name: setting.key,
      value: setting.value,
    });
  }

  steer(source: unknown): number {
    return this.rules.add(parseSteeringRule(source));
  }

  get names(): string[] {
    return this.ports.all().map(({ config }) => config.name);
  }

  snapshot(): Snapshot {
    const observed = {
      name: 'bench',
      state: 'running',
      startedAtMs: 0,
      queues: this.#queues,
      loads: [],
      disks: [],
    } as const;
    return takeSnapshot(this.machine, this.ports, [], { ...observed, xdp: this.xdp });
  }

  /** Stops as a dataplane does. @param drainPolls how long it waits for what is in flight. */
  async stop(drainPolls: number): Promise<Snapshot> {
    await this.#tell({ kind: 'quiesce' });
    for (let left = drainPolls; left > 0 && inFlight(this.snapshot().totals) !== 0; left -= 50) this.poll(50);
    await this.#tell({ kind: 'abandon' });
    for (const [index, pipeline] of this.#pipelines.entries()) {
      this.poll(this.#random.below(4));
      this.#queues.push(...pipeline.stop());
      this.#stopped.add(index);
    }
    stopEvents(this.machine);
    const last = this.snapshot();
    for (const name of this.names) this.ports.release(name);
    return last;
  }
}

/** What is wrong with the end of a run; nothing when every packet is accounted for and every buffer is back. */
export function problemsAtEnd(last: Snapshot, machine: Machine): unknown[] {
  const problems: unknown[] = [];
  if (inFlight(last.totals) !== 0) problems.push({ inFlight: inFlight(last.totals) });
  const { buffers, free, inFlight: held, allocWaive, recycleRingFull } = last.pool;
  if (free !== buffers || held !== 0) problems.push({ buffers, free, held });
  if (allocWaive + recycleRingFull !== 0) problems.push({ allocWaive, recycleRingFull });
  for (const { name, fill } of last.rings) if (fill !== 0) problems.push({ [name]: fill });
  problems.push(...machine.arena.damaged());
  problems.push(...machine.arena.regions().filter(({ name }) => name.startsWith('port ')));
  return problems;
}
