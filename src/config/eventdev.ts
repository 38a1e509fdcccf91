import { type Path, type Problems, show } from './problems.ts';
import type { ParsedConfig } from './schema.ts';
import type { ParsedEventdev } from './schema-eventdev.ts';
import { locate, type Tree, valueAt } from './source.ts';
import type { EventdevConfig, ModuleStage } from './types.ts';

/** As QUEUES_MAX and IN_FLIGHT_MAX of `eventdev/layout.ts`. */
const QUEUES = 16;
const LIMIT_DEFAULT = 4096;
/**
 * Credits for each lcore: what it may keep in stock (128), what it borrows at once (64), and as much for copies, so that
 * a worker that waits for credits gets them once the packets before it have left.
 */
export const CREDITS_PER_LCORE = 256;

type Refuse = (path: Path, message: string) => void;

/** The workers by number, ascending. */
function workersOf({ workers }: ParsedEventdev, lcores: number, refuse: Refuse): number[] {
  if (typeof workers === 'number') {
    if (workers >= lcores) {
      const message = `${workers} of ${lcores} lcores, and the others serve the ports; use fewer, or raise lcores`;
      refuse(['eventdev', 'workers'], message);
    }
    return Array.from({ length: workers }, (_, index) => lcores - workers + index);
  }
  for (const [index, lcore] of workers.entries()) {
    const path: Path = ['eventdev', 'workers', index];
    if (lcore >= lcores) refuse(path, `${lcore} is not an lcore; use 0 to ${lcores - 1}, or raise lcores`);
    else if (workers.indexOf(lcore) < index) refuse(path, `${lcore} is in the list already; give each lcore once`);
  }
  const distinct = [...new Set(workers)].sort((a, b) => a - b);
  if (distinct.length >= lcores) {
    refuse(
      ['eventdev', 'workers'],
      'are all lcores, and one at least is to serve the ports; leave one out, or raise lcores',
    );
  }
  return distinct;
}

/** Refuses what gives a worker a port, or names an lcore for packets that the event device gives to workers. */
function checkUses(parsed: ParsedConfig, workers: readonly number[], refuse: Refuse): void {
  for (const [name, { lcore }] of Object.entries(parsed.ports)) {
    if (lcore === undefined || !workers.includes(lcore)) continue;
    refuse(['ports', name, 'lcore'], `${lcore} is a worker of the event device; use an lcore that is none`);
  }
  for (const [index, { action }] of parsed.steering.entries()) {
    for (const key of ['lcore', 'queue'] as const) {
      if (key in action)
        refuse(['steering', index, 'action', key], 'is for the event device to choose; use port or drop');
    }
  }
}

/** The event device of a configuration that the schema accepted; what does not fit the rest of it goes to `problems`. */
export function normaliseEventdev(
  parsed: ParsedConfig,
  given: ParsedEventdev,
  moduleUrl: (stage: number, module: string) => string,
  tree: Tree,
  problems: Problems,
): EventdevConfig {
  const refuse: Refuse = (path, message) => problems.add(locate(tree.origin, path).at, path, message);
  const lcores = parsed.lcores.length;
  const workers = workersOf(given, lcores, refuse);
  checkUses(parsed, workers, refuse);
  const queues = given.stages.length + lcores - workers.length;
  if (queues > QUEUES) {
    const message = `needs ${queues} queues, one for each stage (${given.stages.length}) and each lcore that is no worker; use at most ${QUEUES}`;
    refuse(['eventdev'], message);
  }
  const least = lcores * CREDITS_PER_LCORE;
  const { newEventsLimit = Math.max(LIMIT_DEFAULT, least), schedule, migration } = given;
  // As an event device has it by default.
  const { flowHashBits = migration === 'single-flow' ? 15 : 13 } = given;
  if (newEventsLimit < least) {
    const value = show(valueAt(tree.value, ['eventdev', 'newEventsLimit']));
    refuse(['eventdev', 'newEventsLimit'], `${value} is too few for ${lcores} lcores; use ${least} or more`);
  }
  const stages = given.stages.flatMap((stage, index): ModuleStage[] =>
    stage === 'switch' ? [] : [{ ...stage, module: moduleUrl(index, stage.module) }],
  );
  return { workers, stages, schedule, newEventsLimit, migration, flowHashBits };
}
