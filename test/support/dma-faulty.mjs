// A DMA engine under test: fails every `every`th copy, every other one of those after it has written, and works in bursts
// with pauses of `polls` polls between them.
const BUS_ERROR = 10;

export default {
  capabilities: { handlesErrors: true },
  start({ vchans: [vchan], options: { every = 5, polls = 1 } = {} }) {
    let number = 0;
    let left = polls;
    return () => {
      const pending = Math.min(vchan.pending(), 1 + (number % 7));
      if (pending === 0 || --left > 0) return 0;
      left = polls;
      for (let i = 0; i < pending; i++) {
        number++;
        const fails = number % every === 0;
        if (!fails || number % 2 === 0) vchan.execute(i);
        if (fails) vchan.fail(i, BUS_ERROR);
      }
      vchan.complete(pending);
      return pending;
    };
  },
};
