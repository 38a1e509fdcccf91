import { expect, test } from 'vitest';
import { expectFound, explorePlanted } from '../support/planted.ts';
import { type RingSteps, ringSimulation } from './support/scenario.ts';

const layouts = ['split', 'packed'] as const;

test.each(layouts)('%s: no chain is early, lost or doubled in 5,000 schedules', (layout) => {
  expect(ringSimulation(layout).explore(5_000)).toBeGreaterThan(5_000 * 12);
});

/** One side publishes as soon as it has written, and so tells nothing new when it should. */
const EARLY: [string, RegExp, (real: RingSteps) => Partial<RingSteps>][] = [
  [
    'chains are published as they are written',
    /not published/,
    (real) => {
      let driver = 0;
      return {
        writeAvailable(queue, list, n) {
          driver = queue;
          const added = real.writeAvailable(queue, list, n);
          if (added > 0) real.publish(queue, added);
          return added;
        },
        publish(queue, n) {
          if (queue !== driver) real.publish(queue, n);
        },
      };
    },
  ],
  [
    'returns are published as they are written',
    /not returned/,
    (real) => {
      let device = 0;
      return {
        writeUsed(queue, used, n) {
          device = queue;
          real.writeUsed(queue, used, n);
          real.publish(queue, n);
        },
        publish(queue, n) {
          if (queue !== device) real.publish(queue, n);
        },
      };
    },
  ],
];

test.each(layouts.flatMap((layout) => EARLY.map((early) => [layout, ...early] as const)))(
  '%s: it is found when %s',
  (layout, _, reason, fault) => {
    expectFound(explorePlanted(ringSimulation(layout, fault, 4), 500), reason);
  },
);
