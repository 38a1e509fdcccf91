// The task of an lcore that is a DMA engine's thread.
import type { LcoreContext, LcoreTask } from '../lcore/lcore.ts';
import { loadEngine } from './capabilities.ts';
import { EngineVchan } from './engine-vchan.ts';

/** What the thread is started with. */
export interface EngineThreadData {
  /** Name of the device. */
  readonly device: string;
  /** URL of the engine's module. */
  readonly module: string;
  /** The highest priority first. */
  readonly vchans: readonly { readonly address: number; readonly priority: number }[];
  readonly options: unknown;
}

/**
 * Empty polls of the engine in one of the lcore, which sleeps after 200 of its own: after 10,000 in all, as DPDK's skeleton
 * driver does. And the lcore reads its clock no more often than it has to.
 */
const POLLS_PER_TURN = 50;
/** A submit wakes an engine that sleeps, so that it has no need to look for itself. */
const REST_MS = 1000;

export default async function start({ arena, data }: LcoreContext): Promise<LcoreTask> {
  const { device, module, vchans, options } = data as EngineThreadData;
  const own = vchans.map(({ address, priority }) => new EngineVchan(arena, address, priority));
  const engine = await loadEngine(device, module);
  const poll = await engine.start({ arena, vchans: own, options });
  return {
    poll() {
      for (let i = 0; i < POLLS_PER_TURN; i++) {
        const n = poll();
        if (n > 0) return n;
      }
      return 0;
    },
    rest: () => (own.some((vchan) => vchan.pending() > 0) ? 0 : REST_MS),
    handle() {},
    stop() {},
  };
}
