import { DMA_FLAG, DmaModel, type ModelFaults, type ModelParameters } from 'ringway/dma';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { testArena } from '../support/arena.ts';
import { makeChannel, type Rig } from './support/channel.ts';

/** A byte takes 1 ns. */
const PLAIN: ModelParameters = { bandwidth: 1e9, latencyNs: 0, descriptorNs: 0, units: 1, workQueue: 64 };

function makeModel(parameters: Partial<ModelParameters>, rig: Rig = makeChannel()): { model: DmaModel; rig: Rig } {
  const lanes = [{ address: rig.address, priority: 0 }];
  return { model: new DmaModel(rig.arena, lanes, { ...PLAIN, ...parameters }), rig };
}

/** Copies of so many bytes, in this order, all submitted at 0. */
function submitAll({ vchan, source, target }: Rig, lengths: readonly number[], flags = 0): void {
  for (const length of lengths) vchan.copy(target, source, length, flags);
  vchan.submit();
}

/** When each operation is seen to be complete, if somebody looks all the time. */
function times(model: DmaModel, rig: Rig): number[] {
  const seen: number[] = [];
  model.advance(model.now);
  for (;;) {
    for (let n = rig.vchan.completed(64); n > 0; n--) seen.push(model.now);
    if (model.nextNs === Number.POSITIVE_INFINITY) return seen;
    model.advance(model.nextNs);
  }
}

test.each<[string, Partial<ModelParameters>, readonly number[], readonly number[]]>([
  ['one unit does them one after another', {}, [100, 50, 0, 10], [100, 150, 150, 160]],
  ['a descriptor costs its unit time', { descriptorNs: 20 }, [100, 50], [120, 190]],
  ['latency delays and does not occupy', { latencyNs: 1000 }, [100, 50], [1100, 1150]],
  // Both transfer at half the rate until the shorter is done; it is seen only after the longer, which came first.
  ['units share the bandwidth, and completions stay in order', { units: 2 }, [100, 50], [150, 150]],
  ['a unit that is free takes the next', { units: 2 }, [50, 100, 50], [100, 200, 200]],
  ['descriptors are prepared in parallel', { units: 2, descriptorNs: 30 }, [100, 100], [230, 230]],
  // Two places: the third is accepted when the first has retired.
  ['a full work queue delays', { latencyNs: 1000, workQueue: 2 }, [10, 10, 10], [1010, 1020, 2020]],
])('%s', (_, parameters, lengths, expected) => {
  const { model, rig } = makeModel(parameters);
  submitAll(rig, lengths);
  expect(times(model, rig)).toEqual(expected);
});

test('a fence waits for all before it, and those behind it do not pass', () => {
  const { model, rig } = makeModel({ units: 4, latencyNs: 100 });
  const { vchan, source, target } = rig;
  vchan.copy(target, source, 100);
  vchan.copy(target, source, 100, DMA_FLAG.FENCE);
  vchan.copy(target, source, 10, DMA_FLAG.SUBMIT);
  // At 200 the first is complete; the others share the bandwidth from then on.
  expect(times(model, rig)).toEqual([200, 410, 410]);
});

test('bytes are there when an operation completes and not before', () => {
  const { model, rig } = makeModel({ latencyNs: 50 });
  const { arena, source, target } = rig;
  submitAll(rig, [100]);
  model.advance(0);
  model.advance(149.9);
  expect(arena.u8[target + 1]).toBe(0);
  // Read late, too: whoever reuses the source early is found out.
  arena.u8[source + 1] = 99;
  expect([model.advance(150), arena.u8[target + 1]]).toEqual([1, 99]);
});

test('operations are seen when the time passes, not before', () => {
  const { model, rig } = makeModel({});
  model.advance(1000);
  submitAll(rig, [100]);
  expect(model.nextNs).toBe(Number.POSITIVE_INFINITY);
  expect([model.advance(1500), model.nextNs, model.advance(1600)]).toEqual([0, 1600, 1]);
  for (const now of [Number.POSITIVE_INFINITY, Number.NaN]) expect(() => model.advance(now)).toThrow('must be ns');
});

test('channels take turns, and those of a higher priority come first', () => {
  const arena = testArena();
  const rigs = ['a', 'b', 'c'].map((name) => makeChannel({ arena, name, ...(name === 'a' ? {} : { data: false }) }));
  const { source, target } = rigs[0] as Rig;
  const lanes = rigs.map(({ address }, i) => ({ address, priority: i === 2 ? 0 : 1 }));
  const model = new DmaModel(arena, lanes, PLAIN);
  for (const { vchan } of rigs) for (let i = 0; i < 3; i++) vchan.copy(target, source, 10, DMA_FLAG.SUBMIT);
  const order: number[] = [];
  model.advance(0);
  while (order.length < 9) {
    model.advance(model.nextNs);
    for (const [i, { vchan }] of rigs.entries()) if (vchan.completed(1) === 1) order.push(i);
  }
  expect(order.slice(0, 3)).toEqual([2, 2, 2]);
  expect(order.slice(3, 5).toSorted()).toEqual([0, 1]);
  expect(order.slice(5, 7).toSorted()).toEqual([0, 1]);
});

test('faults are where the parameters say, and the same each time', () => {
  const run = (faults: ModelFaults): number[] => {
    const { model, rig } = makeModel({ faults });
    const { arena, vchan, statuses } = rig;
    submitAll(rig, new Array(30).fill(8));
    model.drain();
    const n = vchan.completedStatus(32, statuses);
    return [...arena.u8.slice(statuses, statuses + n)];
  };
  expect(run({ fail: [2, 5] }).flatMap((status, i) => (status === 0 ? [] : [i]))).toEqual([2, 5]);
  const some = run({ failRate: 0.3, seed: 4 });
  expect(some).toEqual(run({ failRate: 0.3, seed: 4 }));
  expect(some).not.toEqual(run({ failRate: 0.3, seed: 5 }));
  expect(run({ stallFrom: 7 }).length).toBe(7);
  expect(run({ vanishAt: 9 }).length).toBe(9);
  expect(run({ failRate: 1 }).every((status) => status === 10)).toBe(true);
});

test('millions of operations in random steps: all complete, and none before the bandwidth lets it', () => {
  const { model, rig } = makeModel({ bandwidth: 30e9, latencyNs: 500, descriptorNs: 50, units: 4, workQueue: 16 });
  const { vchan, source, target } = rig;
  const random = new Random(3);
  const total = 200_000;
  let [sent, back, bytes] = [0, 0, 0];
  while (back < total) {
    for (let n = Math.min(random.below(9), total - sent); n > 0; n--) {
      const length = random.below(2048);
      if (vchan.copy(target, source, length) < 0) break;
      bytes += length;
      sent++;
    }
    vchan.submit();
    model.advance(model.now + random.below(400));
    back += vchan.completed(32);
  }
  expect(model.now).toBeGreaterThan(bytes / 30);
  expect(model.now).toBeLessThan((bytes / 30) * 4);
});

test.each([
  [{ bandwidth: 0 }, 'bandwidth=0, must be bytes per second above 0'],
  [{ latencyNs: -1 }, 'latencyNs=-1'],
  [{ descriptorNs: Number.NaN }, 'descriptorNs=NaN'],
  [{ units: 65 }, 'units=65, must be from 1 to 64'],
  [{ units: 4, workQueue: 3 }, 'workQueue=3, must be from the number of units (4)'],
  [{ faults: { failRate: 2 } }, 'faults.failRate=2, must be from 0 to 1'],
  [{ faults: { fail: [1, -1] } }, 'faults.fail=-1'],
  [{ faults: { vanishAt: 0.5 } }, 'faults.vanishAt=0.5'],
])('%j is refused', (parameters, message) => {
  expect(() => makeModel(parameters)).toThrow(message);
});
