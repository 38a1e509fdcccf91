// The module that a dataplane's lcores run.
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import { Pipeline } from './pipeline.ts';
import { loadStages } from './stage.ts';
import type { PipelineData } from './wire.ts';

/** Makes the pipeline of this thread. */
export default async function start(context: LcoreContext): Promise<LcoreTask> {
  const { arena, index } = context;
  const { cache, events } = context.data as PipelineData;
  const stages = events?.isWorker === true ? await loadStages({ arena, lcore: index, cache }, events.stages) : [];
  return new Pipeline(context, stages);
}
