import type { EngineModule } from './capabilities.ts';
import type { EngineVchan } from './engine-vchan.ts';
import { ENGINE_BURST } from './layout.ts';

/**
 * The engine `worker`: copies with kernels on a thread of its own. A module like a user's. Channels of a lower priority
 * get a burst only when those above have nothing.
 */
const engine: EngineModule = {
  capabilities: { sg: true, fill: true, handlesErrors: true, priorities: 4, maxVchans: 64 },
  start({ vchans }) {
    const levels = [...new Set(vchans.map(({ priority }) => priority))].map((priority): EngineVchan[] =>
      vchans.filter((vchan) => vchan.priority === priority),
    );
    return () => {
      for (const level of levels) {
        let n = 0;
        for (const vchan of level) n += vchan.run(ENGINE_BURST);
        if (n > 0) return n;
      }
      return 0;
    };
  },
};

export default engine;
