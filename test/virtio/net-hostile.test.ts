import { createPool, type PoolKernels } from 'ringway/memory';
import { createRegionTable, createVirtqueueDevice, MockDriver, type VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { BUFFER_OFFLOAD_FLAGS, HDR_NEEDS_CSUM, SLOT_FLAG_OFFLOAD, SLOT_FLAGS } from '#build/memory/layout.js';
import { Random } from '#build/util/random.js';
import { attachNetQueue, createNetQueue } from '#build/virtio/net-queue.js';
import { testArena } from '../support/arena.ts';
import { compileTraced } from '../support/kernels.ts';
import { TracedArena } from '../support/traced.ts';
import { inside } from './support/watch.ts';

const HEADER = 12;
const SIZE = 16;
const BUFFERS = 128;
/** Checksums, TCPV4 and UDP_L4. */
const OFFLOADS = 1 | (1 << 1) | (1 << 5);

/** The device's side of a queue that a driver sends frames to, over traced kernels. */
function makeReceiver(layout: VirtqueueLayout, module?: WebAssembly.Module) {
  const arena = new TracedArena(testArena(4 << 20), module);
  const pool = createPool(arena, { buffers: BUFFERS, caches: 1 });
  const cache = pool.caches[0] as number;
  const options = { name: 'tx', layout, size: SIZE, indirect: 4 };
  const driver = new MockDriver(arena, { ...options, buffers: 64, bufferBytes: 2048 });
  const regions = createRegionTable(arena, 'tx regions');
  regions.set(driver.regions);
  const queue = createVirtqueueDevice(arena, { ...options, rings: driver.rings, regions }).address;
  const words = { name: 'tx', queue, headerBytes: HEADER, mergeable: true, offloads: OFFLOADS } as const;
  const net = attachNetQueue(arena, createNetQueue(arena, words), cache);
  return { arena, driver, net, cache, slots: arena.allocate('slots', 32 * 16) };
}

/** A header and a frame, cut into one to four buffers anywhere. */
function send(driver: MockDriver, random: Random): void {
  const bytes = new Uint8Array(HEADER + 1 + random.below(random.below(4) === 0 ? 6000 : 400));
  for (let i = 0; i < 10; i++) bytes[i] = random.below(3) === 0 ? random.below(8) : 0;
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length && parts.length < 4; ) {
    const rest = Math.min(bytes.length - at, 2048);
    const length = parts.length === 3 || random.below(2) === 0 ? rest : 1 + random.below(Math.min(rest, 60));
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  driver.send(parts);
}

/** Receives from a driver that writes into its headers just before each is read. Fails when one gets through that may not. */
function race(layout: VirtqueueLayout, module?: WebAssembly.Module): void {
  const { arena, driver, net, cache, slots } = makeReceiver(layout, module);
  const kernels = arena.kernels<PoolKernels & { memoryFrameLength(slot: number): number }>();
  const random = new Random(4);
  const buffers = [{ address: driver.buffers.address, bytes: driver.buffers.length }];
  let racing = false;
  arena.onAccess((address, bytes, kind) => {
    if (!racing || !kind.endsWith('load') || !inside(buffers, address, bytes)) return;
    const value = random.below(3) === 0 ? random.next() : random.below(8);
    if (random.below(4) === 0) arena.u8[address + random.below(bytes)] = value;
  });
  let offloaded = 0;
  for (let round = 0; round < 400; round++) {
    for (let i = 0; i < 3; i++) send(driver, random);
    racing = true;
    const n = net.receive(slots, 32);
    racing = false;
    for (let i = 0; i < n; i++) {
      const slot = slots + i * 16;
      if (((arena.u8[slot + SLOT_FLAGS] as number) & SLOT_FLAG_OFFLOAD) === 0) continue;
      offloaded++;
      const kept = (arena.u32[slot >>> 2] as number) + BUFFER_OFFLOAD_FLAGS;
      const header = new DataView(arena.handle.memory.buffer, kept, HEADER);
      const [flags, gso, gsoSize] = [header.getUint8(0), header.getUint8(1), header.getUint16(4, true)];
      if (flags & HDR_NEEDS_CSUM) {
        const end = header.getUint16(6, true) + header.getUint16(8, true) + 2;
        expect(end).toBeLessThanOrEqual(kernels.memoryFrameLength(slot));
      }
      if (gso !== 0) expect([[1, 5].includes(gso), flags & 1, gsoSize > 0]).toEqual([true, 1, true]);
    }
    kernels.poolFree(cache, slots, n);
    driver.receive();
  }
  expect(offloaded).toBeGreaterThan(20);
  const left = Array.from({ length: BUFFERS / 32 }, () => kernels.poolAlloc(cache, slots, 32));
  expect([arena.damaged(), left]).toEqual([[], [32, 32, 32, 32]]);
}

test.each(['split', 'packed'] as const)(
  '%s: a header that changes while it is read is one that is allowed',
  (layout) => {
    race(layout);
  },
);

test('a header that is read once more after its check is found', async () => {
  const from = 'store<u16>(kept, <u16>csumOffset, NET_HDR_CSUM_OFFSET);';
  const to = 'store<u16>(kept, load<u16>(header, NET_HDR_CSUM_OFFSET), NET_HDR_CSUM_OFFSET);';
  const module = await compileTraced({
    folders: ['virtio', 'memory'],
    mutations: [{ file: 'virtio/net-header.kernel.ts', from, to }],
  });
  expect(() => race('split', module)).toThrow(/to be less than or equal to/);
});
