import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { StageMemory, StageWire } from './wire.ts';

/** What a worker's stages have in common. */
interface WorkerContext {
  readonly arena: Arena;
  /** Number of the lcore. */
  readonly lcore: number;
  /** Address of the lcore's buffer cache, for the pool's kernels. */
  readonly cache: number;
}

/** What a stage's module is given, once in each worker's thread. */
export interface StageContext extends WorkerContext {
  /**
   * The stage's part of the arena, as `memory` in the configuration asks for: all workers have the same, zeroed at the
   * start. With `atomic` what belongs to one flow needs no lock, since one worker at a time has the flow.
   */
  readonly memory: StageMemory;
}

/** A stage that packets pass on a worker, before the switch. */
export interface Stage {
  /**
   * Looks at `count` (1 to 32) packets, slots of 16 bytes at address `slots` (`memory/layout.ts`), and may change them.
   * Returns how many go on: the first so many. A stage that drops packets puts their slots behind those of the others;
   * they are counted and freed. The others keep their order. A flow's packets come one burst at a time with `atomic`.
   */
  handle(slots: number, count: number): number;
}

/** The default export of a stage's module. `options` is what the configuration says. */
export type StageFactory = (
  context: StageContext,
  options: Readonly<Record<string, unknown>>,
) => Stage | Promise<Stage>;

async function loadStage(worker: WorkerContext, { url, options, field, memory }: StageWire): Promise<Stage> {
  let loaded: { default?: StageFactory };
  try {
    loaded = await import(url);
  } catch (cause) {
    throw new RingwayError('BAD_CONFIG', `${field}: ${url} cannot be imported: ${cause}`, { cause });
  }
  if (typeof loaded.default !== 'function') {
    throw new RingwayError(
      'BAD_CONFIG',
      `${field}: ${url} must export by default a function (context, options) that makes {handle(slots, count)}`,
    );
  }
  let stage: Stage;
  try {
    stage = await loaded.default({ ...worker, memory }, options);
  } catch (cause) {
    if (cause instanceof RingwayError) throw cause;
    throw new RingwayError('SYSTEM', `${field}: ${url} failed: ${cause}`, { cause });
  }
  if (typeof stage?.handle !== 'function') {
    throw new RingwayError('BAD_CONFIG', `${field}: ${url} made a stage without handle`);
  }
  return checkedStage(stage, field);
}

/** What a stage does wrong ends its lcore, with the stage's name. */
function checkedStage(stage: Stage, field: string): Stage {
  return {
    handle(slots, count) {
      let kept: number;
      try {
        kept = stage.handle(slots, count);
      } catch (cause) {
        throw new RingwayError('SYSTEM', `${field}: handle failed: ${cause}`, { cause });
      }
      if (Number.isInteger(kept) && kept >= 0 && kept <= count) return kept;
      throw new RingwayError('SYSTEM', `${field}: handle returned ${kept} for ${count} packets; return 0 to ${count}`);
    },
  };
}

/**
 * Loads the modules of the stages before the switch, in a worker's thread.
 * @throws RingwayError with the field of the configuration when one cannot be had.
 */
export async function loadStages(worker: WorkerContext, wires: readonly StageWire[]): Promise<Stage[]> {
  const stages: Stage[] = [];
  for (const wire of wires) stages.push(await loadStage(worker, wire));
  return stages;
}
