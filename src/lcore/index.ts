/**
 * Worker threads that poll a module given by URL: started, pinned, idling, messaged and stopped from the control thread.
 *
 * @module
 */
export { LcoreClock } from './clock.ts';
export { type IdleStrategy, ringDoorbell } from './idle.ts';
export {
  allocateLcore,
  type Lcore,
  type LcoreContext,
  type LcoreOptions,
  type LcoreTask,
  type LcoreTaskFactory,
  startLcore,
} from './lcore.ts';
