import { buildFrame, type PacketKernels } from 'ringway/packet';
import { NetControlState, type RssSettings, type VirtqueueLayout } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { SLOT_EVENT, SLOT_FLOW } from '#build/memory/layout.js';
import { RSS_RESULT_HASH, RSS_RESULT_REPORT } from '#build/packet/layout.js';
import { Random } from '#build/util/random.js';
import { STEER_BYTES, STEER_COUNTS } from '#build/virtio/layout.js';
import { BASES, testArena } from '../support/arena.ts';
import { DeviceSide } from './support/net-queue-rig.ts';

const QUEUES = 4;
const FLOWS = 24;
const KEY = Uint8Array.from({ length: 40 }, (_, i) => (i * 73 + 5) & 255);
const ALL_TYPES = 0x1ff;

/** Frames of as many flows: IPv4 and IPv6, UDP and TCP, and some that are neither. */
const FRAMES = Array.from({ length: FLOWS }, (_, flow) => {
  const ethernet = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02' };
  if (flow % 6 === 5) {
    const arp = { senderMac: ethernet.source, senderIp: '10.0.0.2', targetMac: ethernet.source, targetIp: '10.0.0.1' };
    return buildFrame({ ethernet, arp: { operation: 1, ...arp } });
  }
  const ports = { sourcePort: 1000 + flow, destinationPort: 7 };
  const ip = flow % 2 === 0;
  return buildFrame({
    ethernet,
    ...(ip
      ? { ipv4: { source: '10.0.0.2', destination: '10.0.0.1' } }
      : { ipv6: { source: 'fd00::2', destination: 'fd00::1' } }),
    ...(flow % 4 < 2 ? { udp: ports } : { tcp: { ...ports, flags: 16 } }),
    payload: new Uint8Array(8),
  });
});

interface Steered {
  readonly flow: number;
  /** Its place in the burst that it came in. */
  readonly place: number;
  readonly queue: number;
  readonly hash: number;
  readonly report: number;
}

function makeSteering(base?: number) {
  const arena = testArena(1 << 20, base);
  const state = new NetControlState(arena, 'state');
  state.reset(Uint8Array.of(2, 0, 0, 0, 0, 1), 0n);
  const kernels = arena.kernels<
    PacketKernels & { virtioNetSteer(state: number, slots: number, n: number, queues: number, work: number): void }
  >();
  const slots = arena.allocate('slots', 32 * 16);
  const work = arena.allocate('work', STEER_BYTES);
  const results = arena.allocate('results', 32 * 8);
  const buffers = arena.allocate('buffers', 32 * 2048, 2048);

  /** Steers a packet of each of `flows`; what came of them, in the order of the queues. */
  const steer = (flows: readonly number[], queues = QUEUES): Steered[] => {
    for (const [i, flow] of flows.entries()) {
      const frame = FRAMES[flow] as Uint8Array;
      arena.u8.set(frame, buffers + i * 2048 + 256);
      arena.u32.set([buffers + i * 2048, 256 | (frame.length << 16), 0, 0], (slots + i * 16) >>> 2);
    }
    kernels.virtioNetSteer(state.address, slots, flows.length, queues, work);
    const counts = [...arena.u32.subarray((work + STEER_COUNTS) >>> 2, ((work + STEER_COUNTS) >>> 2) + queues)];
    expect(counts.reduce((sum, n) => sum + n, 0)).toBe(flows.length);
    return counts
      .flatMap((n, queue) => Array<number>(n).fill(queue))
      .map((queue, i) => {
        const slot = slots + i * 16;
        const place = ((arena.u32[slot >>> 2] as number) - buffers) / 2048;
        const hash = arena.u32[(slot + SLOT_FLOW) >>> 2] as number;
        const report = arena.u16[(slot + SLOT_EVENT) >>> 1] as number;
        return { flow: flows[place] as number, place, queue, hash, report };
      });
  };

  /** What `packetRssHash` says of packet `i` of the burst as it is now. */
  const rssOf = (i: number): { hash: number; report: number } => {
    kernels.packetRssHash(slots + i * 16, 1, state.rssAddress, results);
    return {
      hash: arena.u32[(results + RSS_RESULT_HASH) >>> 2] as number,
      report: arena.u16[(results + RSS_RESULT_REPORT) >>> 1] as number,
    };
  };
  return { arena, state, steer, rssOf };
}

const rss = (table: readonly number[], rest: Partial<RssSettings> = {}): RssSettings => ({
  hashTypes: ALL_TYPES,
  table,
  unclassified: 1,
  pairs: QUEUES,
  key: KEY,
  ...rest,
});

/** Bursts of random flows: each flow stays where it is, and nothing overtakes within a queue. */
function steerRandomly({ steer }: ReturnType<typeof makeSteering>): Map<number, number> {
  const random = new Random(9);
  const queueOf = new Map<number, number>();
  for (let burst = 0; burst < 100; burst++) {
    const flows = Array.from({ length: random.below(33) }, () => random.below(FLOWS));
    const steered = steer(flows);
    expect(steered.map(({ place }) => place).sort((a, b) => a - b)).toEqual(flows.map((_, i) => i));
    for (const [i, { flow, place, queue }] of steered.entries()) {
      const before = steered[i - 1];
      if (before?.queue === queue) expect(before.place).toBeLessThan(place);
      expect(queueOf.get(flow) ?? queue).toBe(queue);
      queueOf.set(flow, queue);
    }
  }
  return queueOf;
}

test.each(BASES)('base %i: without RSS a flow stays on a queue of those in use', (base) => {
  const steering = makeSteering(base);
  for (const [pairs, used] of [
    [1, 1],
    [2, 2],
    [4, 4],
    // The driver says how many; it set up four.
    [8, 4],
    [0, 1],
  ] as const) {
    steering.state.pairs = pairs;
    const queues = new Set(steerRandomly(steering).values());
    expect([...queues].sort()).toEqual(Array.from({ length: used }, (_, i) => i));
  }
});

test.each(BASES)('base %i: with RSS the table says the queue, and the hash is told', (base) => {
  const steering = makeSteering(base);
  const { state, steer, rssOf } = steering;
  const table = Array.from({ length: 16 }, (_, i) => (i * 7 + 3) % QUEUES);
  state.setRss(rss(table, { unclassified: 2 }));
  steerRandomly(steering);
  const kinds = new Set<number>();
  for (const [i, { queue, hash, report }] of steer(FRAMES.map((_, flow) => flow)).entries()) {
    expect({ hash, report }).toEqual(rssOf(i));
    expect(queue).toBe(report === 0 ? 2 : table[hash % 16]);
    kinds.add(report);
  }
  // None, TCP and UDP over IPv4 and IPv6 (VIRTIO_NET_HASH_REPORT_…).
  expect([...kinds].sort()).toEqual([0, 2, 3, 5, 6]);
});

test('a queue that there is not is queue 0', () => {
  const { state, steer } = makeSteering();
  state.setRss(rss([4, 65_535, 0, 9], { unclassified: 300 }));
  expect(new Set(steer(FRAMES.map((_, flow) => flow)).map(({ queue }) => queue))).toEqual(new Set([0]));
  state.setRss(rss([1, 2, 65_535, 3], { unclassified: 300 }));
  const all = steer(FRAMES.map((_, flow) => flow));
  for (const { queue, hash, report } of all) expect(queue).toBe(report === 0 ? 0 : [1, 2, 0, 3][hash % 4]);
  expect(new Set(all.map(({ queue }) => queue)).size).toBe(4);
});

test('the hash is told without RSS as well, and not when none was asked for', () => {
  const { state, steer, rssOf } = makeSteering();
  state.pairs = 2;
  state.setHash(ALL_TYPES, KEY);
  const told = steer([0, 1, 2, 3, 5]);
  for (const [i, { hash, report }] of told.entries()) expect({ hash, report }).toEqual(rssOf(i));
  expect(told.filter(({ report }) => report !== 0)).toHaveLength(4);
  state.setHash(0, KEY);
  for (const { hash, report } of steer([0, 1, 2, 3, 5])) expect([hash, report]).toEqual([0, 0]);
});

test.each<VirtqueueLayout>(['split', 'packed'])('%s: a header of 20 bytes has the hash and what it is of', (layout) => {
  const side = new DeviceSide({ layout, headerBytes: 20, mergeable: true });
  // One that fits a buffer, and one that takes three.
  for (const [length, sizes] of [
    [60, [1526]],
    [4000, [1526, 1526, 1526]],
  ] as const) {
    for (const size of sizes) side.driver.send([], [size]);
    expect(side.fill(new Uint8Array(length))).toBe(1);
    side.arena.u32[(side.slots + SLOT_FLOW) >>> 2] = 0xfedc_ba98;
    side.arena.u16[(side.slots + SLOT_EVENT) >>> 1] = 3;
    expect(side.net.send(side.slots, 1)).toBe(1);
    const [first] = side.driver.receive();
    const expected = [...new Uint8Array(10), sizes.length, 0, 0x98, 0xba, 0xdc, 0xfe, 3, 0, 0, 0];
    expect([...(first?.bytes.subarray(0, 20) ?? [])]).toEqual(expected);
  }
  side.finish();
});
