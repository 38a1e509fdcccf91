import type { XenStore } from 'ringway/xen';
import { expect, test } from 'vitest';
import { Store } from '#build/xen/store.js';
import { type FoundVif, VifFinder } from '#build/xen/system/vif-finder.js';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** A look is some rounds with the store. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await settle();
}

const add = (root: XenStore, place: string, vifname: string): Promise<void> =>
  root.write(`/local/domain/0/backend/vif/${place}/vifname`, vifname);
const remove = (root: XenStore, place: string): Promise<void> => root.remove(`/local/domain/0/backend/vif/${place}`);

function makeFinder() {
  const root = new Store().introduce(0);
  const seen: (FoundVif | undefined | string)[] = [];
  const state = { busy: 0, fails: false };
  const finder = new VifFinder(
    root,
    'net0',
    async (found) => {
      // One change is dealt with before the next is told.
      state.busy++;
      await settle();
      seen.push(state.busy === 1 ? found : 'at the same time');
      state.busy--;
      if (state.fails) throw new Error('no');
    },
    (error) => seen.push((error as Error).message),
  );
  return { root, finder, seen, state };
}

test('the device of the name is found when it is there, when it comes, and when it comes again', async () => {
  const { root, finder, seen } = makeFinder();
  await add(root, '1/0', 'other');
  await add(root, '1/1', 'net0');
  await finder.start();
  await settled();
  expect(seen.splice(0)).toEqual([{ frontend: 1, index: 1 }]);
  // Another one of the name waits until the first has gone.
  await add(root, '2/0', 'net0');
  await settled();
  expect(seen).toEqual([]);
  await remove(root, '1');
  await settled();
  expect(seen.splice(0)).toEqual([undefined, { frontend: 2, index: 0 }]);
  await remove(root, '2');
  await settled();
  expect(seen.splice(0)).toEqual([undefined]);
  await finder.stop();
  await add(root, '3/0', 'net0');
  await settled();
  expect(seen).toEqual([]);
});

test('numbers that are none are passed over, and what fails is told once for each look', async () => {
  const { root, finder, seen, state } = makeFinder();
  for (const place of ['x/0', '1/x', '123456/0']) await add(root, place, 'net0');
  await finder.start();
  await settled();
  expect(seen).toEqual([]);
  state.fails = true;
  await add(root, '1/7', 'net0');
  await settled();
  expect(seen).toEqual([{ frontend: 1, index: 7 }, 'no']);
  await finder.stop();
});
