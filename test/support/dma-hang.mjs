// A DMA engine under test: completes operations until it finds one whose length is odd; then it hangs, throws or ends its
// thread, as `options.how` says.
export default {
  capabilities: { handlesErrors: true },
  start({ vchans: [vchan], options: { how } }) {
    return () => {
      const pending = vchan.pending();
      let n = 0;
      for (; n < pending; n++) {
        if (vchan.operation(n).targets[0].length % 2 === 1) break;
        vchan.execute(n);
      }
      if (n > 0) vchan.complete(n);
      else if (pending > 0) {
        if (how === 'throw') throw new Error('out of order');
        if (how === 'exit') process.exit(5);
        while (how === 'hang');
      }
      return n;
    };
  },
};
