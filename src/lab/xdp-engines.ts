// Programs alone, in each engine, in a thread of its own: what they take beside the empty program.
import { existsSync, readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { initContext } from '../bpf/context.ts';
import { interpret } from '../bpf/interpreter.ts';
import { compileProgram, instantiateProgram } from '../bpf/jit/compile.ts';
import { CTX_BYTES, CTX_DATA, CTX_DATA_END, CTX_DATA_META } from '../bpf/layout.ts';
import { createMap } from '../bpf/maps/create.ts';
import { linkProgram, loadObject } from '../bpf/object/load.ts';
import type { Program } from '../bpf/program.ts';
import { prove } from '../bpf/verifier/proof.ts';
import { createArena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import { createPool, type PoolKernels } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import type { PeerFigure } from './peers.ts';
import { type KernelRun, kernelRun } from './xdp-kernel.ts';
import { COMPARE, DROP, LOOKUPS, MIX, programOfText, SUM, TABLES } from './xdp-programs.ts';

/** What a program takes beyond the empty one: ns a run. */
export interface EngineFigures {
  readonly name: string;
  readonly steps: number;
  readonly trusted: number;
  /** Checked but for what the verifier proved, as programs are loaded; and in all places. */
  readonly verified: number;
  readonly checked: number;
  readonly interpreted: number;
  readonly kernel: PeerFigure;
}

const FILTER = '/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o';
/** 64 bytes: an Ethernet frame of UDP. */
const PACKET = buildFrame({
  ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
  ipv4: { source: '198.18.0.1', destination: '198.19.0.1' },
  udp: { sourcePort: 49152, destinationPort: 9 },
  payload: new Uint8Array(22),
});
/** Of an interpreted run: it is slow, and each is the same. */
const INTERPRETED_RUNS = 300;
const WARM_UP_MS = 150;
/** The engines take turns of so many ms, so that none has the machine at its best, or at its worst, alone. */
const SLICE_MS = 15;
const ROUNDS = 12;
const MODES = ['trusted', 'verified', 'checked'] as const;
const TURNS = 16;

/** ns an item of a slice of `turn`, which does `items`. */
function sliceNs(items: number, turn: () => void, ms = SLICE_MS): number {
  const from = performance.now();
  let turns = 0;
  let now = from;
  for (; now < from + ms; now = performance.now()) {
    for (let i = 0; i < TURNS; i++) turn();
    turns += TURNS;
  }
  return ((now - from) * 1e6) / (turns * items);
}

function programs(): Program[] {
  const found = [
    programOfText('mix', MIX),
    programOfText('sum', SUM),
    programOfText('compare', COMPARE),
    programOfText('lookups', LOOKUPS, TABLES),
  ];
  if (existsSync(FILTER))
    found.push({ ...linkProgram(loadObject(readFileSync(FILTER), { file: FILTER })), name: 'xdpfilt' });
  return found;
}

/** The engines over one arena. */
class Engines {
  readonly #arena = createArena({ bytes: 64 << 20 });
  readonly #context: number;
  readonly #slots: number;
  readonly #verdicts: number;

  constructor() {
    const arena = this.#arena;
    const pool = createPool(arena, { buffers: 64, caches: 1 });
    const [cache = 0] = pool.caches;
    this.#slots = arena.allocate('slots', BURST_MAX << SLOT_SHIFT);
    this.#verdicts = arena.allocate('verdicts', BURST_MAX << SLOT_SHIFT);
    this.#context = arena.allocate('context', CTX_BYTES);
    initContext(arena, this.#context, { cpu: 0, clock: arena.allocate('clock', 8), seed: 1, cache });
    arena.kernels<PoolKernels>().poolAlloc(cache, this.#slots, BURST_MAX);
    for (let slot = this.#slots; slot < this.#slots + (BURST_MAX << SLOT_SHIFT); slot += 1 << SLOT_SHIFT) {
      arena.u8.set(PACKET, (arena.u32[slot >>> 2] ?? 0) + 256);
      arena.u16[(slot + 6) >>> 1] = PACKET.length;
    }
  }

  #maps(program: Program) {
    return program.maps.map((definition) => createMap(this.#arena, definition, { cpus: 1, seed: 1 }));
  }

  /** Runs it on a burst of the same 32 packets, as the kernel has its one. Warm. */
  compiled(program: Program, mode: 'trusted' | 'verified' | 'checked'): () => number {
    const proof = mode === 'verified' ? prove(program) : undefined;
    const options = { maps: this.#maps(program), checked: mode !== 'trusted', ...(proof && { proof }) };
    const module = compileProgram(this.#arena, program, options);
    const { burst } = instantiateProgram(this.#arena, module);
    const turn = (): void => burst(this.#context, this.#slots, BURST_MAX, this.#verdicts);
    sliceNs(BURST_MAX, turn, WARM_UP_MS);
    return () => sliceNs(BURST_MAX, turn);
  }

  interpreted(program: Program): { ns: number; steps: number } {
    const maps = this.#maps(program).map(({ address }) => address);
    const data = (this.#arena.u32[this.#slots >>> 2] ?? 0) + 256;
    for (const [offset, value] of [
      [CTX_DATA, data],
      [CTX_DATA_META, data],
      [CTX_DATA_END, data + PACKET.length],
    ] as const) {
      this.#arena.u32[(this.#context + offset) >>> 2] = value;
    }
    const run = (): number => interpret({ program, maps, arena: this.#arena, context: this.#context }).steps;
    let steps = run();
    for (let round = 0; round < INTERPRETED_RUNS; round++) steps = run();
    const from = performance.now();
    for (let round = 0; round < INTERPRETED_RUNS; round++) run();
    return { ns: ((performance.now() - from) * 1e6) / INTERPRETED_RUNS, steps };
  }
}

/** The least that each takes, of rounds in which they take turns. */
function leastOf(takes: readonly (() => number)[]): number[] {
  const least = takes.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, take] of takes.entries()) least[index] = Math.min(least[index] as number, take());
  }
  return least;
}

function measureAll(wanted: boolean): EngineFigures[] {
  const engines = new Engines();
  const empty = programOfText('empty', DROP);
  const nothing = MODES.map((mode) => engines.compiled(empty, mode));
  const nothingInterpreted = engines.interpreted(empty).ns;
  return programs().map((program) => {
    const kernels = [kernelRun(empty, PACKET, wanted), kernelRun(program, PACKET, wanted)];
    const runs = kernels.filter((one): one is KernelRun => 'ns' in one);
    const missing = kernels.find((one): one is PeerFigure => 'value' in one);
    const takes = [...nothing, ...MODES.map((mode) => engines.compiled(program, mode))];
    const least = leastOf([...takes, ...runs.map(({ ns }) => ns)]);
    for (const run of runs) run.close();
    const [trusted = 0, verified = 0, checked = 0] = MODES.map(
      (_, index) => (least[MODES.length + index] ?? 0) - (least[index] ?? 0),
    );
    const [nothingKernel = 0, kernel = 0] = least.slice(takes.length);
    const { ns, steps } = engines.interpreted(program);
    return {
      name: program.name,
      steps,
      trusted,
      verified,
      checked,
      interpreted: ns - nothingInterpreted,
      kernel: missing ?? { value: kernel - nothingKernel, note: '' },
    };
  });
}

parentPort?.postMessage(measureAll(workerData as boolean));
