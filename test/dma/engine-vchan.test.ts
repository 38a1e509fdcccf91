import { DMA_FLAG, DMA_STATUS, EngineVchan } from 'ringway/dma';
import { expect, test } from 'vitest';
import { openVchan } from '#build/dma/vchan.js';
import workerEngine from '#build/dma/worker-engine.js';
import { LCORE_BYTES, LCORE_DOORBELL, LCORE_PARKED } from '#build/lcore/layout.js';
import { BASES, testArena } from '../support/arena.ts';
import { makeChannel, type Rig } from './support/channel.ts';

test.each(BASES)('at base %i: an engine sees operations as they were enqueued', (base) => {
  const { arena, vchan, address, source, target, lists } = makeChannel({ arena: testArena(1 << 20, base) });
  const engine = new EngineVchan(arena, address, 0);
  vchan.copy(target, source, 100);
  vchan.fill(target + 8, 0x80000001, 0xfffffffe, 16, DMA_FLAG.FENCE);
  arena.u32.set([target, 4, target + 8, 6, source, 10], lists >>> 2);
  vchan.copySg(lists, 2, lists + 16, 1);
  vchan.copy(target, 16, 1);
  expect(engine.pending()).toBe(0);
  vchan.submit();
  expect(engine.pending()).toBe(4);
  expect([0, 1, 2].map((i) => engine.operation(i))).toEqual([
    {
      op: 'copy',
      fence: false,
      targets: [{ address: target, length: 100 }],
      sources: [{ address: source, length: 100 }],
      pattern: [0, 0],
    },
    {
      op: 'fill',
      fence: true,
      targets: [{ address: target + 8, length: 16 }],
      sources: [],
      pattern: [0x80000001, 0xfffffffe],
    },
    {
      op: 'sg',
      fence: false,
      targets: [
        { address: target, length: 4 },
        { address: target + 8, length: 6 },
      ],
      sources: [{ address: source, length: 10 }],
      pattern: [0, 0],
    },
  ]);
  expect([0, 1, 2, 3].map((i) => engine.check(i))).toEqual([0, 0, 0, DMA_STATUS.INVALID_SRC_ADDR]);
});

test('an engine may do operations in any order; they are completed in theirs', () => {
  const { arena, vchan, address, source, target, statuses } = makeChannel();
  const engine = new EngineVchan(arena, address, 0);
  for (let i = 0; i < 4; i++) vchan.copy(target + i * 8, source + 1, 8);
  vchan.submit();
  expect([engine.execute(3), engine.execute(0)]).toEqual([0, 0]);
  expect([arena.u8[target + 24] !== 0, vchan.completed(8)]).toEqual([true, 0]);
  engine.complete(1);
  // What was 3 is 2 now.
  engine.fail(2, 200);
  engine.execute(0);
  engine.execute(1);
  engine.complete(3);
  expect(vchan.completedStatus(8, statuses)).toBe(4);
  expect([...arena.u8.slice(statuses, statuses + 4)]).toEqual([0, 0, 0, 200]);
});

test('an engine is refused what it may not do', () => {
  const { arena, vchan, address, source, target } = makeChannel();
  const engine = new EngineVchan(arena, address, 0);
  vchan.copy(target, source, 8);
  expect(() => engine.execute(0)).toThrow('dma engine: operation 0, and 0 are pending');
  vchan.submit();
  for (const i of [1, -1, 0.5, Number.NaN]) {
    expect(() => engine.operation(i)).toThrow('and 1 are pending');
    expect(() => engine.fail(i, 1)).toThrow('and 1 are pending');
  }
  for (const status of [0, 256, 1.5]) expect(() => engine.fail(0, status)).toThrow('must be from 1 to 255');
  for (const n of [2, -1, 0.5]) expect(() => engine.complete(n)).toThrow(`complete(${n}), and 1 are pending`);
  engine.complete(0);
  expect(engine.pending()).toBe(1);
});

test('the worker serves a lower priority when the higher have nothing, and channels of one priority alike', async () => {
  const arena = testArena();
  const rigs = ['a', 'b', 'c'].map((name) => makeChannel({ arena, name, descriptors: 256, data: name === 'a' }));
  const { source, target } = rigs[0] as Rig;
  const vchans = rigs.map(({ address }, i) => new EngineVchan(arena, address, i === 0 ? 0 : 1));
  const poll = await workerEngine.start({ arena, vchans, options: undefined });
  for (const { vchan } of rigs) for (let i = 0; i < 70; i++) vchan.copy(target, source, 8);
  for (const { vchan } of rigs) vchan.submit();
  const left = (): number[] => vchans.map((vchan) => vchan.pending());
  const seen = Array.from({ length: 7 }, () => [poll(), ...left()]);
  expect(seen).toEqual([
    [32, 38, 70, 70],
    [32, 6, 70, 70],
    [6, 0, 70, 70],
    [64, 0, 38, 38],
    [64, 0, 6, 6],
    [12, 0, 0, 0],
    [0, 0, 0, 0],
  ]);
});

test('a submit rings when the engine sleeps, and only then', () => {
  const { arena, vchan, address, source, target } = makeChannel();
  const bell = arena.allocate('bell', LCORE_BYTES);
  openVchan(arena, address, bell);
  const rung = (): number | undefined => arena.u32[(bell + LCORE_DOORBELL) >>> 2];
  vchan.copy(target, source, 8, DMA_FLAG.SUBMIT);
  expect(rung()).toBe(0);
  arena.u32[(bell + LCORE_PARKED) >>> 2] = 1;
  vchan.submit();
  // Nothing was pending.
  expect(rung()).toBe(0);
  vchan.copy(target, source, 8, DMA_FLAG.SUBMIT);
  expect(rung()).toBe(1);
});
