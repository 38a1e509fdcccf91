import type { Arena } from 'ringway/memory';
import {
  createChainList,
  createRegionTable,
  createVirtqueueDriver,
  type DeviceType,
  featureMask,
  type Segment,
  VIRTIO_F,
  VIRTIO_STATUS,
  VirtioDevice,
  type VirtqueueDriver,
  type VirtqueueLayout,
  virtqueueBytes,
} from 'ringway/virtio';
import { expect } from 'vitest';
import type { Random } from '#build/util/random.js';
import { testArena } from '../../support/arena.ts';
import { GUEST_OFFSET } from './rig.ts';

const SIZE = 16;
const GUEST_BYTES = 65536;
/** The rings take the first bytes of the guest's memory; its buffers the rest. */
const BUFFERS = 4096;
const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = VIRTIO_STATUS;

/** A device under attack: what it is, which queue is attacked, and what its driver writes into a chain. */
export interface Target {
  readonly layout: VirtqueueLayout;
  readonly queue: number;
  /** All of its bits are accepted, and those of `ringFeatures` that the layout has. */
  make(arena: Arena): DeviceType;
  /** Bytes for the readable part of a chain: some of them mean something. */
  payload(random: Random): Uint8Array;
  /** Lengths of the readable and the writable segments that a driver that behaves would use for such a payload. */
  shape(random: Random, payload: Uint8Array): [number[], number[]];
}

/** What an attack came to. */
export interface Outcome {
  readonly sent: number;
  readonly answered: number;
  readonly broken: number;
}

/** Writes `bytes` over the segments, as far as they reach. */
function scatter(arena: Arena, segments: readonly Segment[], bytes: Uint8Array): void {
  let at = 0;
  for (const { address, length } of segments) {
    arena.u8.set(bytes.subarray(at, at + length), address);
    at += length;
  }
}

/**
 * Sends chains of any shape with hostile contents, and sometimes writes over the rings; checks that nothing is thrown,
 * that no byte changes but the driver's memory and the device's own, and that every chain is answered once unless the
 * queue breaks, after which the device is reset.
 */
export function attackDevice(target: Target, random: Random, steps: number): Outcome {
  const arena = testArena(1 << 20);
  arena.u8.fill(0xc5, arena.allocate('below', 4096), arena.region('below').address + 4096);
  const guest = arena.allocate('guest', GUEST_BYTES, 4096);
  arena.u8.fill(0xc5, arena.allocate('above', 4096), arena.region('above').address + 4096);
  const regions = createRegionTable(arena, 'regions');
  regions.set([{ guest: GUEST_OFFSET + BigInt(guest), bytes: GUEST_BYTES, address: guest }]);
  const type = target.make(arena);
  const host = { usedBuffers: () => {}, configChanged: () => {} };
  const device = new VirtioDevice(arena, { name: 'dev', type, regions, host });
  const list = createChainList(arena, { name: 'list', chains: 1, segments: SIZE });
  const records = arena.allocate('records', SIZE * 8);
  const bytes = virtqueueBytes(target.layout, SIZE);
  const rings = { descriptors: guest, driverArea: guest + 1024, deviceArea: guest + 2048 };
  const untouched = (): Uint8Array[] =>
    ['below', 'above', 'regions'].map((name) => {
      const { address, bytes: length } = arena.region(name);
      return arena.u8.slice(address, address + length);
    });
  const before = untouched();
  const inOrder = random.below(2) === 0;
  let driver = restart();
  let sent = 0;
  let answered = 0;
  let broken = 0;
  let scribbled = false;

  function restart(): VirtqueueDriver {
    arena.u8.fill(0, guest, guest + BUFFERS);
    device.writeStatus(0);
    const layoutBit = target.layout === 'packed' ? featureMask(VIRTIO_F.RING_PACKED) : 0n;
    device.writeFeatures(
      type.features |
        layoutBit |
        featureMask(VIRTIO_F.VERSION_1, VIRTIO_F.RING_INDIRECT_DESC, ...(inOrder ? [VIRTIO_F.IN_ORDER] : [])),
    );
    device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    const at = (address: number): bigint => GUEST_OFFSET + BigInt(address);
    device.setQueue(target.queue, {
      size: SIZE,
      descriptors: at(rings.descriptors),
      driverArea: at(rings.driverArea),
      deviceArea: at(rings.deviceArea),
    });
    device.enableQueue(target.queue);
    device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    expect(device.live).toBe(true);
    if (arena.regions().some(({ name }) => name === 'q driver')) arena.release('q driver');
    return createVirtqueueDriver(arena, {
      name: 'q',
      layout: target.layout,
      size: SIZE,
      inOrder,
      rings,
      guestOffset: GUEST_OFFSET,
    });
  }

  const segment = (length: number): Segment => ({
    address: guest + BUFFERS + random.below(GUEST_BYTES - BUFFERS - length),
    length,
  });
  const anyLength = (): number => {
    const lengths = [0, 1, 2, 15, 16, 17, 64, 512, 513, random.below(2000)];
    return lengths[random.below(lengths.length)] ?? 0;
  };
  const anyLengths = (): number[] => Array.from({ length: random.below(7) }, anyLength);

  function scribble(): void {
    const parts = [
      [rings.descriptors, bytes.descriptors],
      [rings.descriptors, 64],
      [rings.driverArea, bytes.driverArea],
    ] as const;
    const [address, length] = parts[random.below(parts.length)] ?? parts[0];
    const at = address + random.below(length >>> 2) * 4;
    const words = [random.next(), random.below(32), guest + BUFFERS + random.below(4096), 0x80 << 16, 0x12_3456];
    arena.u32[at >>> 2] = words[random.below(words.length)] ?? 0;
    scribbled = true;
  }

  for (let step = 0; step < steps; step++) {
    list.clear();
    const payload = target.payload(random);
    const [reads, writes] = random.below(2) === 0 ? target.shape(random, payload) : [anyLengths(), anyLengths()];
    if (reads.length + writes.length === 0) continue;
    const readable = reads.map(segment);
    list.push(readable, writes.map(segment));
    scatter(arena, readable, payload);
    const added = driver.add(list, 1);
    if (random.below(12) === 0) scribble();
    device.notify(target.queue);
    const polled = driver.poll(records, SIZE);
    sent += added;
    answered += polled;
    if (!scribbled) expect([added, polled, device.live]).toEqual([1, 1, true]);
    if (!device.live || driver.broken() !== 0 || driver.free() < SIZE) {
      // A chain that is out although the device lives is one that the scribbling lost or hid; nothing was sent twice.
      expect(scribbled).toBe(true);
      broken += Number(!device.live);
      driver = restart();
      scribbled = false;
    }
  }
  expect(untouched()).toEqual(before);
  expect(arena.damaged()).toEqual([]);
  return { sent, answered, broken };
}
