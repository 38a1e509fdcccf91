import { type Assignment, assign } from '../async/assign.ts';
import { createTrack, shareTrack, type Track } from '../async/track.ts';
import type { Integration } from '../async/transmit.ts';
import { createDmaDevice, type DmaDevice } from '../dma/device.ts';
import type { DmaEngine } from '../dma/engines.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { VIRTIO_NET_F } from '../virtio/net-features.ts';
import { CopiesWorld } from './copies-world.ts';
import { DSA } from './dsa.ts';
import { type Row, rowOf } from './row.ts';

/** One of the ways in which copies are done. */
export interface CopiesCase {
  readonly integration: Integration;
  readonly assignment: Assignment;
  readonly layout: 'split' | 'packed';
  readonly inOrder: boolean;
}

/** Every integration, assignment and layout; every other one in order. */
export const COPIES_CASES: readonly CopiesCase[] = (['defer', 'v3', 'v4', 'vq'] as const).flatMap((integration, i) =>
  (['lcore', 'vring', 'dynamic-lcore', 'dynamic-vring'] as const).flatMap((assignment, j) =>
    (['split', 'packed'] as const).map((layout) => ({ integration, assignment, layout, inOrder: (i + j) % 2 === 1 })),
  ),
);

const PACKETS = 100_000_000;
/** Descriptors of each channel: fewer than packets may be under way, so that it is full at times; and more. */
const DESCRIPTORS = [256, 1024];
/** One copy in a thousand fails. */
const FAIL_RATE = 1e-3;
/** Virtual time of a loop over two lcores, ns: engines are behind now and then, and idle now and then. */
const LOOP_NS = 4000;
/** A word that nobody writes; and the shortest wait, ms, to which the kernel's timer slack adds some 50 us. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));
const PAUSE_MS = 0.001;

/** What copies a share of a case's packets: one engine that has both channels, or one for each. */
interface Copier {
  readonly engine: DmaEngine;
  readonly engines: 1 | 2;
  readonly share: number;
}

/** Most by one thread: on two processors, three are in each other's way. */
const COPIERS: readonly Copier[] = [
  { engine: { kind: 'worker' }, engines: 1, share: 3 / 4 },
  { engine: { kind: 'worker' }, engines: 2, share: 1 / 8 },
  { engine: { kind: 'model', model: { ...DSA, faults: { failRate: FAIL_RATE } } }, engines: 2, share: 1 / 8 },
];

/** What became of a case's packets. */
export interface CopiesResult {
  /** Half of them there, half of them back. */
  readonly packets: number;
  readonly seconds: number;
  /** Copies that engines were given, that the CPU did, and that engines failed at. */
  readonly offloaded: number;
  readonly copied: number;
  readonly failed: number;
  /** Times that a packet had to wait, since its channel was full. */
  readonly full: number;
}

function featuresOf({ layout, inOrder }: CopiesCase): bigint {
  const packed = layout === 'packed' ? featureMask(VIRTIO_F.RING_PACKED) : 0n;
  const ordered = inOrder ? featureMask(VIRTIO_F.IN_ORDER) : 0n;
  return featureMask(VIRTIO_F.VERSION_1, VIRTIO_NET_F.MRG_RXBUF) | packed | ordered;
}

/** Its share of `packets`. Returns how many copies the engines failed at. */
async function runWith(world: CopiesWorld, one: CopiesCase, packets: number, copier: Copier): Promise<number> {
  const { arena, queues } = world;
  const { engine, engines, share } = copier;
  const before = new Set(arena.regions().map(({ name }) => name));
  const devices: DmaDevice[] = [];
  const tracks: Track[] = [];
  for (let i = 0; i < engines; i++) {
    const device = await createDmaDevice(arena, { name: `engine ${i}`, engine });
    const channels = engines === 1 ? DESCRIPTORS : DESCRIPTORS.slice(i, i + 1);
    device.configure({ vchans: channels.length });
    for (const [index, descriptors] of channels.entries()) device.vchanSetup(index, { descriptors });
    await device.start();
    devices.push(device);
    for (const index of channels.keys()) {
      tracks.push(createTrack(arena, `channel ${tracks.length}`, device.vchanAddress(index)));
    }
  }
  const assignables = queues.map(({ lcore }, serial) => ({ serial, lcore, engine: -1 }));
  const of = assign(
    one.assignment,
    assignables,
    tracks.map(() => true),
  );
  tracks.forEach(({ address }, i) => {
    const users = new Set(queues.flatMap(({ lcore }, queue) => (of[queue] === i ? [lcore] : [])));
    if (users.size > 1) shareTrack(arena, address);
  });
  let now = 0;
  const advance = (): void => {
    now += LOOP_NS;
    for (const device of devices) device.model.advance(now);
  };
  // All wait for the engines' threads, which may need the processor.
  const giveWay = (moved: boolean): void => {
    if (!moved) Atomics.wait(NEVER, 0, 0, PAUSE_MS);
  };
  const addresses = of.map((index) => tracks[index]?.address ?? 0);
  world.run(packets * share, one.integration, addresses, engine.kind === 'model' ? advance : giveWay);
  const failed = tracks.reduce((sum, track) => sum + track.counters().failed, 0);
  for (const device of devices) {
    await device.stop();
    device.close();
  }
  for (const { name } of arena.regions()) if (!before.has(name)) arena.release(name);
  return failed;
}

/**
 * Sends `packets` of mixed lengths, a multiple of 64, half of them to four guests and half of them back, most of them with threads
 * that copy, the rest with a model of which some copies fail, and checks each where it arrives.
 * @throws Error when one is lost, out of order or not whole.
 */
export async function checkCopies(one: CopiesCase, packets: number): Promise<CopiesResult> {
  const world = new CopiesWorld(featuresOf(one));
  const start = performance.now();
  let failed = 0;
  for (const copier of COPIERS) failed += await runWith(world, one, packets, copier);
  return { packets, seconds: (performance.now() - start) / 1000, failed, ...world.counters() };
}

/** A hundred million packets by each way to copy, each of them checked: no figure of speed, but a rule that holds. */
export async function benchCopies(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const one of COPIES_CASES) {
    const { packets, seconds, offloaded, copied, failed } = await checkCopies(one, PACKETS);
    const { integration, assignment, layout, inOrder } = one;
    const name = `copies ${integration}, ${assignment}, ${layout}${inOrder ? ', in order' : ''}`;
    const note = `${packets} packets, half there and half back, whole and in order: ${offloaded} copies by engines, ${failed} of them failed, ${copied} by the CPU`;
    const nothing = { p50: null, p99: null, p999: null };
    rows.push(
      rowOf({ ...nothing, name, unit: 'M/s', value: packets / seconds / 1e6, state: 'several cores', note }, null),
    );
  }
  return rows;
}
