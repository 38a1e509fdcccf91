import type { VirtqueueLayout } from 'ringway/virtio';
import type { Mutation } from '../../support/kernels.ts';

/** A fault in a copy of the kernels, and what shows it. */
export interface Planted {
  readonly what: string;
  readonly layout: VirtqueueLayout;
  readonly mutations: readonly Mutation[];
}

const inFile =
  (file: string) =>
  (from: string, to: string): Mutation => ({
    file: `virtio/${file}.kernel.ts`,
    from,
    to,
  });
const split = inFile('split');
const splitDriver = inFile('split-driver');
const packed = inFile('packed');
const packedDriver = inFile('packed-driver');
const chain = inFile('chain');
const driver = inFile('driver');
const translate = inFile('translate');
const notify = inFile('notify');

/** Faults of order: each is right when nobody looks in between. */
export const ORDER_FAULTS: readonly Planted[] = [
  {
    what: 'the index is published before the descriptors are written',
    layout: 'split',
    mutations: [
      splitDriver(
        'const head = writeChain(queue, chain, count);',
        'atomic.store<u16>(area, <u16>(give + i + 1), VIRTQ_AREA_IDX);\nconst head = writeChain(queue, chain, count);',
      ),
    ],
  },
  {
    what: 'the index is published before the entry is written',
    layout: 'split',
    mutations: [
      splitDriver(
        'store<u32>(chain, head, CHAIN_ID);',
        'store<u32>(chain, head, CHAIN_ID);\natomic.store<u16>(area, <u16>(give + i + 1), VIRTQ_AREA_IDX);',
      ),
    ],
  },
  {
    what: "the first descriptor's flags are written first",
    layout: 'packed',
    mutations: [
      packedDriver(
        'if (first && i === 0) hold(queue, place, word);\n    else store',
        'if (first && i === 0) hold(queue, place, word);\n    store',
      ),
    ],
  },
  {
    what: 'the used index is published before the used element is written',
    layout: 'split',
    mutations: [
      split(
        '// Our record has the form of a used element (2.6.8): one move.',
        'atomic.store<u16>(area, <u16>(give + i + 1), VIRTQ_AREA_IDX);',
      ),
    ],
  },
  {
    what: 'a used descriptor has its flags before its length',
    layout: 'packed',
    mutations: [
      packed(
        'hold(queue, place, word);\n      store<u32>(descriptor, length, VIRTQ_DESC_LEN);',
        'hold(queue, place, word);\n      store<u32>(descriptor, word, VIRTQ_DESC_WORD);\n      store<u32>(descriptor, length, VIRTQ_DESC_LEN);',
      ),
    ],
  },
  {
    what: 'the length is read before the word that says it is there',
    layout: 'packed',
    mutations: [
      packedDriver(
        'const word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);',
        'const early = load<u32>(descriptor, VIRTQ_DESC_LEN);\nconst word = atomic.load<u32>(descriptor, VIRTQ_DESC_WORD);',
      ),
      packedDriver('? load<u32>(descriptor, VIRTQ_DESC_LEN) :', '? early :'),
    ],
  },
  {
    what: 'the used element is read before the index that says it is there',
    layout: 'split',
    mutations: [
      splitDriver(
        'const ready = (<u32>atomic.load<u16>(area, VIRTQ_AREA_IDX) - next) & 0xffff;',
        `const early = load<u64>(area + ((next & (size - 1)) << VIRTQ_USED_ENTRY_SHIFT), VIRTQ_AREA_RING);
        const ready = (<u32>atomic.load<u16>(area, VIRTQ_AREA_IDX) - next) & 0xffff;`,
      ),
      splitDriver(
        'const copy = load<u64>(element, VIRTQ_AREA_RING);',
        'const copy = n === 0 ? early : load<u64>(element, VIRTQ_AREA_RING);',
      ),
    ],
  },
  {
    what: 'a notification is asked for, and nobody looks again',
    layout: 'split',
    mutations: [notify('VIRTQ_AREA_IDX) === next ? 0 : 1;', 'VIRTQ_AREA_IDX) === next ? 0 : 0;')],
  },
  {
    what: 'a notification is asked for after the last look',
    layout: 'split',
    mutations: [
      notify(
        'const next = load<u32>(queue, VQ_TAKE);\n  if (hasEventIdx',
        `const next = load<u32>(queue, VQ_TAKE);
        const early = atomic.load<u16>(load<u32>(queue, VQ_PEER_AREA), VIRTQ_AREA_IDX);\n  if (hasEventIdx`,
      ),
      notify('<u32>atomic.load<u16>(load<u32>(queue, VQ_PEER_AREA), VIRTQ_AREA_IDX) === next', '<u32>early === next'),
    ],
  },
  {
    what: 'a notification is asked for, and nobody looks again',
    layout: 'packed',
    mutations: [notify('&& isReady(queue) ? 1 : 0;', '&& isReady(queue) ? 0 : 0;')],
  },
  {
    what: 'a notification is asked for after the last look',
    layout: 'packed',
    mutations: [
      notify('let word: u32 = wanted ? 0', 'const early = isReady(queue);\n  let word: u32 = wanted ? 0'),
      notify('&& isReady(queue) ? 1 : 0;', '&& early ? 1 : 0;'),
    ],
  },
];

/** Faults that any schedule shows that goes round the ring. On one side: two that forget it agree with each other. */
export const LAP_FAULTS: readonly Planted[] = [
  {
    what: 'the driver does not toggle its wrap counter where it gives',
    layout: 'packed',
    mutations: [packedDriver('wrap ^= 1;\n      bits = giveBits', 'bits = giveBits')],
  },
  {
    what: 'the driver does not toggle its wrap counter where it takes',
    layout: 'packed',
    mutations: [packedDriver('wrap ^= 1;\n      bits = takeBits', 'bits = takeBits')],
  },
  {
    what: 'the device does not toggle its wrap counter where it takes',
    layout: 'packed',
    mutations: [packed('wrap ^= 1;\n      bits = takeBits', 'bits = takeBits')],
  },
];

const same = (what: string, mutations: readonly Mutation[]): Planted[] =>
  (['split', 'packed'] as const).map((layout) => ({ what, layout, mutations }));

/** Checks left out, and what is like that: a peer that writes anything shows it. */
export const HOSTILE_FAULTS: readonly Planted[] = [
  ...same('a used length is not checked', [
    driver('written > load<u32>(entry, VQ_ID_WRITABLE)', 'written > 0xffffffff'),
  ]),
  ...same('a used id is not checked', [driver('if (id >= load<u32>(queue, VQ_SIZE))', 'if (id === 0xffffffff)')]),
  ...same('a used id that is not out is taken', [driver('if (count === 0) {', 'if (count === 0xffffffff) {')]),
  ...same('a region is one byte longer', [
    translate('length <= size - (guest - start)', 'length <= size - (guest - start) + 1'),
  ]),
  ...same('what is read may lie behind what is written', [
    chain('if (!writable && writables > 0)', 'if (count > 65535)'),
  ]),
  ...same('a chain has no end', [
    chain('if (count === load<u32>(queue, VQ_CHAIN_MAX))', 'if (count === 0xffffffff)'),
    split('const budget = load<u32>(queue, VQ_CHAIN_MAX);', 'const budget: u32 = 0xffffffff;'),
  ]),
  ...same('tables are taken that were not negotiated', [
    chain('if (!hasFeature(queue, VQ_F_INDIRECT_DESC) || flags', 'if (flags'),
  ]),
  ...same('a table may hold half a descriptor', [chain('if (length === 0 || length & (', 'if (length === 0 || 0 & (')]),
  ...same('tables nest', [
    chain('return flags & VIRTQ_DESC_F_INDIRECT ? VQ_BROKEN_INDIRECT : 0;', 'return 0;'),
    split('if (nested) return checkNesting(flags);', ''),
  ]),
  {
    what: 'the length of a table is read twice',
    layout: 'split',
    mutations: [
      // Where the descriptor lies is not known here any more: any that has this copy will do.
      split(
        'return walkTable(queue, list, chain, inner, length >> VIRTQ_DESC_SHIFT, first, behind, true);',
        'return walkTable(queue, list, chain, inner, load<u32>(load<u32>(queue, VQ_DESCRIPTORS), VIRTQ_DESC_LEN) >> VIRTQ_DESC_SHIFT, first, behind, true);',
      ),
    ],
  },
  {
    what: 'the length of a buffer is read twice',
    layout: 'packed',
    mutations: [
      packed(
        'writeSimpleChain(chainAt(list, n), segment, id, address, length, writable);',
        'writeSimpleChain(chainAt(list, n), segment, id, address, load<u32>(descriptor, VIRTQ_DESC_LEN), writable);',
      ),
    ],
  },
  {
    what: 'the word of a descriptor is read again after its check',
    layout: 'packed',
    mutations: [
      packed(
        'const code = checkId(queue, id);\n    const address',
        'const code = checkId(queue, load<u32>(descriptor, VIRTQ_DESC_WORD) & 0xffff);\n    const address',
      ),
    ],
  },
  {
    what: 'a head is not checked',
    layout: 'split',
    mutations: [split('if (head >= size) return VQ_BROKEN_ID;', '')],
  },
  {
    what: 'an id is not checked',
    layout: 'packed',
    mutations: [packed('if (id >= load<u32>(queue, VQ_SIZE)) return VQ_BROKEN_ID;', '')],
  },
  {
    what: 'a head is taken twice',
    layout: 'split',
    mutations: [split('if (load<u32>(idEntry(queue, head), VQ_ID_COUNT) !== 0) return VQ_BROKEN_ID_STATE;', '')],
  },
  {
    what: 'an id is taken twice',
    layout: 'packed',
    mutations: [packed('VQ_ID_COUNT) !== 0 ? VQ_BROKEN_ID_STATE : 0;', 'VQ_ID_COUNT) !== 0 ? 0 : 0;')],
  },
  {
    what: 'a place is taken that was not returned',
    layout: 'packed',
    mutations: [packed('if (count > free) return VQ_BROKEN_INDEX;', '')],
  },
  {
    what: 'a place of a simple chain is taken that was not returned',
    layout: 'packed',
    mutations: [
      packed(
        'const room = min(load<u32>(queue, VQ_FREE), load<u32>(list, LIST_SEGMENTS) - used);',
        'const room = load<u32>(list, LIST_SEGMENTS) - used;',
      ),
    ],
  },
  ...same('a batch does not end at its last', [
    driver('store<u32>(queue, 0, VQ_BATCH);\n      break;', 'store<u32>(queue, 0, VQ_BATCH);'),
  ]),
  {
    what: 'next leads out of the table',
    layout: 'split',
    mutations: [split('if (next >= entries) return VQ_BROKEN_NEXT;', '')],
  },
  {
    what: 'the available index jumps',
    layout: 'split',
    mutations: [split('if (ready > size) {', 'if (ready > 65535) {')],
  },
  {
    what: 'the used index jumps',
    layout: 'split',
    mutations: [splitDriver('if (ready > size) {', 'if (ready > 65535) {')],
  },
  ...LAP_FAULTS,
];
