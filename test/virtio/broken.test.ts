import type { VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import {
  VIRTIO_REGION_SIZE,
  VIRTIO_REGIONS_FIRST,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_WORD,
  VQ_BROKEN_ADDRESS,
  VQ_BROKEN_CHAIN,
  VQ_BROKEN_ID,
  VQ_BROKEN_ID_STATE,
  VQ_BROKEN_INDEX,
  VQ_BROKEN_INDIRECT,
  VQ_BROKEN_LENGTH,
  VQ_BROKEN_NEXT,
  VQ_BROKEN_ORDER,
} from '#build/virtio/layout.js';
import { GUEST_OFFSET, makeRig, type Rig } from './support/rig.ts';

const SIZE = 4;
const NEXT = VIRTQ_DESC_F_NEXT;
const WRITE = VIRTQ_DESC_F_WRITE;
const INDIRECT = VIRTQ_DESC_F_INDIRECT;

/** A descriptor as a driver writes it: where in the buffers, bytes, flags, and next index (split) or id (packed). */
type Descriptor = readonly [at: number, length: number, flags: number, link: number];

/** Writes descriptors at `address`; those of a packed ring are available in the first lap. */
function write(rig: Rig, layout: VirtqueueLayout, address: number, descriptors: readonly Descriptor[]): void {
  for (const [i, [at, length, flags, link]] of descriptors.entries()) {
    const guest = GUEST_OFFSET + BigInt(rig.buffers + at);
    const turn = layout === 'packed' ? VIRTQ_DESC_F_AVAIL : 0;
    rig.mockDriver.raw.writeDescriptor(address, i, { guest, length, flags: flags | turn, link });
  }
}

/** What the device breaks with, and how many chains it took before. Tables start 256 bytes into the buffers. */
function verdict(
  layout: VirtqueueLayout,
  ring: readonly Descriptor[],
  heads: readonly number[] = [0],
  table: readonly Descriptor[] = [],
  indirect = SIZE,
): [number, number] {
  const rig = makeRig({ layout, size: SIZE, indirect });
  write(rig, layout, rig.rings.descriptors, ring);
  write(rig, layout, rig.buffers + 256, table);
  if (layout === 'split') rig.mockDriver.offer(heads);
  const n = rig.device.take(rig.taken, SIZE);
  expect(rig.device.take(rig.taken, SIZE)).toBe(0);
  expect(rig.device.brokenCount()).toBe(rig.device.broken() === 0 ? 0 : 1);
  return [rig.device.broken(), n];
}

const fine: Descriptor = [0, 64, 0, 0];
const both = ['split', 'packed'] as const;

test.each(both)('%s: what a chain may not be', (layout) => {
  expect(verdict(layout, [fine])).toEqual([0, 1]);
  expect(verdict(layout, [[0, 256 * 64 + 1, 0, 0]])).toEqual([VQ_BROKEN_ADDRESS, 0]);
  expect(verdict(layout, [[-64, 64, 0, 0]])).toEqual([VQ_BROKEN_ADDRESS, 0]);
  expect(verdict(layout, [[0, 64, WRITE | NEXT, 1], fine])).toEqual([VQ_BROKEN_ORDER, 0]);
  const loop = [0, 1, 2, 3].map((i): Descriptor => [0, 64, NEXT, layout === 'split' ? (i + 1) % SIZE : 0]);
  expect(verdict(layout, loop)).toEqual([VQ_BROKEN_CHAIN, 0]);
});

test.each(both)('%s: what an indirect table may not be', (layout) => {
  const refer = (length: number, flags = 0): Descriptor => [256, length, INDIRECT | flags, 0];
  const link = layout === 'split' ? NEXT : 0;
  expect(
    verdict(
      layout,
      [refer(32)],
      [0],
      [
        [0, 8, link, 1],
        [8, 8, WRITE, 0],
      ],
    ),
  ).toEqual([0, 1]);
  // 2.6.5.3.2: WRITE beside INDIRECT means nothing.
  expect(verdict(layout, [refer(16, WRITE)], [0], [fine])).toEqual([0, 1]);
  expect(verdict(layout, [refer(16)], [0], [fine], 0)).toEqual([VQ_BROKEN_INDIRECT, 0]);
  expect(verdict(layout, [refer(0)])).toEqual([VQ_BROKEN_INDIRECT, 0]);
  expect(verdict(layout, [refer(24)])).toEqual([VQ_BROKEN_INDIRECT, 0]);
  expect(verdict(layout, [refer(16, NEXT), fine])).toEqual([VQ_BROKEN_INDIRECT, 0]);
  expect(verdict(layout, [refer(16)], [0], [refer(16)])).toEqual([VQ_BROKEN_INDIRECT, 0]);
  expect(verdict(layout, [refer(1 << 20)])).toEqual([VQ_BROKEN_ADDRESS, 0]);
});

test('split: heads and links that lead nowhere', () => {
  expect(verdict('split', [fine], [SIZE])).toEqual([VQ_BROKEN_ID, 0]);
  expect(verdict('split', [fine], [0, 0])).toEqual([VQ_BROKEN_ID_STATE, 1]);
  expect(verdict('split', [[0, 64, NEXT, SIZE]])).toEqual([VQ_BROKEN_NEXT, 0]);
  expect(verdict('split', [[256, 16, INDIRECT, 0]], [0], [[0, 8, NEXT, 1]])).toEqual([VQ_BROKEN_NEXT, 0]);
  // 2.6.5.3.1: descriptors of the ring may precede one that refers to a table.
  expect(
    verdict(
      'split',
      [
        [0, 8, NEXT, 1],
        [256, 16, INDIRECT, 0],
      ],
      [0],
      [fine],
    ),
  ).toEqual([0, 1]);
  const rig = makeRig({ layout: 'split', size: SIZE });
  rig.mockDriver.offer([0], SIZE + 1);
  expect([rig.device.take(rig.taken, 1), rig.device.broken()]).toEqual([0, VQ_BROKEN_INDEX]);
});

test('packed: ids that are not free, and places that are not', () => {
  expect(verdict('packed', [[0, 64, 0, SIZE]])).toEqual([VQ_BROKEN_ID, 0]);
  expect(verdict('packed', [fine, fine])).toEqual([VQ_BROKEN_ID_STATE, 1]);
  expect(
    verdict(
      'packed',
      [
        [0, 8, NEXT, 0],
        [256, 16, INDIRECT, 0],
      ],
      [0],
      [fine],
    ),
  ).toEqual([VQ_BROKEN_INDIRECT, 0]);
  const rig = makeRig({ layout: 'packed', size: SIZE });
  write(
    rig,
    'packed',
    rig.rings.descriptors,
    [0, 1, 2, 3].map((id): Descriptor => [0, 8, 0, id]),
  );
  expect(rig.device.take(rig.taken, SIZE)).toBe(SIZE);
  // The next lap's flags in a place whose chain was not returned.
  rig.arena.u16[(rig.rings.descriptors + VIRTQ_DESC_WORD + 2) >>> 1] = VIRTQ_DESC_F_USED;
  expect([rig.device.take(rig.taken, SIZE), rig.device.broken()]).toEqual([0, VQ_BROKEN_INDEX]);
});

test.each(both)('%s: what a device may not return, and nothing is lost by it', (layout) => {
  const returned = (id: number, length: number, times = 1): [number, number] => {
    const rig = makeRig({ layout, size: SIZE });
    rig.adding.push([{ address: rig.buffers, length: 64 }], [{ address: rig.buffers, length: 64 }]);
    expect(rig.driver.add(rig.adding, 1)).toBe(1);
    for (let i = 0; i < times; i++) {
      if (layout === 'split') {
        rig.mockDriver.raw.writeUsed(rig.rings.deviceArea, i, id, length);
      } else {
        // The used descriptor of a chain of two stands in its first place; the next one is two places on.
        const flags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED | WRITE;
        rig.mockDriver.poke(i * 2, { guest: 0n, length, flags, link: id });
      }
    }
    if (layout === 'split') rig.mockDriver.raw.writeIndex(rig.rings.deviceArea, times);
    const n = rig.driver.poll(rig.records, SIZE);
    expect(n + rig.driver.detach(rig.records, SIZE)).toBe(1);
    expect(rig.driver.free()).toBe(SIZE);
    return [rig.driver.broken(), n];
  };
  expect(returned(0, 64)).toEqual([0, 1]);
  expect(returned(0, 65)).toEqual([VQ_BROKEN_LENGTH, 0]);
  expect(returned(1, 0)).toEqual([VQ_BROKEN_ID_STATE, 0]);
  expect(returned(SIZE, 0)).toEqual([VQ_BROKEN_ID, 0]);
  expect(returned(0, 0, 2)).toEqual([VQ_BROKEN_ID_STATE, 1]);
});

test('split: a used index that jumps', () => {
  const rig = makeRig({ layout: 'split', size: SIZE });
  rig.mockDriver.raw.writeIndex(rig.rings.deviceArea, SIZE + 1);
  expect([rig.driver.poll(rig.records, 1), rig.driver.broken()]).toEqual([0, VQ_BROKEN_INDEX]);
});

test.each(both)('%s: a chain has less than 2^32 bytes', (layout) => {
  const taken = (last: number): [number, number] => {
    const rig = makeRig({ layout, size: SIZE });
    // A device looks at no buffer, so one may be said to be larger than the arena.
    const entry = rig.regions.address + VIRTIO_REGIONS_FIRST;
    rig.arena.u32.set([0xffffffff, 0], (entry + VIRTIO_REGION_SIZE) >>> 2);
    write(rig, layout, rig.rings.descriptors, [
      [0, 0x80000000, NEXT, 1],
      [0, last, 0, 0],
    ]);
    if (layout === 'split') rig.mockDriver.offer([0]);
    const n = rig.device.take(rig.taken, SIZE);
    return [rig.device.broken(), n];
  };
  expect(taken(0x7fffffff)).toEqual([0, 1]);
  expect(taken(0x80000000)).toEqual([VQ_BROKEN_LENGTH, 0]);
});
