import type { VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { someOf } from '../support/effort.ts';
import { compileTraced, tryMutations } from '../support/kernels.ts';
import { frameOf, join, NO_DROPS } from './support/net-queue-rig.ts';
import { Burst } from './support/packed-burst.ts';
import {
  BREAKS,
  COUNT,
  FRAME,
  HEADERS,
  LENGTHS,
  ROOMS,
  receiveLength,
  receiveUntilBroken,
  searchFault,
  sendOver,
  sendRoom,
  sendUntilBroken,
  WRONG,
} from './support/packed-hostile.ts';

const cases = <T>(list: readonly T[]): (readonly [VirtqueueLayout, 10 | 12 | 20, boolean, T])[] =>
  (['packed', 'split'] as const).flatMap((layout) =>
    HEADERS.flatMap((headerBytes) =>
      [false, true].flatMap((inOrder) => list.map((each) => [layout, headerBytes, inOrder, each] as const)),
    ),
  );

test.each(cases(BREAKS))(
  '%s, header of %i, in order %s: what a driver sends before a chain that breaks the queue arrives: %o',
  (layout, headerBytes, inOrder, each) => receiveUntilBroken({ layout, headerBytes, inOrder }, each),
);

test.each(cases(LENGTHS))(
  '%s, header of %i, in order %s: a chain that is none of a frame is counted, and costs no other: %o',
  (layout, headerBytes, inOrder, each) => receiveLength({ layout, headerBytes, inOrder }, each),
);

test.each(cases(BREAKS).filter(([layout]) => layout === 'packed'))(
  '%s, header of %i, in order %s: what a device sends before a chain that breaks the queue arrives: %o',
  (layout, headerBytes, inOrder, each) => sendUntilBroken({ layout, headerBytes, inOrder }, each),
);

test.each(cases(ROOMS))(
  '%s, header of %i, in order %s: frames that find no room are counted: %o',
  (layout, headerBytes, inOrder, each) => sendRoom({ layout, headerBytes, inOrder }, each),
);

test.each(HEADERS)('a header of %i bytes is right whatever lay there', (headerBytes) => {
  sendOver(headerBytes);
});

test.each(['packed', 'split'] as const)(
  '%s: a burst that finds too few buffers is counted, and its chains come back',
  (layout) => {
    const bad = Uint8Array.of(1, 1, 54, 0, 100, 0, 34, 0, 6, 0, 0, 0);
    const burst = new Burst({ layout, offloads: 1 << 1, left: 8 });
    const { side } = burst;
    const isBad = (i: number): boolean => i % 4 === 1;
    burst.add(...Array.from({ length: 20 }, (_, i) => join(isBad(i) ? bad : new Uint8Array(12), frameOf(FRAME, i))));
    const got = side.receive().map((frame) => [...frame]);
    // What is refused leaves its buffer to the next.
    expect(got).toEqual([0, 2, 3, 4, 6, 7, 8, 10].map((i) => [...frameOf(FRAME, i)]));
    expect(side.net.drops()).toEqual({ ...NO_DROPS, bad: 3, empty: 9 });
    side.net.detach();
    expect(side.driver.receive()).toHaveLength(20);
    burst.add(join(new Uint8Array(12), frameOf(FRAME)));
    expect(side.receive()).toHaveLength(1);
    side.finish();
  },
);

test('ids that are 64 apart are no id that is offered twice', () => {
  const burst = new Burst({ layout: 'packed', size: 100 });
  const { side } = burst;
  burst.add(...Array(COUNT).fill(2048));
  burst.rename(WRONG, burst.id(WRONG - 1) + 64);
  const ids = Array.from({ length: COUNT }, (_, i) => burst.descriptor(i).link);
  expect(side.send(...Array.from({ length: COUNT }, (_, i) => frameOf(FRAME, i)))).toBe(COUNT);
  expect(side.broken()).toBe(0);
  expect(Array.from(ids, (_, i) => burst.descriptor(i).link)).toEqual(ids);
  side.finish();
});

const PLACE = 'load<u32>(queue, VQ_SIZE) - place';
/** What is changed in packed-net.kernel.ts, and into what. */
const FAULTS: readonly (readonly [what: string, from: string, to: string])[] = [
  [
    'an address is not checked',
    'if (header === 0 || checkId(queue, id) !== 0) break;',
    'if (checkId(queue, id) !== 0) break;',
  ],
  ['an id is not checked', 'if (header === 0 || checkId(queue, id) !== 0) break;', 'if (header === 0) break;'],
  ['any kind of chain is taken', '|| word & NOT_READABLE) break;', ') break;'],
  ['any length is taken', 'if (frame - NET_FRAME_MIN > BUFFER_FRAME_MAX - NET_FRAME_MIN) break;', ''],
  ['what was refused keeps its buffer', 'if (n < have) free(cache, slots + (n << SLOT_SHIFT), have - n);', ''],
  ['what was taken does not come back', 'store<u32>(netq, pending + taken, NETQ_PENDING);', ''],
  ['room is not checked', 'if (length < headerBytes + frame || id >= size) break;', 'if (id >= size) break;'],
  [
    'an id to send to is not checked',
    'if (length < headerBytes + frame || id >= size) break;',
    'if (length < headerBytes + frame) break;',
  ],
  [
    'an id that is offered twice is not looked for',
    'if (<u32>popcnt<u64>(seen) === n) return n;',
    'if (n > 0) return n;',
  ],
  ['an address to send to is not checked', 'if (target === 0) break;', ''],
  ['a buffer to read is written', '|| (word & NOT_READABLE) !== WRITABLE) break;', ') break;'],
  ['the wrap counter stays', 'load<u32>(queue + at, 4) ^ u32(isEnd)', 'load<u32>(queue + at, 4)'],
  ['a header is taken for what it is not', 'renewHeader(netq, slot, <u32>entry - headerBytes);', ''],
  ['an id is written down twice', 'store<u32>(queue, id, VQ_FREE_HEAD);', ''],
  [
    'places are given that are not free',
    `const most = min(min(count, load<u32>(queue, VQ_FREE)), ${PLACE});`,
    `const most = min(count, ${PLACE});`,
  ],
];
const mutationOf = ([, from, to]: (typeof FAULTS)[number]) => [{ file: 'virtio/packed-net.kernel.ts', from, to }];
const folders = ['virtio', 'memory'];

test('every planted fault has its place in the sources', () => {
  for (const fault of FAULTS) tryMutations(mutationOf(fault));
});

test.each(someOf(FAULTS, 8))('it is found when %s', async (...fault) => {
  const module = await compileTraced({ folders, mutations: mutationOf(fault) });
  expect(() => searchFault(module)).toThrow();
});
