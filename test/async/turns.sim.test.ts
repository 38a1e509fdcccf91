import { beforeAll, expect, test } from 'vitest';
import { SimulationFailure } from '#build/sim/index.js';
import { compileTraced } from '../support/kernels.ts';
import { turns } from './support/turns.ts';

const FOLDERS = ['async', 'dma', 'memory', 'virtio'];

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: FOLDERS, pausable: true });
});

test('lcores take turns with a channel, whatever the order of accesses', () => {
  expect(turns(module).explore(50)).toBeGreaterThan(50 * 100);
});

test.each([
  ['nobody waits for the lock', { from: 'if (load<u32>(track, TRACK_SHARED) === 0) return;', to: 'return;' }],
  [
    'it is given up before completions are collected',
    { from: '  collect(track);\n  release(track);', to: '  release(track);\n  collect(track);' },
  ],
])('it is found when %s', async (_, { from, to }) => {
  const mutations = [{ file: 'async/track.kernel.ts', from, to }];
  const planted = turns(await compileTraced({ folders: FOLDERS, pausable: true, mutations }));
  expect(() => planted.explore(500)).toThrow(SimulationFailure);
});
