// One case of the XDP bench, in a thread of its own: V8 slows a loop that was optimised for another arena's kernels.
import { existsSync, readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { compileProgram } from '../bpf/jit/compile.ts';
import { CTX_BYTES } from '../bpf/layout.ts';
import { createMap } from '../bpf/maps/create.ts';
import type { BpfMap } from '../bpf/maps/map.ts';
import { loadObject } from '../bpf/object/load.ts';
import type { Program } from '../bpf/program.ts';
import { prove } from '../bpf/verifier/proof.ts';
import { parseConfig } from '../config/index.ts';
import { createMachine, type Machine } from '../dataplane/machine.ts';
import { Pipeline } from '../dataplane/pipeline.ts';
import { planDataplane } from '../dataplane/plan.ts';
import { PortTable } from '../dataplane/port-table.ts';
import { applySwitchConfig } from '../dataplane/rules.ts';
import type { PortWire } from '../dataplane/wire.ts';
import { BURST_MAX } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { OUTPUT_BYTES, OUTPUT_COUNT, OUTPUT_SLOTS, PATH_OUTPUTS } from '../switch/layout.ts';
import { readPortCounters } from '../telemetry/counters.ts';
import { RingwayError } from '../util/errors.ts';
import { moduleUrl } from '../util/module-url.ts';
import { HOOK_CACHE, HOOK_LEAVING, HOOK_LEAVING_COUNT, HOOK_VERDICTS, SORTED_LEAVING } from '../xdp/layout.ts';
import { LoadedObject, type ProgramWire } from '../xdp/object.ts';
import { ProgramThread } from '../xdp/thread.ts';
import { type Measured, measure } from './measure.ts';
import { DEVICES, programOfText } from './xdp-programs.ts';

/** What a case runs: packets of a receive ring through a lcore's poll. */
export interface XdpCase {
  /** A program as text, or the path of an object file; none: the switch gets all packets, and drops them. */
  readonly text?: string;
  readonly object?: string;
  readonly checked: boolean;
  /** Dropped buffers go to another lcore's cache, so that all of them pass through the pool's ring. */
  readonly detour?: boolean;
  /** Where the program's packets are to be found afterwards. */
  readonly ends: 'dropped' | 'sent' | 'redirected' | 'switched';
}

/** What a case measured. */
export interface XdpMeasured extends Measured {
  /** ns a packet of each stage by itself, in the order of the way. */
  readonly stages: Readonly<Record<string, number>>;
}

/** More than L2 holds: at a distance of 2 KiB, 2 MiB in 16 ways hold 1,024 first lines. */
const DESCRIPTORS = 8192;
const FLOWS = 4096;
const WARM_UP_MS = 1000;
const BUFFERS = DESCRIPTORS + 4096;

interface Rig {
  readonly machine: Machine;
  readonly pipeline: Pipeline;
  readonly wires: readonly PortWire[];
  readonly program: ProgramWire | undefined;
}

/** Compiles the case's program over the machine. */
function loadProgram(machine: Machine, { text, object, checked }: XdpCase): ProgramWire | undefined {
  const { arena } = machine;
  const options = { prefix: 'bench', cpus: 1, seed: 1, trusted: !checked, nextNumber: () => 1 };
  if (object !== undefined) {
    if (!existsSync(object)) throw new RingwayError('NOT_FOUND', `no ${object}: install Debian's package xdp-tools`);
    return new LoadedObject(arena, loadObject(readFileSync(object), { file: object }), options).program().wire;
  }
  if (text === undefined) return undefined;
  const program: Program = programOfText('bench', text, text.includes('map 0') ? [DEVICES] : []);
  const maps: BpfMap[] = program.maps.map((definition) => createMap(arena, definition, { cpus: 1, seed: 1 }));
  for (const map of maps) map.set(0, 2);
  const proof = checked ? prove(program) : undefined;
  const module = compileProgram(arena, program, { maps, checked, ...(proof && { proof }) });
  const ranges = arena.allocate('bench ranges', 16);
  return { number: 1, name: 'bench', module, frags: false, checked, ranges, rangeCount: 0 };
}

/** A lcore with two ports on receive rings, in this thread. */
async function makeRig(given: XdpCase): Promise<Rig> {
  const wire = {
    type: 'module',
    module: moduleUrl('lab/wire-port.js').href,
    options: { descriptors: DESCRIPTORS, flows: FLOWS },
  };
  const config = parseConfig(
    JSON.stringify({
      version: 1,
      lcores: given.detour === true ? 2 : 1,
      buffers: BUFFERS,
      ports: { in: { ...wire, lcore: 0 }, out: { type: 'null', lcore: 0 } },
    }),
    { file: 'bench.yaml' },
  );
  const machine = createMachine(config, planDataplane(config));
  const ports = new PortTable(machine, config);
  for (const port of config.ports) machine.switch.addPort(ports.add(port).wire.index, port);
  applySwitchConfig(machine, config, ports);
  const pipeline = new Pipeline({
    arena: machine.arena,
    index: 0,
    address: machine.lcores[0] ?? 0,
    data: machine.pipelines[0],
    notify() {},
  });
  const wires = ports.all().map((entry) => entry.wire);
  const program = loadProgram(machine, given);
  if (program !== undefined) await pipeline.handle({ kind: 'load', program });
  for (const port of wires) await pipeline.handle({ kind: 'add', port });
  if (program !== undefined) await pipeline.handle({ kind: 'attach', index: 0, program: 1 });
  await pipeline.handle({ kind: 'resume' });
  if (given.detour === true) {
    machine.arena.u32[((wires[0]?.hooks ?? 0) + HOOK_CACHE) >>> 2] = machine.pool.caches[1] ?? 0;
  }
  return { machine, pipeline, wires, program };
}

/** What must have become of all packets. */
function check({ machine }: Rig, { ends }: XdpCase, packets: number): void {
  const at = (port: number) => readPortCounters(machine.arena, machine.counters, port);
  const found = {
    dropped: at(0).drops.xdp ?? 0,
    sent: at(0).txPackets,
    redirected: at(1).txPackets,
    switched: at(1).txPackets,
  }[ends];
  if (found === packets) return;
  throw new RingwayError('SYSTEM', `bench: ${found} of ${packets} packets were ${ends}: ${JSON.stringify(at(0))}`);
}

interface StageKernels extends PoolKernels {
  labWireReceive(wire: number, cache: number, slots: number, max: number): number;
  xdpPrepare(hook: number, slots: number, count: number, frags: number): number;
  xdpSort(hook: number, slots: number, count: number): number;
  telemetryCountRx(counters: number, slots: number, count: number, port: number): void;
  switchRedirect(path: number, slots: number, count: number): void;
}

/**
 * ns a packet of each stage by itself: the clock is looked at between the same kernels, and its own cost taken off. What the
 * pool takes is measured alone, and taken off where it is a part.
 */
function measureStages({ machine, wires, program }: Rig): Record<string, number> {
  const { arena } = machine;
  const data = machine.pipelines[0];
  if (program === undefined || data === undefined) return {};
  const kernels = arena.kernels<StageKernels>();
  const thread = new ProgramThread(arena, arena.allocate('bench context', CTX_BYTES), { cpu: 0, clock: 0, seed: 1 });
  thread.add(program);
  const instance = thread.get(1)?.instance;
  const wire = arena.regions().find(({ name }) => name === 'wire 0')?.address ?? 0;
  const { cache, counters, burst, path } = data;
  const hook = wires[0]?.hooks ?? 0;
  const sums = { rx: 0, program: 0, sort: 0, tx: 0 };
  const rounds = 20_000;
  let clock = 0;
  const now = (): number => performance.now();
  for (let round = 0; round < rounds * 2; round++) {
    if (round === rounds) for (const stage of Object.keys(sums)) sums[stage as keyof typeof sums] = 0;
    if (round === rounds) clock = 0;
    const t0 = now();
    const n = kernels.labWireReceive(wire, cache, burst, BURST_MAX);
    kernels.telemetryCountRx(counters, burst, n, 0);
    const t1 = now();
    kernels.xdpPrepare(hook, burst, n, 0);
    instance?.burst(thread.context, burst, n, hook + HOOK_VERDICTS);
    const t2 = now();
    const sorted = kernels.xdpSort(hook, burst, n);
    const t3 = now();
    if (sorted & SORTED_LEAVING) {
      const leaving = arena.u32[(hook + HOOK_LEAVING_COUNT) >>> 2] ?? 0;
      kernels.switchRedirect(path, hook + HOOK_LEAVING, leaving);
      drain(rigOutputs(machine), arena, kernels, cache);
    }
    const t4 = now();
    const t5 = now();
    sums.rx += t1 - t0;
    sums.program += t2 - t1;
    sums.sort += t3 - t2;
    sums.tx += t4 - t3;
    clock += t5 - t4;
  }
  const perPacket = (ms: number): number => Math.max(0, ((ms - clock) * 1e6) / rounds / BURST_MAX);
  const pool = measure(BURST_MAX, () => {
    kernels.poolFree(cache, burst, kernels.poolAlloc(cache, burst, BURST_MAX));
  });
  const both = pool.value ?? 0;
  const recycled = program === undefined ? 0 : both / 2;
  return {
    rx: Math.max(0, perPacket(sums.rx) - recycled),
    pool: both,
    program: perPacket(sums.program),
    verdicts: Math.max(0, perPacket(sums.sort) - recycled),
    tx: perPacket(sums.tx),
  };
}

/** Word indexes of the counts, and addresses of the slots, of the outputs to the two ports. */
function rigOutputs(machine: Machine): { count: number; slots: number }[] {
  const outputs = machine.arena.u32[((machine.pipelines[0]?.path ?? 0) + PATH_OUTPUTS) >>> 2] ?? 0;
  return [0, 1].map((port) => ({
    count: (outputs + port * OUTPUT_BYTES + OUTPUT_COUNT) >>> 2,
    slots: outputs + port * OUTPUT_BYTES + OUTPUT_SLOTS,
  }));
}

function drain(
  outputs: readonly { count: number; slots: number }[],
  arena: Machine['arena'],
  kernels: PoolKernels,
  cache: number,
): void {
  for (const { count, slots } of outputs) {
    const n = arena.u32[count] ?? 0;
    if (n > 0) kernels.poolFree(cache, slots, n);
    arena.u32[count] = 0;
  }
}

async function run(given: XdpCase): Promise<XdpMeasured> {
  const rig = await makeRig(given);
  let polls = 0;
  // Kernels that no thread has run before take longer to be compiled than `measure` warms up.
  const warm = performance.now() + WARM_UP_MS;
  for (; performance.now() < warm; polls++) rig.pipeline.poll();
  const measured = measure(BURST_MAX, () => {
    rig.pipeline.poll();
    polls++;
  });
  check(rig, given, polls * BURST_MAX);
  return { ...measured, stages: measureStages(rig) };
}

parentPort?.postMessage(await run(workerData as XdpCase));
