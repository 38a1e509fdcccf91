import { setTimeout } from 'node:timers/promises';
import { RingwayError } from 'ringway/memory';
import type { Random } from '#build/util/random.js';
import { problemsOf, start } from './dataplanes.ts';
import { type Places, randomPort, randomRule, randomTopology, spread } from './topology.ts';
import { type Objects, randomProgram, withPrograms } from './xdp-scenario.ts';

/**
 * Starts a random dataplane on real threads, changes it at random and stops it. Returns what is wrong afterwards.
 * @param isSpread with an event device. @param objects with XDP programs of these.
 */
export async function randomRun(
  random: Random,
  places: Places,
  isSpread = false,
  objects?: Objects,
): Promise<unknown[]> {
  const bare = randomTopology(random, places, random.below(2) === 0, true);
  const plain = objects === undefined ? bare : withPrograms(random, bare, objects);
  const source = isSpread ? spread(random, plain) : plain;
  const dataplane = await start(source);
  dataplane.finished.catch(() => {});
  // Those that may have ports.
  const lcores = (plain.lcores as unknown[]).length;
  const names = (): string[] => dataplane.snapshot().ports.map(({ name }) => name);
  const operations: (() => Promise<unknown>)[] = [
    () =>
      dataplane.addPort(
        `n${random.below(100)}`,
        randomPort(random, places, `n${random.below(1000)}`, lcores, true, true),
      ),
    () => dataplane.deletePort(names()[random.below(names().length)] ?? ''),
    () => dataplane.addSteering(randomRule(random, names(), lcores)),
    () => dataplane.set(`ports.${names()[0]}.fault.delay`, '1ms'),
    () => setTimeout(random.below(20)),
  ];
  if (objects !== undefined) {
    const attach = (): Promise<unknown> =>
      dataplane.attachXdp(names()[random.below(names().length)] ?? '', randomProgram(random, objects, names()));
    operations.push(attach, attach, () => dataplane.detachXdp(names()[random.below(names().length)] ?? ''));
    dataplane.watchXdp(() => {});
  }
  const refusals: unknown[] = [];
  for (let left = random.below(8); left > 0; left--) {
    await operations[random.below(operations.length)]?.().catch((error) => {
      // A name that is taken, or the last port that is gone: whatever it is, it has a code.
      if (!(error instanceof RingwayError)) refusals.push(error);
    });
  }
  if (random.below(3) === 0) await Promise.race([dataplane.finished, setTimeout(100)]);
  return [...refusals, ...problemsOf(await dataplane.stop())];
}
