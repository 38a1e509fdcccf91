import { afterEach, expect, test } from 'vitest';
import { Echoes, type EchoesOptions, testEngine } from '../support/async-echo.ts';
import { problemsOf } from '../support/dataplanes.ts';

const INTEGRATIONS = ['defer', 'v3', 'v4', 'vq'] as const;
const ASSIGNMENTS = ['lcore', 'vring', 'dynamic-lcore', 'dynamic-vring'] as const;
const LAYOUTS = ['split', 'packed'] as const;
const LIMIT = 3000;

/** Engines, and how many of what they were given the CPU did. */
const ENGINES = [
  { engine: 'worker', fails: false },
  { engine: testEngine('./dma-faulty.mjs', { every: 5, polls: 3 }), fails: true },
  { engine: testEngine('./dma-hang.mjs', { how: 'exit' }), fails: true },
] as const;

let run: Echoes | undefined;
afterEach(async () => {
  const last = await run?.dataplane.stop();
  run = undefined;
  if (last !== undefined) expect(problemsOf(last)).toEqual([]);
});

const CASES = INTEGRATIONS.flatMap((integration, i) =>
  ASSIGNMENTS.flatMap((assignment, j) =>
    LAYOUTS.map((layout, k) => ({
      integration,
      assignment,
      layout,
      inOrder: (i + j) % 2 === 0,
      // One for both lcores, or one each.
      engines: 1 + ((i + k) % 2),
      isSpread: j === 3,
      ...(ENGINES[(i + j + k) % 3] as (typeof ENGINES)[number]),
    })),
  ),
);

test.each(CASES)(
  'what goes to guests and comes back is whole and in order: $integration, $assignment, $layout, $engines engines',
  async ({ integration, assignment, layout, inOrder, engines, engine, fails, isSpread }) => {
    const async = { integration, assignment, engines, engine };
    const options: EchoesOptions = { async, guest: { layout, inOrder }, limit: LIMIT, isSpread };
    run = await Echoes.start(options);
    await run.finished();
    const { rings, lcores } = run.async;
    const submitted = run.engines((each) => each.submitted);
    expect(run.engines((each) => each.completed)).toBe(submitted);
    expect(rings.reduce((all, { offloaded }) => all + offloaded, 0)).toBe(submitted);
    const failed = run.engines((each) => each.failed);
    expect(failed).toBe(run.engines((each) => each.errors));
    if (fails) expect(failed).toBeGreaterThan(0);
    else expect(failed).toBe(0);
    // Each frame is one copy here, of an engine or of the CPU.
    for (const { offloaded, copied, inFlight } of rings) expect([offloaded + copied, inFlight]).toEqual([LIMIT, 0]);
    const deferred = lcores.reduce((all, each) => all + each.deferred, 0);
    if (integration === 'defer') expect(deferred).toBeGreaterThan(0);
    else expect(deferred).toBe(0);
  },
);
