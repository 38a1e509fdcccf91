import type { Program } from '../program.ts';
import { Exploration } from './explore.ts';
import { Flow } from './flow.ts';

/** What compiled code need not look at again, since it was proven of a program (`prove`). */
export interface Proof {
  /**
   * By instruction: 1 where each access and each argument of a helper is what it must be, on whatever way the program comes
   * there. 0 where no way leads to.
   */
  readonly safe: Uint8Array;
  /** Most instructions that a run takes, without those of programs that it goes on with; undefined with a bpf_loop, or a like helper. */
  readonly stepsMax: number | undefined;
}

/** Instructions that are visited for the sake of it: whoever loads a program waits for it, a third of a second at most. */
const VISITED_MAX = 100_000;

/**
 * Proves that a program is safe, which `verifyStructure` took. Undefined when there is a way on which something is wrong, or
 * when there are too many to say in short time.
 *
 * Nothing is taken of what maps hold, `.rodata` among them: whoever writes to maps later need not know of this.
 */
export function prove(program: Program): Proof | undefined {
  const maps = program.maps.map(({ initial: _, ...definition }) => definition);
  const open: Program = { ...program, maps };
  const exploration = new Exploration(open, new Flow(open), { order: 'prove', limit: VISITED_MAX });
  if (exploration.run() !== undefined) return undefined;
  // A way ends where another one, which is at its end, has been: so none is longer than all of them. Rounds of a bpf_loop
  // end with what they themselves had found.
  const stepsMax = program.loops === undefined ? exploration.counts.instructions : undefined;
  return { safe: exploration.visited, stepsMax };
}
