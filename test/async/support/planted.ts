import type { Mutation } from '../../support/kernels.ts';
import type { VifRigOptions } from '../../xen/support/vif-rig.ts';

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

interface VifFault {
  readonly what: string;
  readonly path: NonNullable<VifRigOptions['path']>;
  readonly mutation: Mutation;
}

const STAGED = { kind: 'staging', tx: 256, rx: 256 } as const;
const FRAMED = { kind: 'data-ring', order: 1 } as const;

/** Faults of what a backend of a Xen device does with its copies. */
export const VIF_FAULTS: readonly VifFault[] = [
  {
    what: 'packets from the frontend are given out before they are copied',
    path: STAGED,
    mutation: {
      file: 'async/vif-receive.kernel.ts',
      from: 'out < max && isFirstDone(queue)',
      to: 'out < max && !isIdle(queue)',
    },
  },
  {
    what: 'the room of frames from the frontend is given back before they are copied',
    path: FRAMED,
    mutation: {
      file: 'xen/data-ring.kernel.ts',
      from: 'const index = load<u32>(queue, VIFQ_DATA_COPIED);',
      to: 'const index = load<u32>(queue, VIFQ_DATA_INDEX);',
    },
  },
  {
    what: 'short packets from the frontend overtake those that are under way',
    path: { kind: 'persistent' },
    mutation: {
      file: 'async/vif-receive.kernel.ts',
      from: 'isIdle(queue) && (!byChannel',
      to: '(!byChannel',
    },
  },
  {
    what: 'a request of the frontend is not answered',
    path: STAGED,
    mutation: {
      file: 'async/vif-receive.kernel.ts',
      from: '    used += n;\n  }\n  pushResponses(load<u32>(vifq, VIFQ_RING), records, used);',
      to: '    used += n;\n  }\n  if (used > 0) used--;\n  pushResponses(load<u32>(vifq, VIFQ_RING), records, used);',
    },
  },
  {
    what: 'packets to the frontend are answered before they are copied',
    path: STAGED,
    mutation: {
      file: 'async/vif.kernel.ts',
      from: 'if (last >= 0) markLast(track, <u32>last, flag);',
      to: 'if (last >= 0) store<u8>(flag, <u8>FLAG_DONE);',
    },
  },
  {
    what: 'what an engine failed at is not copied',
    path: { kind: 'persistent' },
    mutation: { file: 'async/track.kernel.ts', from: 'redo(track, vchan, index);', to: '' },
  },
  {
    what: 'what finds the channel full is not copied',
    path: STAGED,
    mutation: { file: 'async/moves.kernel.ts', from: '      copyBytes(target, source, length);\n', to: '' },
  },
];
