import { buildFrame } from 'ringway/packet';
import { expect, test } from 'vitest';
import { createGuest } from '#build/guest/create.js';
import { netDevicePort, shareNetDevice } from '#build/ports/net-device.js';
import { featureMask, VIRTIO_F } from '#build/virtio/features.js';
import { NET_CONTROL_F_PROMISC } from '#build/virtio/layout.js';
import { VIRTIO_NET_F } from '#build/virtio/net-features.js';
import { attachNetQueue } from '#build/virtio/net-queue.js';
import { PortBench } from '../support/port-bench.ts';

const MAC = '02:00:00:00:00:01';
const QUEUES = 4;
const SIZE = 16;
/** UDPv4 (virtio 1.2, 5.1.6.4.3.1), and what is reported of it. */
const HASH_UDPV4 = 4;
const REPORT_UDPV4 = 3;

const frame = (flow: number, number = 0, destination = MAC): { frame: Uint8Array } => ({
  frame: buildFrame({
    ethernet: { source: '02:00:00:00:00:02', destination },
    ipv4: { source: '10.0.0.2', destination: '10.0.0.1' },
    udp: { sourcePort: 1000 + flow, destinationPort: 9 },
    payload: Uint8Array.of(flow, number),
  }),
});

/** A device with its port, and the hands of its driver on every queue. */
function makeDevice(layout: 'split' | 'packed') {
  const bench = new PortBench(512);
  const { arena, pool } = bench;
  const features =
    featureMask(VIRTIO_F.VERSION_1, VIRTIO_NET_F.MRG_RXBUF, VIRTIO_NET_F.RSS, VIRTIO_NET_F.HASH_REPORT) |
    featureMask(...(layout === 'packed' ? [VIRTIO_F.RING_PACKED] : []));
  const guest = createGuest(arena, {
    name: 'vm',
    queueSize: SIZE,
    queues: QUEUES,
    mtu: 1500,
    offered: features,
    supported: features,
    addresses: { mac: 0x02_00_00_00_00_01, ipv6: [] },
    app: 'sink',
    seed: 1,
  });
  expect(guest.features & features).toBe(features);
  const share = shareNetDevice(arena, 'vm', guest.pairs, guest.net.control.address);
  const ports = guest.pairs.map((_, queue) => netDevicePort({ ...bench.context, queue }, share));
  const cache = guest.wire.cache;
  const driver = guest.wire.pairs.map(({ receive, send }) => ({
    receive: attachNetQueue(arena, receive, cache),
    send: attachNetQueue(arena, send, cache),
  }));
  const slots = arena.allocate('driver slots', 512);
  /** Flow and number of the frames of each receive queue, with the hash that came with each. */
  const received = () =>
    driver.map(({ receive }) => {
      const n = receive.receive(slots, 32);
      const frames = Array.from({ length: n }, (_, i) => {
        const { frame: bytes } = bench.read(slots + i * 16);
        const at = (arena.u32[(slots + i * 16) >>> 2] ?? 0) + 256 - 20;
        const hash = new DataView(arena.handle.memory.buffer, at + 12, 6);
        return {
          flow: bytes[42] as number,
          number: bytes[43] as number,
          hash: hash.getUint32(0, true),
          report: hash.getUint16(4, true),
        };
      });
      bench.kernels.poolFree(cache, slots, n);
      // A poll that finds nothing gives the device empty buffers for those that it used.
      expect(receive.receive(slots, 32)).toBe(0);
      return frames;
    });
  received();
  const finish = (): void => {
    for (const port of ports) port.close();
    for (const { receive, send } of driver) for (const queue of [receive, send]) queue.detach();
    expect([arena.damaged(), guest.arena.damaged(), pool.audit().inFlight]).toEqual([[], [], 0]);
  };
  const [port] = ports;
  if (port === undefined) throw new Error('no port');
  return { bench, guest, port, ports, driver, cache, slots, received, finish };
}

const LAYOUTS = ['split', 'packed'] as const;

test.each(LAYOUTS)('%s: a flow stays on its queue, in its order', (layout) => {
  const { bench, port, received, finish } = makeDevice(layout);
  const queueOf = new Map<number, number>();
  const last = new Map<number, number>();
  for (let round = 0; round < 50; round++) {
    const burst = Array.from({ length: 12 }, (_, i) => frame((round * 5 + i * 7) % 20, round));
    expect(bench.send(port, burst)).toBe(12);
    const queues = received();
    expect(queues.flat()).toHaveLength(12);
    for (const [queue, frames] of queues.entries()) {
      for (const { flow, number } of frames) {
        expect(queueOf.get(flow) ?? queue).toBe(queue);
        queueOf.set(flow, queue);
        expect(last.get(flow) ?? 0).toBeLessThanOrEqual(number);
        last.set(flow, number);
      }
    }
  }
  expect(new Set(queueOf.values()).size).toBe(QUEUES);
  expect(bench.lost).toEqual({});
  finish();
});

test.each(LAYOUTS)('%s: with RSS the hash that is reported says the queue', (layout) => {
  const { bench, guest, port, received, finish } = makeDevice(layout);
  const table = [0, 1, 2, 3, 3, 2, 9, 1];
  const key = Uint8Array.from({ length: 40 }, (_, i) => i * 11 + 1);
  guest.net.control.setRss({ hashTypes: HASH_UDPV4, table, unclassified: 2, pairs: QUEUES, key });
  const seen = new Set<number>();
  for (let from = 0; from < 96; from += 8) {
    bench.send(
      port,
      Array.from({ length: 8 }, (_, i) => frame(from + i)),
    );
    for (const [queue, frames] of received().entries()) {
      for (const { hash, report } of frames) {
        // Queue 9 there is not.
        expect([report, queue]).toEqual([REPORT_UDPV4, [0, 1, 2, 3, 3, 2, 0, 1][hash % 8]]);
        seen.add(hash % 8);
      }
    }
  }
  expect(seen.size).toBe(8);
  const arp = { senderMac: MAC, senderIp: '10.0.0.2', targetMac: MAC, targetIp: '10.0.0.1' };
  const ethernet = { source: '02:00:00:00:00:02', destination: MAC };
  bench.send(port, [{ frame: buildFrame({ ethernet, arp: { operation: 1, ...arp } }) }]);
  expect(received().map((frames) => frames.map(({ hash, report }) => [hash, report]))).toEqual([[], [], [[0, 0]], []]);
  finish();
});

test.each(LAYOUTS)('%s: what the driver does not want is filtered, and a full queue stops no other', (layout) => {
  const { bench, guest, port, received, finish } = makeDevice(layout);
  guest.net.control.setFlag(NET_CONTROL_F_PROMISC, false);
  const others = '02:00:00:00:00:77';
  expect(bench.send(port, [frame(1, 0, others), frame(2), frame(3, 0, others), frame(4)])).toBe(4);
  expect(bench.lost).toEqual({ filtered: 2 });
  expect(
    received()
      .flat()
      .map(({ flow }) => flow)
      .sort(),
  ).toEqual([2, 4]);
  // More of one flow than its queue holds.
  const full = Array.from({ length: 30 }, () => frame(2));
  expect(bench.send(port, [...full, frame(1), frame(4)])).toBe(32);
  const counts = received().flat();
  expect(bench.lost).toEqual({ filtered: 2, 'tx-full': 32 - counts.length });
  expect(counts.filter(({ flow }) => flow === 2)).toHaveLength(SIZE);
  finish();
});

test.each(LAYOUTS)('%s: nothing passes while the link is down, and all does again when it is up', (layout) => {
  const { bench, guest, port, ports, driver, cache, slots, received, finish } = makeDevice(layout);
  const sends = (): number => {
    // Two frames of the driver's, on its last queue.
    const frames = [frame(1), frame(2)];
    for (const [i, each] of frames.entries()) {
      const scratch = guest.wire.scratch;
      bench.arena.u8.set(each.frame, scratch);
      bench.kernels.poolAlloc(cache, slots + i * 16, 1);
      bench.kernels.memoryFill(cache, slots + i * 16, scratch, each.frame.length);
    }
    return driver[QUEUES - 1]?.send.send(slots, 2) ?? 0;
  };
  const arrived = (): number => ports.reduce((sum, each) => sum + bench.receive(each).length, 0);
  expect([sends(), arrived()]).toEqual([2, 2]);
  guest.net.setLink(false);
  expect([bench.send(port, [frame(1), frame(2), frame(3)]), received().flat()]).toEqual([3, []]);
  expect(bench.lost).toEqual({ 'link-down': 3 });
  expect([sends(), arrived()]).toEqual([2, 0]);
  guest.net.setLink(true);
  // What the driver sent meanwhile has waited.
  expect(arrived()).toBe(2);
  expect([bench.send(port, [frame(1)]), received().flat().length]).toEqual([1, 1]);
  expect(bench.lost).toEqual({ 'link-down': 3 });
  finish();
});
