/**
 * The deterministic scheduler: runs actors interleaved in virtual time, in an order that a seed decides.
 *
 * @example
 * const simulation = new Simulation({
 *   name: 'ring',
 *   steps: 50,
 *   setup: ({ random }) => ({ actors: { producer: produce(random), consumer: consume(random) }, invariant, finish }),
 * });
 * simulation.explore(20_000);
 *
 * @module
 */
export {
  type Actor,
  IDLE,
  type Scenario,
  Simulation,
  SimulationFailure,
  type SimulationOptions,
  type World,
} from './simulation.ts';
