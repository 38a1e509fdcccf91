import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { VIRTQ_DESC_WORD } from '#build/virtio/layout.js';
import { compileTraced } from '../support/kernels.ts';
import { runModel } from './support/model.ts';
import type { Rig, RigOptions } from './support/rig.ts';
import { deviceWindows, driverWindows, FetchWatch, sharedWindows, tracedRig, watchWindows } from './support/watch.ts';

const cases: [RigOptions][] = [
  [{ layout: 'split', size: 8 }],
  [{ layout: 'split', size: 8, indirect: 3, eventIdx: true }],
  [{ layout: 'packed', size: 7 }],
  [{ layout: 'split', size: 8, indirect: 3, inOrder: true }],
  [{ layout: 'packed', size: 7, indirect: 3, eventIdx: true }],
  [{ layout: 'packed', size: 7, indirect: 3, inOrder: true }],
];

test.each(cases)('%j: kernels touch their own state, the ring and the regions alone', (options) => {
  const { rig, driverArena, deviceArena } = tracedRig(options);
  watchWindows(driverArena, driverWindows(rig, options));
  watchWindows(deviceArena, deviceWindows(rig, options));
  expect(runModel(options, new Random(1), 2_000, false, rig)).toBeGreaterThan(300);
});

/** The rig with `between` called before each call of a side. */
function withCalls(rig: Rig, between: () => void): Rig {
  const wrap = <T extends object>(side: T): T =>
    Object.fromEntries(
      Object.entries(side).map(([name, value]) => [
        name,
        typeof value !== 'function'
          ? value
          : (...args: unknown[]) => {
              between();
              return value(...args);
            },
      ]),
    ) as T;
  return { ...rig, driver: wrap(rig.driver), device: wrap(rig.device) };
}

/** What a run of the model loads twice in one call, without what is documented to be. */
function fetchedTwice(options: RigOptions, module?: WebAssembly.Module): string[] {
  const { rig, driverArena, deviceArena } = tracedRig(options, module);
  const shared = sharedWindows(rig, options);
  const watches = [new FetchWatch(driverArena, shared), new FetchWatch(deviceArena, shared)];
  const run = withCalls(rig, () => {
    for (const watch of watches) watch.nextCall();
  });
  runModel(options, new Random(1), 1_000, false, run);
  const { descriptors } = rig.rings;
  // A packed ring says by a descriptor's word that it is there, and the copy behind that has the word once more. Of the
  // first only AVAIL and USED are looked at, of the second all else.
  const isWord = (address: number): boolean =>
    options.layout === 'packed' &&
    address >= descriptors &&
    address < descriptors + options.size * 16 &&
    (address - descriptors) % 16 >= VIRTQ_DESC_WORD;
  const found = watches.flatMap((watch) => watch.found.filter(({ address }) => !isWord(address)));
  return [...new Set(found.map(({ first, second }) => `${first}, ${second}`))];
}

test.each(cases)('%j: no shared word is loaded twice in a call', (options) => {
  expect(fetchedTwice(options)).toEqual([]);
});

test('a second load is found', async () => {
  const file = 'virtio/split-driver.kernel.ts';
  const module = await compileTraced({
    folders: ['virtio'],
    mutations: [
      {
        file,
        from: 'acceptUsed(queue, <u32>copy, <u32>(copy >> 32)',
        to: 'acceptUsed(queue, <u32>copy, load<u32>(element, VIRTQ_AREA_RING + 4)',
      },
    ],
  });
  expect(fetchedTwice({ layout: 'split', size: 8 })).toEqual([]);
  expect(fetchedTwice({ layout: 'split', size: 8 }, module).join()).toMatch(/split-driver\.kernel.*poll/);
});

test('an access outside the windows is found', async () => {
  const module = await compileTraced({
    folders: ['virtio'],
    mutations: [{ file: 'virtio/split.kernel.ts', from: '(give + batch) & mask', to: '(give + batch)' }],
  });
  const options: RigOptions = { layout: 'split', size: 8 };
  const { rig, deviceArena } = tracedRig(options, module);
  watchWindows(deviceArena, deviceWindows(rig, options));
  expect(() => runModel(options, new Random(1), 500, false, rig)).toThrow(/writeUsed: store of 8 bytes .* outside/);
});
