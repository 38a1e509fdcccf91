import { readdirSync } from 'node:fs';
import { parseConfig, type RunningDataplane, type Snapshot, startDataplane } from 'ringway';
import { startOn } from '#build/dataplane/dataplane.js';
import { createMachine, type Machine } from '#build/dataplane/machine.js';
import { planDataplane } from '#build/dataplane/plan.js';
import { inFlight } from '#build/dataplane/snapshot.js';

/** Starts a dataplane of the value that a YAML file could hold. */
export function start(source: unknown): Promise<RunningDataplane> {
  return startDataplane(parseConfig(JSON.stringify(source), { file: '/test.yaml' }));
}

/** As `start`, with the machine below it to look into. */
export async function startWithMachine(source: unknown): Promise<{ dataplane: RunningDataplane; machine: Machine }> {
  const config = parseConfig(JSON.stringify(source), { file: '/test.yaml' });
  const machine = createMachine(config, planDataplane(config));
  return { dataplane: await startOn(config, machine), machine };
}

/** What is wrong with the last snapshot of a dataplane; nothing when all is accounted for. */
export function problemsOf(last: Snapshot): unknown[] {
  const { buffers, free, inFlight: held } = last.pool;
  return [
    ...(inFlight(last.totals) === 0 ? [] : [{ inFlight: inFlight(last.totals) }]),
    ...(free === buffers && held === 0 ? [] : [{ buffers, free, held }]),
    ...last.rings.filter(({ fill }) => fill !== 0),
    ...last.lcores.filter(({ alive }) => alive),
  ];
}

/** Threads of this process. */
export function countThreads(): number {
  return readdirSync('/proc/self/task').length;
}
