import { expect, test } from 'vitest';
import { createGuest } from '#build/guest/create.js';
import { createPool } from '#build/memory/pool.js';
import { netDevicePort, shareNetDevice } from '#build/ports/net-device.js';
import { featureMask, VIRTIO_F } from '#build/virtio/features.js';
import { NETQ_QUEUE, VQ_DESCRIPTORS, VQ_PEER_AREA } from '#build/virtio/layout.js';
import { testArena } from '../support/arena.ts';

test.each(['split', 'packed'] as const)(
  'a driver that breaks its %s ring is named, and its port stands still',
  (layout) => {
    const arena = testArena(16 << 20);
    const pool = createPool(arena, { buffers: 256, caches: 1 });
    const [cache = 0] = pool.caches;
    const features = featureMask(VIRTIO_F.VERSION_1, ...(layout === 'packed' ? [VIRTIO_F.RING_PACKED] : []));
    const guest = createGuest(arena, {
      name: 'vm',
      queueSize: 16,
      queues: 1,
      mtu: 1500,
      offered: features,
      supported: features,
      addresses: { mac: 2, ipv6: [] },
      app: 'sink',
      seed: 1,
    });
    const share = shareNetDevice(arena, 'vm', guest.pairs, guest.net.control.address);
    const port = netDevicePort({ arena, index: 0, queue: 0, lcore: 0, cache, refuse: () => {}, lost: () => {} }, share);
    const slots = arena.allocate('slots', 512);
    expect(port.info()).toEqual({ done: false });
    expect(port.rxBurst(slots, 32)).toBe(0);

    // The driver's side of its transmit queue: an index far ahead, or a descriptor that leads nowhere.
    const { u16, u32 } = arena;
    const word = (address: number): number => u32[address >>> 2] ?? 0;
    const queue = word((share.pairs[0]?.receive ?? 0) + NETQ_QUEUE);
    if (layout === 'split') u16[(word(queue + VQ_PEER_AREA) + 2) >>> 1] = 1000;
    else u32.set([0xffff0000, 0xffff, 64, 0x80 << 16], word(queue + VQ_DESCRIPTORS) >>> 2);
    expect(port.rxBurst(slots, 32)).toBe(0);
    expect(port.info().fault).toBe(
      `the driver broke its transmit queue 0, which stands still: ${
        layout === 'split' ? 'an index moved by more than the ring holds' : "an address outside the driver's memory"
      }`,
    );
    expect(port.rxBurst(slots, 32)).toBe(0);
    port.close();
    expect(pool.audit().inFlight).toBe(0);
  },
);
