import type { RawDescriptor, VirtqueueLayout } from 'ringway/virtio';
import { rawRing } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import {
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '#build/virtio/layout.js';
import { netAreaBytes } from '#build/virtio/net-queue.js';
import { effort } from '../support/effort.ts';
import { DeviceSide, DriverSide, frameOf } from './support/net-queue-rig.ts';

const SIZE = 16;
const SEEDS = effort(8, 40);
const STEPS = 150;
/** Checksums, TCPV4 and UDP_L4. */
const OFFLOADS = 1 | (1 << 1) | (1 << 5);

/** What came of the runs: a fuzzer that breaks the queue at once, or lets nothing through, finds nothing. */
interface Seen {
  received: number;
  sent: number;
  bad: number;
  broken: number;
}

/** A header that may be right, and bytes behind it. */
function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = frameOf(length, random.below(256));
  for (let i = 0; i < Math.min(12, length); i++) bytes[i] = 0;
  if (random.below(3) !== 0 && length >= 12) bytes[10] = [1, 1, 1, 2, 3, 0, 200][random.below(7)] as number;
  if (random.below(4) === 0) for (let i = 0; i < Math.min(12, length); i++) bytes[i] = random.below(8);
  return bytes;
}

const LENGTHS = [1, 11, 12, 20, 26, 72, 200, 1526, 2048, 4096];

class HostileDriver {
  readonly #random: Random;
  readonly #side: DeviceSide;
  readonly #layout: VirtqueueLayout;
  readonly #writable: boolean;

  constructor(random: Random, side: DeviceSide, layout: VirtqueueLayout, writable: boolean) {
    this.#random = random;
    this.#side = side;
    this.#layout = layout;
    this.#writable = writable;
  }

  /** A descriptor that may lead anywhere; mostly to a buffer with a message, or room for one. */
  #descriptor(flags: number, link: number): RawDescriptor {
    const { driver, arena } = this.#side;
    const random = this.#random;
    const length = random.below(800) === 0 ? random.next() : (LENGTHS[random.below(LENGTHS.length)] as number);
    const at = driver.buffers.address + random.below(64) * 4096;
    arena.u8.set(randomBytes(random, Math.min(length, 4096)), at);
    const guest = random.below(800) === 0 ? BigInt(random.next()) : driver.guest(at);
    const kind = random.below(400) === 0 ? flags ^ VIRTQ_DESC_F_WRITE : flags;
    return { guest, length, flags: kind, link };
  }

  /** The flags of a descriptor on the way of a chain: sometimes it goes on, seldom into a table. */
  #flags(): number {
    const random = this.#random;
    const next = random.below(4) === 0 ? VIRTQ_DESC_F_NEXT : 0;
    const table = random.below(800) === 0 ? VIRTQ_DESC_F_INDIRECT : 0;
    return next | table | (this.#writable ? VIRTQ_DESC_F_WRITE : 0);
  }

  /** Makes some chains available, whatever the device has or has not returned. */
  offer(count: number): void {
    const { raw, rings } = this.#side.driver;
    const base = this.#side.base();
    if (this.#layout === 'split') {
      for (let i = 0; i < SIZE; i++) {
        raw.writeDescriptor(
          rings.descriptors,
          i,
          this.#descriptor(i === SIZE - 1 ? this.#flags() & VIRTQ_DESC_F_WRITE : this.#flags(), i + 1),
        );
      }
      for (let i = 0; i < count; i++) raw.writeAvailable(rings.driverArea, (base + i) % SIZE, (base + i) % SIZE);
      raw.writeIndex(rings.driverArea, (base + count) & 0xffff);
      return;
    }
    for (let i = 0; i < count; i++) {
      const place = ((base & 0x7fff) + i) % SIZE;
      const wrap = ((base >>> 15) & 1) ^ ((base & 0x7fff) + i >= SIZE ? 1 : 0);
      const turn = wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
      raw.writeDescriptor(rings.descriptors, place, this.#descriptor(this.#flags() | turn, place));
    }
  }

  /** Writes a byte anywhere in what it shares. */
  poke(): void {
    const { driver, arena } = this.#side;
    const regions = driver.regions.slice(1);
    const { address, bytes } = regions[this.#random.below(regions.length)] as { address: number; bytes: number };
    arena.u8[address + this.#random.below(bytes)] = this.#random.next();
  }
}

function runDriver(layout: VirtqueueLayout, seed: number, seen: Seen): void {
  const random = new Random(seed);
  const mergeable = random.below(2) === 0;
  const sends = random.below(2) === 0;
  const left = random.below(4) === 0 ? { left: 8 } : {};
  const side = new DeviceSide({ layout, size: SIZE, indirect: 4, mergeable, offloads: OFFLOADS, ...left });
  const driver = new HostileDriver(random, side, layout, sends);
  for (let step = 0; step < STEPS && side.broken() === 0; step++) {
    // What is not returned is mostly not offered again.
    if (random.below(100) !== 0) side.net.detach();
    driver.offer(1 + random.below(6));
    if (random.below(40) === 0) driver.poke();
    if (sends) {
      const frames = Array.from({ length: 1 + random.below(4) }, () => frameOf(14 + random.below(3000), step));
      seen.sent += side.send(...frames);
      continue;
    }
    for (const { length } of side.receive(1 + random.below(32))) {
      expect(length >= 14 && length <= 65_550).toBe(true);
      seen.received++;
    }
  }
  seen.broken += side.broken() === 0 ? 0 : 1;
  const { bad, long } = side.net.drops();
  seen.bad += bad + long;
  side.finish();
}

function runDevice(layout: VirtqueueLayout, seed: number, seen: Seen, bounce = false): void {
  const random = new Random(seed);
  const sends = random.below(2) === 0;
  const side = new DriverSide({ layout, size: SIZE, mergeable: random.below(2) === 0, offloads: OFFLOADS, bounce });
  const { device, arena } = side;
  const { rings } = device.queue;
  const raw = rawRing(arena, layout);
  const held: ReturnType<typeof device.take> = [];
  for (let step = 0; step < STEPS && side.broken() === 0; step++) {
    if (sends) {
      const frames = Array.from({ length: 1 + random.below(4) }, () => frameOf(14 + random.below(5000), step));
      seen.sent += side.send(...frames);
    } else {
      for (const { length } of side.receive(1 + random.below(32))) {
        expect(length >= 14).toBe(true);
        seen.received++;
      }
    }
    held.push(...device.take());
    const answers = held.splice(0, random.below(held.length + 1)).map((chain) => {
      const length = Math.min(chain.room, random.below(40) === 0 ? 0 : (LENGTHS[random.below(8)] as number));
      return { chain, bytes: randomBytes(random, length) };
    });
    for (let from = 0; from < answers.length; from += 32) device.return(...answers.slice(from, from + 32));
    if (side.areas !== undefined) arena.u8[side.areas + random.below(netAreaBytes(SIZE))] = random.next();
    // A used element that is none, or any byte.
    if (random.below(30) !== 0) continue;
    const area = random.below(2) === 0 ? rings.deviceArea : rings.descriptors;
    if (layout === 'packed') arena.u8[rings.descriptors + random.below(SIZE * 16)] = random.next();
    else if (random.below(2) === 0) raw.writeUsed(area, random.below(SIZE), random.below(SIZE + 2), random.next());
    else raw.writeIndex(rings.deviceArea, raw.readIndex(rings.deviceArea) + random.below(SIZE + 2));
  }
  seen.broken += side.broken() === 0 ? 0 : 1;
  seen.bad += side.net.drops().bad;
  side.finish();
}

const runBounced: typeof runDevice = (layout, seed, seen) => runDevice(layout, seed, seen, true);

test.each([
  ['driver', 'split', runDriver],
  ['driver', 'packed', runDriver],
  ['device', 'split', runDevice],
  ['device', 'packed', runDevice],
  ['device of a driver with areas', 'split', runBounced],
  ['device of a driver with areas', 'packed', runBounced],
] as const)('a hostile %s, %s: frames are lost, buffers are not', (_, layout, run) => {
  const seen: Seen = { received: 0, sent: 0, bad: 0, broken: 0 };
  for (let seed = 0; seed < SEEDS; seed++) {
    try {
      run(layout, seed, seen);
    } catch (cause) {
      throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause });
    }
  }
  expect(Math.min(seen.received, seen.sent, seen.bad)).toBeGreaterThan(SEEDS * 2);
  expect(seen.broken).toBeGreaterThan(0);
  // Few seeds break nothing.
  expect(seen.broken).toBeLessThan(SEEDS + effort(1, 0));
});
