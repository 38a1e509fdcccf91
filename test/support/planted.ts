import { expect } from 'vitest';
import { type Simulation, SimulationFailure } from '#build/sim/index.js';

interface Outcome {
  /** Of the first schedule that failed. */
  readonly reason: string;
  readonly failed: number;
  readonly passed: number;
}

/** Runs a scenario with a planted fault on seeds until one has failed and one has passed: on `budget` at most. */
export function explorePlanted(simulation: Simulation, budget: number): Outcome {
  let reason = 'none failed';
  let failed = 0;
  let seed = 0;
  for (; seed < budget && (failed === 0 || failed === seed); seed++) {
    try {
      simulation.explore(1, seed);
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      if (failed++ === 0) reason = error.message.split('\n', 1)[0] ?? '';
    }
  }
  return { reason, failed, passed: seed - failed };
}

/**
 * A fault of order fails in some schedules and passes in others. A variant that is plainly wrong would fail in all of
 * them, and show nothing about the scheduler.
 */
export function expectFound({ reason, failed, passed }: Outcome, expected: RegExp): void {
  expect(reason).toMatch(expected);
  expect(failed).toBeGreaterThan(0);
  expect(passed).toBeGreaterThan(0);
}
