// The module that a dataplane's lcores run.
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import { Pipeline } from './pipeline.ts';

/** Makes the pipeline of this thread. */
export default function start(context: LcoreContext): LcoreTask {
  return new Pipeline(context);
}
