import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arena } from 'ringway/memory';
import { RingwayError } from 'ringway/memory';
import {
  BlockDevice,
  BlockFile,
  featureMask,
  NetDevice,
  VIRTIO_NET_F,
  VIRTIO_STATUS,
  type VirtqueueLayout,
} from 'ringway/virtio';
import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { brokenRule } from '#build/virtio/features.js';
import { makeDeviceRig, TestType } from './support/device-rig.ts';
import { attackDevice, type Outcome, type Target } from './support/hostile-device.ts';
import { GUEST_OFFSET } from './support/rig.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-hostile-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SECTORS = 64;
const layouts: readonly VirtqueueLayout[] = ['split', 'packed'];

const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);
const pick = (random: Random, values: readonly number[]): number => values[random.below(values.length)] ?? 0;
const noise = (random: Random, length: number): number[] => Array.from({ length }, () => random.below(256));

/** A header that is often good, and something behind it: data, or ranges that are often good. */
function blockPayload(random: Random): Uint8Array {
  const type = pick(random, [0, 1, 4, 5, 8, 11, 13, 14, random.next()]);
  const sector = pick(random, [0, 1, SECTORS - 1, SECTORS, random.next()]);
  const high = pick(random, [0, 0, 0, 0xffff_ffff]);
  const range = (): number[] => [
    ...word(random.below(SECTORS + 2)),
    ...word(pick(random, [0, 0, 0, 1])),
    ...word(pick(random, [0, 1, 8, SECTORS, random.next()])),
    ...word(pick(random, [0, 0, 1, random.next()])),
  ];
  const rest = random.below(2) === 0 ? noise(random, 600) : Array.from({ length: random.below(6) }, range).flat();
  return Uint8Array.from([...word(type), ...noise(random, 4), ...word(sector), ...word(high), ...rest]);
}

/** The lengths that a request of either direction has, an identification, or ranges. */
function blockShape(random: Random): [number[], number[]] {
  const readable = [[16], [16, 512], [528], [16, 16], [10, 6, 32]][random.below(5)] ?? [];
  const writable = [[1], [513], [512, 1], [20, 1]][random.below(4)] ?? [];
  return [readable, writable];
}

/** A class and a command that are often there, and data that is often of the right kind. */
function controlPayload(random: Random): Uint8Array {
  const command = [random.below(8), random.below(7)];
  const count = (): number[] => word(pick(random, [0, 1, 2, 65, 0x2aaa_aaab, random.next()]));
  const macs = [...count(), ...noise(random, 6 * random.below(70)), ...count(), ...noise(random, 6 * random.below(3))];
  const rss = [...word(random.below(8)), pick(random, [0, 1, 3, 127, 255]), 0, 0, 0, ...noise(random, 300)];
  return Uint8Array.from([
    ...command,
    ...([macs, rss, noise(random, random.below(20)), [random.below(2)]][random.below(4)] ?? []),
  ]);
}

/** All of the command, in one piece or two, and a byte for the answer. */
function controlShape(random: Random, payload: Uint8Array): [number[], number[]] {
  const cut = random.below(payload.length + 1);
  return [[cut, payload.length - cut], [1]];
}

/** Attacks with many seeds, and says which one found something. */
function attack(target: Target, seeds: number, steps: number): Outcome {
  const total = { sent: 0, answered: 0, broken: 0 };
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      const { sent, answered, broken } = attackDevice(target, new Random(seed), steps);
      total.sent += sent;
      total.answered += answered;
      total.broken += broken;
    } catch (cause) {
      throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
  return total;
}

test.each(layouts)('%s: a memory image under attack', (layout) => {
  let block: BlockDevice | undefined;
  const make = (arena: Arena): BlockDevice => {
    const image = arena.allocate('image', SECTORS * 512);
    block = new BlockDevice(arena, { name: 'block', store: { address: image, bytes: SECTORS * 512 }, queueSize: 64 });
    return block;
  };
  const { sent, answered, broken } = attack(
    { layout, queue: 0, make, payload: blockPayload, shape: blockShape },
    12,
    400,
  );
  expect(sent).toBeGreaterThan(3000);
  expect(answered).toBeGreaterThan(sent / 2);
  expect(broken).toBeGreaterThan(20);
  // It was not all refused: the last seed alone did some of everything.
  const { reads, writes, flushes, ioErrors, unsupported, malformed } = (block as BlockDevice).stats;
  expect(Math.min(reads, writes, flushes, ioErrors, unsupported, malformed)).toBeGreaterThan(0);
});

test.each(layouts)('%s: a file under attack keeps its length', (layout) => {
  const path = join(folder, layout);
  writeFileSync(path, new Uint8Array(SECTORS * 512));
  const file = new BlockFile(path);
  const make = (arena: Arena): BlockDevice => new BlockDevice(arena, { name: 'block', store: file, queueSize: 64 });
  const { answered, broken } = attack({ layout, queue: 0, make, payload: blockPayload, shape: blockShape }, 4, 300);
  file.close();
  expect(answered).toBeGreaterThan(300);
  expect(broken).toBeGreaterThan(3);
  expect(readFileSync(path).length).toBe(SECTORS * 512);
});

test.each(layouts)('%s: a control queue under attack', (layout) => {
  let net: NetDevice | undefined;
  const { CSUM, GUEST_CSUM, GUEST_TSO4, RSS, HASH_REPORT } = VIRTIO_NET_F;
  const dataPath = {
    features: featureMask(CSUM, GUEST_CSUM, GUEST_TSO4, RSS, HASH_REPORT),
    start: () => {},
    stop: () => {},
    queueChanged: () => {},
  };
  const make = (arena: Arena): NetDevice => {
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
    net = new NetDevice(arena, { name: 'net', mac, dataPath, maxPairs: 4, hashTypes: 7 });
    return net;
  };
  const { sent, answered, broken } = attack(
    { layout, queue: 8, make, payload: controlPayload, shape: controlShape },
    12,
    400,
  );
  expect(answered).toBeGreaterThan(sent / 2);
  expect(broken).toBeGreaterThan(20);
  const { accepted, refused, malformed } = (net as NetDevice).controlStats;
  expect(Math.min(accepted, refused, malformed)).toBeGreaterThan(0);
});

/** Calls anything that a transport may, in any order, with any values. Returns how often the device came to run. */
function attackSetup(random: Random, steps: number): number {
  const type = new TestType();
  const { device, arena } = makeDeviceRig(() => type, { bytes: 1 << 20, transitional: random.below(2) === 0 });
  const memory = arena.allocate('rings', 65536, 4096);
  const before = arena.regions().length;
  const bits = [0, 1, 5, 28, 29, 32, 34, 40, 64, 127];
  const mask = (): bigint => featureMask(...bits.filter(() => random.below(2) === 0));
  const sane = featureMask(0, 32, 40);
  const address = (): bigint => {
    const inside = GUEST_OFFSET + BigInt(memory + random.below(16) * 4096);
    const shift = BigInt(pick(random, [0, 0, 0, 0, 1, 2, 8, 16, 65535]));
    return random.below(8) === 0 ? BigInt(random.next()) << BigInt(random.below(40)) : inside + shift;
  };
  const index = (): number => random.below(4) - 1;
  const size = (): number => pick(random, [0, 1, 2, 3, 4, 8, 16, 32, 65536, 0.5, Number.NaN, -1]);
  const setQueue = (): void =>
    device.setQueue(index(), {
      size: size(),
      descriptors: address(),
      driverArea: address(),
      deviceArea: address(),
    });
  const calls: (() => unknown)[] = [
    () => device.writeFeatures([sane, 1n, 0n, mask()][random.below(4)] ?? 0n),
    () => device.writeStatus(random.below(256)),
    () => device.writeStatus(device.readStatus() | pick(random, [1, 2, 4, 8, 15])),
    setQueue,
    setQueue,
    () => device.setLegacyQueue(index(), address()),
    () => device.enableQueue(index()),
    () => device.enableQueue(index()),
    () => device.resetQueue(index()),
    () => device.notify(index()),
    () => device.writeStatus(random.below(6) === 0 ? 0 : device.readStatus()),
    () => device.readConfig(random.next(), random.below(10)),
    () => device.writeConfig(random.below(10), new Uint8Array(random.below(10))),
    () => type.session?.needsReset('chance'),
  ];
  for (let step = 0; step < steps; step++) {
    try {
      calls[random.below(calls.length)]?.();
    } catch (error) {
      // A refusal of the control path, with a reason; anything else is a bug.
      if (!(error instanceof RingwayError) || error.code !== 'BAD_ARGUMENT') throw error;
    }
    const status = device.readStatus();
    if (status & VIRTIO_STATUS.FEATURES_OK) {
      expect(device.negotiated & ~device.readFeatures()).toBe(0n);
      expect(brokenRule(device.negotiated, type.rules)).toBeUndefined();
    }
    const running =
      type.log.filter((line) => line.startsWith('start')).length - type.log.filter((line) => line === 'stop').length;
    expect(running === 0 || running === 1).toBe(true);
    if (device.live) expect(running).toBe(1);
    // 2.1.2: nothing is consumed before DRIVER_OK, but for a driver that does not know VERSION_1.
    if (running === 1 && (device.negotiated & featureMask(32)) !== 0n)
      expect(status & VIRTIO_STATUS.DRIVER_OK).not.toBe(0);
    // The type works on the queues that are enabled, and on no others: their memory is somebody else's.
    if (running === 1) {
      expect([0, 1].map((i) => type.live[i] !== undefined)).toEqual([0, 1].map((i) => device.queueEnabled(i)));
    }
  }
  device.writeStatus(0);
  expect(arena.regions().length).toBe(before);
  return type.log.filter((line) => line.startsWith('start')).length;
}

test('setup under attack: calls in any order are refused with a reason or do what they say', () => {
  let started = 0;
  for (let seed = 1; seed <= 40; seed++) {
    try {
      started += attackSetup(new Random(seed), 400);
    } catch (cause) {
      throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
  expect(started).toBeGreaterThan(40);
});
