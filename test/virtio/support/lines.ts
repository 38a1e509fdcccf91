import type { VirtqueueLayout } from 'ringway/virtio';
import { tracedArena } from '../../support/traced.ts';
import { makeRig, RIG_BYTES, SLOT_BYTES } from './rig.ts';
import { inside, sharedWindows } from './watch.ts';

const LINE_SHIFT = 6;
/** Descriptors of the queue: several laps of each batch, and more lines than any batch touches. */
const SIZE = 256;
const LAPS = 4;

/** The calls that a batch of chains takes, in their order. */
export const CALLS = ['add', 'take', 'return', 'poll'] as const;
type Call = (typeof CALLS)[number];

/** Cache lines of 64 bytes that a batch needs, on average over some laps of the ring. */
export interface LineCount {
  /** Distinct ones that it reads or writes. */
  readonly touched: number;
  readonly written: number;
}

/**
 * Cache lines of the ring, which driver and device share, that each call touches for a batch of chains of one buffer;
 * and `all`: the lines that go from one core to the other, as the sum of the calls, a chain.
 */
export function ringLines(layout: VirtqueueLayout, batch: number): Record<Call | 'all', LineCount> {
  const arena = tracedArena(RIG_BYTES);
  const options = { layout, size: SIZE };
  const rig = makeRig({ ...options, arena });
  const { driver, device, adding, taken, records, buffers } = rig;
  const shared = sharedWindows(rig, options);
  for (let i = 0; i < batch; i++) adding.push([{ address: buffers + i * SLOT_BYTES, length: SLOT_BYTES }], []);
  const touched = new Set<number>();
  const written = new Set<number>();
  arena.onAccess((address, bytes, kind) => {
    if (!inside(shared, address, bytes)) return;
    for (let line = address >>> LINE_SHIFT; line <= (address + bytes - 1) >>> LINE_SHIFT; line++) {
      touched.add(line);
      if (!kind.endsWith('load')) written.add(line);
    }
  });
  const calls: Record<Call, () => number> = {
    add: () => driver.add(adding, batch),
    take: () => device.take(taken, batch),
    return: () => device.return(records, batch),
    poll: () => driver.poll(records, batch),
  };
  const sums = { add: [0, 0], take: [0, 0], return: [0, 0], poll: [0, 0] };
  const rounds = (SIZE / batch) * LAPS;
  for (let round = 0; round < rounds; round++) {
    for (const name of CALLS) {
      if (name === 'return') for (let i = 0; i < batch; i++) arena.u32.set([taken.id(i), 0], (records >>> 2) + i * 2);
      touched.clear();
      written.clear();
      if (calls[name]() !== batch) throw new Error(`${layout}: ${name} did not do the batch of ${batch}`);
      sums[name][0] = (sums[name][0] ?? 0) + touched.size;
      sums[name][1] = (sums[name][1] ?? 0) + written.size;
    }
  }
  const count = (pairs: number[][], per: number): LineCount => ({
    touched: pairs.reduce((sum, [lines = 0]) => sum + lines, 0) / per,
    written: pairs.reduce((sum, [, lines = 0]) => sum + lines, 0) / per,
  });
  return {
    add: count([sums.add], rounds),
    take: count([sums.take], rounds),
    return: count([sums.return], rounds),
    poll: count([sums.poll], rounds),
    all: count(Object.values(sums), rounds * batch),
  };
}
