import type { Mutation } from '../../support/kernels.ts';

const file = 'eventdev/ordered.kernel.ts';
/** Faults of the ordered queue that show between two accesses: what is wrong, where, and how it comes out. */
export const ORDERED_FAULTS: readonly (readonly [string, Mutation, RegExp])[] = [
  [
    'an event leaves the ordered queue though its flow is paused',
    {
      file,
      from: '  return isPaused(port, atomicFlow(slot, load<u32>(device, EVDEV_HASH_BITS)));',
      to: '  return false;',
    },
    /came instead of|is at ports|came through/,
  ],
  [
    'the lock is given back before what was drained is sent',
    {
      file,
      from: '    flushOutputs(port);\n    atomic.store<u32>(ring, 0, ORDERED_LOCK);',
      to: '    atomic.store<u32>(ring, 0, ORDERED_LOCK);\n    flushOutputs(port);',
    },
    /came instead of/,
  ],
  [
    'two ports drain at once',
    { file, from: 'if (atomic.cmpxchg<u32>(ring, 0, 1, ORDERED_LOCK) !== 0) return;', to: '' },
    /came instead of|unreachable|came through|entered/,
  ],
  [
    'two ports take the same events',
    {
      file,
      from: 'if (atomic.cmpxchg<u32>(ring, from, from + n, ORDERED_TAKE) !== from) continue;',
      to: 'atomic.store<u32>(ring, from + n, ORDERED_TAKE);',
    },
    /came instead of|unreachable|came through|no end/,
  ],
];
