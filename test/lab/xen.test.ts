import { expect, test } from 'vitest';
import { BurstProgram, shareProgram } from '#build/lab/burst-program.js';
import { DROP, SWAP_TX } from '#build/lab/xdp-programs.js';
import { contenderOf } from '#build/lab/xen-turns.js';
import { createGround, type XenCase, XenWorld } from '#build/lab/xen-world.js';

const open = (one: XenCase): Promise<XenWorld> => XenWorld.open(createGround([one]), one);
const STAGING = { kind: 'staging', tx: 256, rx: 256 } as const;

// That nothing is lost, and all buffers and grants are back, is asserted when a world is closed.
test.each([
  [{ kind: 'copy' }, 1],
  [STAGING, 0],
  [{ kind: 'data-ring', order: 5 }, 0],
  [{ kind: 'control' }, 0],
] as const)('%j: a turn moves a ring full of packets, with %i copies by grant each', async (path, copies) => {
  for (const way of ['tx', 'rx'] as const) {
    const world = await open({ mode: 'plain', path, queues: 2 });
    for (const lane of world.lanes) {
      const { give, take } = contenderOf(world, lane, way, 64);
      const before = world.costs().copies;
      for (let i = 0; i < 3; i++) {
        expect(give()).toBe(256);
        take();
      }
      expect(world.costs().copies - before).toBe(3 * 256 * copies);
    }
    await world.close();
  }
});

test('a stack, a program and a page that is mapped are what is done with packets that arrive', async () => {
  for (const [way, use] of [
    ['rx', 'stack'],
    ['rx', 'program'],
    ['tx', 'map'],
  ] as const) {
    const world = await open({ mode: 'plain', path: STAGING, queues: 1 });
    const [lane] = world.lanes;
    if (lane === undefined) throw new Error('no lane');
    const before = world.costs().maps;
    const { give, take } = contenderOf(world, lane, way, 64, use);
    expect(give()).toBe(256);
    take();
    expect(world.costs().maps - before).toBe(use === 'map' ? 256 : 0);
    await world.close();
  }
});

test('what a path shares beside rings and slots', async () => {
  const own = async (path: XenCase['path']): Promise<number> => {
    const world = await open({ mode: 'plain', path, queues: 1 });
    const { own } = world.sharedBytes();
    await world.close();
    return own;
  };
  expect(await own({ kind: 'copy' })).toBe(0);
  // Each way 256 buffers of 256 bytes, and the page that lists them.
  expect(await own(STAGING)).toBe(2 * (256 * 256 + 4096));
  expect(await own({ kind: 'staging', tx: 65_536, rx: 65_536 })).toBe(2 * 4096);
  expect(await own({ kind: 'data-ring', order: 5 })).toBe(33 * 4096);
});

test('a program on a burst drops or sends back', async () => {
  const world = await open({ mode: 'plain', path: STAGING, queues: 1 });
  const [lane] = world.lanes;
  if (lane === undefined) throw new Error('no lane');
  const { cache, burst } = lane.front;
  const { poolAlloc, poolFree } = world.arena.kernels<{
    poolAlloc(cache: number, slots: number, n: number): number;
    poolFree(cache: number, slots: number, n: number): void;
  }>();
  const make = (): void => {
    poolAlloc(cache, burst, 8);
    for (let i = 0; i < 8; i++) world.arena.u16[(burst + i * 16 + 6) >>> 1] = 64;
  };
  const drop = new BurstProgram(world.arena, shareProgram(world.arena, { name: 'drop', text: DROP, cache }));
  make();
  expect([drop.run(burst, 8), drop.leavingCount]).toEqual([0, 0]);
  const back = new BurstProgram(world.arena, shareProgram(world.arena, { name: 'back', text: SWAP_TX, cache }));
  make();
  expect([back.run(burst, 8), back.leavingCount]).toEqual([0, 8]);
  poolFree(cache, back.leaving, 8);
  await world.close();
});
