import type { Mutation } from '../../support/kernels.ts';

/** Faults of the kernels of copies. */
export const COPY_FAULTS: readonly { readonly what: string; readonly mutation: Mutation }[] = [
  {
    what: 'chains are used before their packets are copied',
    mutation: {
      file: 'async/entry.kernel.ts',
      from: 'tail !== load<u32>(queue, ASYNC_HEAD) && <u32>atomic.load<u8>(flagOf(queue, tail)) === FLAG_DONE',
      to: 'tail !== load<u32>(queue, ASYNC_HEAD)',
    },
  },
  {
    what: 'a byte is still set when the next packet has it',
    mutation: { file: 'async/entry.kernel.ts', from: 'store<u8>(flagOf(queue, tail), 0);', to: '' },
  },
  {
    what: 'what an engine failed at is not copied',
    mutation: { file: 'async/track.kernel.ts', from: 'redo(track, vchan, index);', to: '' },
  },
  {
    what: 'the channel that a queue had before is not looked at',
    mutation: { file: 'async/entry.kernel.ts', from: 'look(old);', to: '' },
  },
  {
    what: 'an engine that has ended is waited for',
    mutation: {
      file: 'async/track.kernel.ts',
      from: 'return load<u32>(load<u32>(track, TRACK_VCHAN), VCHAN_CAPACITY) !== 0;',
      to: 'return load<u32>(load<u32>(track, TRACK_VCHAN), VCHAN_CAPACITY) !== 1;',
    },
  },
];
