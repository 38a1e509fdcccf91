import { compileProgram } from '../bpf/jit/compile.ts';
import { CTX_BYTES } from '../bpf/layout.ts';
import type { Arena } from '../memory/arena.ts';
import { COUNTER_SHIFT } from '../telemetry/layout.ts';
import {
  HOOK_BYTES,
  HOOK_CACHE,
  HOOK_COUNTERS,
  HOOK_LEAVING,
  HOOK_LEAVING_COUNT,
  HOOK_PORTS,
  HOOK_VERDICTS,
  SORTED_PASS_MASK,
} from '../xdp/layout.ts';
import type { ProgramWire } from '../xdp/object.ts';
import { ProgramThread, type ThreadProgram } from '../xdp/thread.ts';
import { programOfText } from './xdp-programs.ts';

interface HookKernels {
  xdpPrepare(hook: number, slots: number, count: number, frags: number): number;
  xdpSort(hook: number, slots: number, count: number): number;
}

/** A program at a hook, for the thread that is to run it: anything that can be posted. */
export interface BurstProgramShare {
  readonly hook: number;
  readonly context: number;
  readonly wire: ProgramWire;
}

/**
 * Makes a hook and what a program at it works on, on the thread that made the arena.
 * @param text instructions; the program takes packets of several buffers, too.
 * @param cache address of the buffer cache of the thread that runs it.
 * @throws RingwayError `ARENA_FULL`
 */
export function shareProgram(
  arena: Arena,
  { name, text, cache }: { readonly name: string; readonly text: string; readonly cache: number },
): BurstProgramShare {
  const hook = arena.allocate(`${name} hook`, HOOK_BYTES);
  const set = (offset: number, value: number): void => {
    arena.u32[(hook + offset) >>> 2] = value;
  };
  set(HOOK_PORTS, 1);
  set(HOOK_CACHE, cache);
  set(HOOK_COUNTERS, arena.allocate(`${name} counters`, 1 << COUNTER_SHIFT));
  const module = compileProgram(arena, programOfText(name, text), { maps: [], checked: true });
  const ranges = arena.allocate(`${name} ranges`, 16);
  const wire: ProgramWire = { number: 1, name, module, frags: true, checked: true, ranges, rangeCount: 0 };
  return { hook, context: arena.allocate(`${name} context`, CTX_BYTES), wire };
}

/** An XDP program at a hook, with no dataplane around it: what it passes and what it sends is the caller's. */
export class BurstProgram {
  /** Address of the packets that the program sent back (XDP_TX) of the last burst. */
  readonly leaving: number;
  readonly #arena: Arena;
  readonly #hook: number;
  readonly #thread: ProgramThread;
  readonly #program: ThreadProgram;
  readonly #kernels: HookKernels;

  constructor(arena: Arena, { hook, context, wire }: BurstProgramShare) {
    this.#arena = arena;
    this.#kernels = arena.kernels<HookKernels>();
    this.#hook = hook;
    this.leaving = hook + HOOK_LEAVING;
    this.#thread = new ProgramThread(arena, context, { cpu: 0, clock: 0, seed: 1 });
    this.#thread.add(wire);
    this.#program = this.#thread.get(1) as ThreadProgram;
    this.#thread.prepare(wire, 1, 0);
  }

  /** Runs the program on the `count` packets at `slots`. Returns how many it passes, at the front; others are freed or leaving. */
  run(slots: number, count: number): number {
    const n = this.#kernels.xdpPrepare(this.#hook, slots, count, 1);
    if (n === 0) return 0;
    this.#program.instance.burst(this.#thread.context, slots, n, this.#hook + HOOK_VERDICTS);
    return this.#kernels.xdpSort(this.#hook, slots, n) & SORTED_PASS_MASK;
  }

  /** Packets at `leaving`. */
  get leavingCount(): number {
    return this.#arena.u32[(this.#hook + HOOK_LEAVING_COUNT) >>> 2] ?? 0;
  }
}
