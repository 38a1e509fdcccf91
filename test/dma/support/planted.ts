import type { Mutation } from '../../support/kernels.ts';

/** A fault in a copy of the kernels. */
export interface Planted {
  readonly what: string;
  /** It shows in a silent channel only. */
  readonly silent?: boolean;
  readonly mutations: readonly Mutation[];
}

const inFile =
  (file: string) =>
  (from: string, to: string): Mutation => ({ file: `dma/${file}.kernel.ts`, from, to });
const channel = inFile('channel');
const completed = inFile('completed');
const engine = inFile('engine');

/** Faults of order: each is right when nobody looks in between. */
export const ORDER_FAULTS: readonly Planted[] = [
  {
    what: 'operations are submitted before the last of them is written',
    mutations: [
      channel(
        'store<u32>(descriptor, source, DMA_DESC_SOURCE);',
        `if ((flags & DMA_FLAG_SUBMIT) !== 0) atomic.store<u32>(vchan, load<u32>(vchan, VCHAN_ENQUEUED) + 1, VCHAN_SUBMITTED);
        store<u32>(descriptor, source, DMA_DESC_SOURCE);`,
      ),
    ],
  },
  {
    what: 'operations are completed before they are done',
    mutations: [
      engine(
        'for (let i: u32 = 0; i < n; i++) execute(vchan, completed + i);\n  finish(vchan, n);',
        'finish(vchan, n);\n  for (let i: u32 = 0; i < n; i++) execute(vchan, completed + i);',
      ),
    ],
  },
  {
    what: 'operations are completed before their failures are counted',
    mutations: [
      engine(
        'store<u64>(vchan, load<u64>(vchan, VCHAN_COMPLETED_COUNT) + n, VCHAN_COMPLETED_COUNT);',
        'atomic.store<u32>(vchan, completed + n, VCHAN_COMPLETED);',
      ),
    ],
  },
  {
    what: 'the sleeper is looked for before operations are submitted',
    mutations: [
      channel(
        'atomic.store<u32>(vchan, enqueued, VCHAN_SUBMITTED);',
        `const sleeper = load<u32>(vchan, VCHAN_BELL);
        const parked = sleeper === 0 ? 0 : atomic.load<u32>(sleeper, LCORE_PARKED);
        atomic.store<u32>(vchan, enqueued, VCHAN_SUBMITTED);`,
      ),
      channel('if (bell !== 0) ring(bell);', 'if (bell !== 0 && parked !== 0) ring(bell);'),
    ],
  },
  {
    what: 'failures are looked for before what is completed',
    mutations: [
      completed(
        'const n = ready(vchan, returned, max);\n  // As',
        'const errors = load<u32>(vchan, VCHAN_ERRORS);\n  const n = ready(vchan, returned, max);\n  // As',
      ),
      completed('if (load<u32>(vchan, VCHAN_ERRORS) === load', 'if (errors === load'),
    ],
  },
  {
    what: 'a silent descriptor is empty as soon as it is submitted',
    silent: true,
    mutations: [
      channel(
        'const completed = atomic.load<u32>(vchan, VCHAN_COMPLETED);',
        'const completed = atomic.load<u32>(vchan, VCHAN_SUBMITTED);',
      ),
    ],
  },
];

/** Checks left out: descriptors that hold anything show it. */
export const HOSTILE_FAULTS: readonly Planted[] = [
  {
    what: 'the end of a range wraps',
    mutations: [
      engine(
        '<u64>address + <u64>length <= load<u64>(vchan, VCHAN_END)',
        '<u64>(address + length) <= load<u64>(vchan, VCHAN_END)',
      ),
    ],
  },
  {
    what: 'the directory may be written',
    mutations: [engine('address >= load<u32>(vchan, VCHAN_LOWEST)', 'address >= 65536')],
  },
  {
    what: 'the target of a copy is not checked',
    mutations: [
      engine(
        'return inBounds(vchan, target, length) ? STATUS_SUCCESSFUL : STATUS_INVALID_DST_ADDR;\n}\n\n/** Bytes',
        'return STATUS_SUCCESSFUL;\n}\n\n/** Bytes',
      ),
    ],
  },
  {
    what: 'the target of a fill is not checked',
    mutations: [engine('if (!inBounds(vchan, target, length)) return STATUS_INVALID_DST_ADDR;', '')],
  },
  {
    what: 'the length of a copy is read again after its check',
    mutations: [
      engine(
        'if (status === STATUS_SUCCESSFUL) copyBytes(target, source, length);',
        'if (status === STATUS_SUCCESSFUL) copyBytes(target, source, load<u32>(descriptor, DMA_DESC_LENGTH));',
      ),
    ],
  },
  {
    what: 'a piece of an SG list is not checked when it is read again',
    mutations: [engine('if (status !== STATUS_SUCCESSFUL) return status;\n    copyBytes', 'copyBytes')],
  },
  {
    what: 'the counts of an SG copy may be anything',
    mutations: [
      engine(
        'let entry = lists;\n  const targetsEnd = lists + (min(counts >> 16, SGES_MAX)',
        'let entry = lists;\n  const targetsEnd = lists + ((counts >> 16)',
      ),
      engine('const targets = min(counts >> 16, SGES_MAX);', 'const targets = counts >> 16;'),
    ],
  },
];
