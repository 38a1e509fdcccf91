// A module port for dataplanes that end badly, or that must be watched from inside. Options: `fail` names a method that
// throws; `exit` ends the thread in attach; `heap` gives the thread's heap, in frames of 60 bytes, one a second.
import v8 from 'node:v8';

export default {
  attach({ arena, cache }, { fail, exit, after = 0 }) {
    if (exit) process.exit(9);
    const { poolFree } = arena.kernels();
    let calls = 0;
    const maybe = (method) => {
      if (method === fail && calls++ >= after) throw new Error(`${method} went wrong`);
    };
    return {
      rxBurst() {
        maybe('rxBurst');
        return 0;
      },
      txBurst(slots, count) {
        maybe('txBurst');
        poolFree(cache, slots, count);
        return count;
      },
      // The heap goes out as a fault, which every snapshot shows.
      info: () => ({ done: false, ...(fail === undefined ? { fault: `heap ${heapBytes()}` } : {}) }),
      close: () => maybe('close'),
    };
  },
};

function heapBytes() {
  return v8.getHeapStatistics().used_heap_size;
}
