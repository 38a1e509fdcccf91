import {
  DRIVER_RING_FEATURES,
  featureMask,
  legacyQueueLayout,
  negotiate,
  readConfig,
  setUpQueue,
  sharedRingBytes,
  startDevice,
  VIRTIO_F,
  VIRTIO_STATUS,
} from 'ringway/virtio';
import { expect, test } from 'vitest';
import { A, B, HIGH, makeDeviceRig, TEST_NAMES, TEST_RULES, TestType, TOP } from './support/device-rig.ts';
import { GUEST_OFFSET } from './support/rig.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED } = VIRTIO_STATUS;
const V1 = featureMask(VIRTIO_F.VERSION_1);
const own = featureMask(A, B, HIGH, TOP);
const known = { name: 'driver', featureNames: TEST_NAMES, rules: TEST_RULES };

function makeRig(options: Parameters<typeof makeDeviceRig>[1] = {}) {
  const type = new TestType();
  return { type, ...makeDeviceRig(() => type, options) };
}

/** Up to FEATURES_OK, without a driver of ours. */
function offer(rig: ReturnType<typeof makeRig>, features: bigint): number {
  const { device } = rig;
  device.writeStatus(0);
  device.writeStatus(ACKNOWLEDGE);
  device.writeStatus(ACKNOWLEDGE | DRIVER);
  device.writeFeatures(features);
  device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  return device.readStatus();
}

test('driver and device agree on bits above 63', () => {
  const { device, type, arena } = makeRig();
  const features = negotiate(device, { ...known, supported: own | DRIVER_RING_FEATURES });
  expect(features).toBe(own | DRIVER_RING_FEATURES);
  expect(device.negotiated).toBe(features);
  expect(device.readStatus()).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  setUpQueue(arena, device, { name: 'q0', index: 0, features, guestOffset: GUEST_OFFSET });
  expect(device.live).toBe(false);
  startDevice(device, 'driver');
  expect(device.live).toBe(true);
  expect(type.log).toEqual([`start ${features.toString(16)} 10`]);
});

test.each([
  ['bit 5 was not offered', V1 | featureMask(5), /not offered: bit 5$/],
  ['B without A', V1 | featureMask(B), /TEST_F_B needs TEST_F_A$/],
  ['high bits without VERSION_1', featureMask(A, TOP), /TEST_F_TOP without VIRTIO_F_VERSION_1$/],
  ['a packed ring without VERSION_1', featureMask(VIRTIO_F.RING_PACKED), /VIRTIO_F_RING_PACKED without/],
])('FEATURES_OK stays clear: %s', (_, features, reason) => {
  const rig = makeRig();
  expect(offer(rig, features) & FEATURES_OK).toBe(0);
  expect(rig.device.refusal).toMatch(reason);
  // The driver may try once more with less.
  rig.device.writeFeatures(V1);
  rig.device.writeStatus(rig.device.readStatus() | FEATURES_OK);
  expect(rig.device.readStatus() & FEATURES_OK).toBe(FEATURES_OK);
});

test('a device type refuses sets of its own, and a driver fails with what it lacks', () => {
  const rig = makeRig();
  rig.type.objection = 'TEST_F_HIGH is needed';
  expect(() => negotiate(rig.device, { ...known, supported: V1 | featureMask(A) })).toThrow(
    expect.objectContaining({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(
        /refuses TEST_F_A, VIRTIO_F_VERSION_1 without TEST_F_B, TEST_F_HIGH, TEST_F_TOP, which it offers too/,
      ),
    }),
  );
  expect(rig.device.readStatus() & FAILED).toBe(FAILED);
  expect(rig.device.refusal).toBe('features refused: TEST_F_HIGH is needed');
});

test('a driver that needs what is not offered names it, and sets FAILED', () => {
  const { device } = makeRig();
  const wants = V1 | featureMask(66);
  expect(() => negotiate(device, { ...known, supported: wants, required: featureMask(66) })).toThrow(
    /^driver: needs bit 66, and the device offers only TEST_F_A,/,
  );
  expect(device.readStatus() & FAILED).toBe(FAILED);
  // 2.1.1: nothing but a reset gets it out of that.
  device.writeStatus(255);
  expect(device.readStatus() & (FEATURES_OK | DRIVER_OK)).toBe(0);
  expect(negotiate(device, { ...known, supported: V1 })).toBe(V1);
});

test('features are final with FEATURES_OK, and DRIVER_OK does not come before it', () => {
  const rig = makeRig();
  const { device } = rig;
  expect(offer(rig, V1) & FEATURES_OK).toBe(FEATURES_OK);
  device.writeFeatures(V1 | featureMask(A));
  expect(device.negotiated).toBe(V1);
  expect(device.refusal).toMatch(/features were negotiated/);
  device.writeStatus(0);
  device.writeFeatures(V1);
  device.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  expect(device.readStatus()).toBe(ACKNOWLEDGE | DRIVER);
  expect(device.refusal).toMatch(/DRIVER_OK before FEATURES_OK/);
});

test('a driver clears no bits, and cannot set NEEDS_RESET', () => {
  const rig = makeRig();
  offer(rig, V1);
  rig.device.writeStatus(NEEDS_RESET | ACKNOWLEDGE);
  expect(rig.device.readStatus()).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
});

test('a reset ends all, and the same features are accepted again', () => {
  const { device, arena, type } = makeRig();
  const regionsBefore = arena.regions().length;
  for (let i = 0; i < 3; i++) {
    const features = negotiate(device, { ...known, supported: own | DRIVER_RING_FEATURES });
    const queue = setUpQueue(arena, device, { name: 'q0', index: 0, features, guestOffset: GUEST_OFFSET });
    startDevice(device, 'driver');
    expect(device.queueEnabled(0)).toBe(true);
    device.writeStatus(0);
    queue.release();
    expect([device.readStatus(), device.negotiated, device.queueEnabled(0)]).toEqual([0, 0n, false]);
  }
  expect(arena.regions().length).toBe(regionsBefore);
  expect(type.log.filter((line) => line === 'stop').length).toBe(3);
});

test.each([
  ['split', V1],
  ['packed', V1 | featureMask(VIRTIO_F.RING_PACKED)],
] as const)('rings go where they are told to: %s', (_, supported) => {
  const { device, arena } = makeRig();
  const size = device.queueMaxSize(0);
  const bytes = sharedRingBytes(size);
  const ringsAt = arena.allocate('shared', bytes);
  const regionsBefore = arena.regions().length;
  for (let i = 0; i < 2; i++) {
    // What was left there is no used descriptor.
    arena.u8.fill(255, ringsAt, ringsAt + bytes);
    const features = negotiate(device, { ...known, supported });
    const options = { name: 'q0', index: 0, features, guestOffset: GUEST_OFFSET, ringsAt };
    const { driver, release } = setUpQueue(arena, device, options);
    const { descriptors, driverArea, deviceArea } = driver.rings;
    expect(descriptors).toBe(ringsAt);
    expect(driverArea).toBeGreaterThanOrEqual(descriptors + size * 16);
    expect(deviceArea).toBeGreaterThan(driverArea);
    expect(driver.address < ringsAt || driver.address >= ringsAt + bytes).toBe(true);
    startDevice(device, 'driver');
    expect(driver.poll(arena.allocate(`records ${i}`, 256), 32)).toBe(0);
    device.writeStatus(0);
    release();
  }
  expect(arena.damaged()).toEqual([]);
  expect(arena.regions().length).toBe(regionsBefore + 2);
});

test('nothing is noticed before DRIVER_OK, after FAILED, or when the device needs a reset', () => {
  const { device, arena, type, configChanges } = makeRig();
  const features = negotiate(device, { ...known, supported: V1 });
  setUpQueue(arena, device, { name: 'q0', index: 0, features, guestOffset: GUEST_OFFSET });
  const count = (): number => type.log.filter((line) => line === 'notify 0').length;
  device.notify(0);
  expect(count()).toBe(0);
  startDevice(device, 'driver');
  device.notify(0);
  device.notify(7);
  expect(count()).toBe(1);
  type.session?.needsReset('it broke');
  expect(device.readStatus() & NEEDS_RESET).toBe(NEEDS_RESET);
  expect([configChanges(), device.refusal, device.live]).toEqual([1, 'it broke', false]);
  type.session?.needsReset('again');
  expect([configChanges(), device.refusal]).toEqual([1, 'it broke']);
  device.notify(0);
  expect(count()).toBe(1);
  device.writeStatus(device.readStatus() | FAILED);
  expect(type.log.at(-1)).toBe('stop');
  device.writeStatus(0);
  expect(device.readStatus()).toBe(0);
});

test('the configuration is read within its bounds, in one generation, and written where the type lets', () => {
  const { device, type, configChanges } = makeRig();
  expect(device.readConfig(0, 8)).toEqual(new Uint8Array(8));
  for (const [offset, length] of [
    [0, 9],
    [8, 1],
    [-1, 1],
    [0.5, 1],
    [0, -1],
    [2 ** 53, 1],
    [Number.NaN, 1],
  ] as const) {
    expect(device.readConfig(offset, length)).toBeUndefined();
    if (length > 0) expect(device.writeConfig(offset, new Uint8Array(length))).toBe(false);
  }
  expect(device.writeConfig(0, new Uint8Array(2))).toBe(true);
  expect(device.writeConfig(1, new Uint8Array(2))).toBe(false);
  const before = device.configGeneration();
  type.config.update((fields) => fields.setUint32(4, 77, true));
  expect(device.configGeneration()).toBe(before + 1);
  // No driver runs: there is nobody to tell.
  expect(configChanges()).toBe(0);
  expect(readConfig(device, 'driver', 4, 4).getUint32(0, true)).toBe(77);
  expect(() => readConfig(device, 'driver', 6, 4)).toThrow(/no configuration of 10 bytes/);
});

test('a driver reads again when the generation moves, and gives up when it always does', () => {
  const { device, type } = makeRig();
  let reads = 0;
  const torn = (times: number) =>
    Object.assign(Object.create(device) as typeof device, {
      configGeneration: () => type.config.generation,
      readConfig: (offset: number, length: number) => {
        const data = type.config.read(offset, length);
        if (reads++ < times) type.config.update((fields) => fields.setUint8(0, reads));
        return data;
      },
    });
  expect(readConfig(torn(3), 'driver', 0, 1).getUint8(0)).toBe(3);
  expect(reads).toBe(4);
  expect(() => readConfig(torn(Number.POSITIVE_INFINITY), 'driver', 0, 1)).toThrow(/does not come to rest/);
});

const setup = (rig: ReturnType<typeof makeRig>, size = 8) => {
  const at = rig.arena.allocate('rings', 8192, 4096);
  const guest = (offset: number): bigint => GUEST_OFFSET + BigInt(at + offset);
  return { size, descriptors: guest(0), driverArea: guest(1024), deviceArea: guest(2048) };
};

test.each([
  ['too large', { size: 16 }, /queue 0 size=16, at most 8/],
  ['no power of two', { size: 3 }, /size=3, a split queue has a power of two/],
  ['outside the regions', { descriptors: 0x1000n }, /descriptors=0x1000 with 128 bytes, must lie in one region/],
  ['above 2^64', { deviceArea: 1n << 64n }, /deviceArea=0x10000000000000000 with/],
  ['below 0', { driverArea: -1n }, /driverArea=0x-1 with/],
])('a queue is refused when it is set: %s', (_, change, reason) => {
  const rig = makeRig();
  offer(rig, V1);
  expect(() => rig.device.setQueue(0, { ...setup(rig), ...change })).toThrow(reason);
  expect(() => rig.device.enableQueue(0)).toThrow(/queue 0 was not set/);
});

test('rings that are misaligned or overlap are refused when they are set', () => {
  const rig = makeRig();
  offer(rig, V1);
  const good = setup(rig);
  const { device } = rig;
  expect(() => device.setQueue(0, { ...good, descriptors: good.descriptors + 8n })).toThrow(/multiple of 16/);
  expect(() => device.setQueue(0, { ...good, driverArea: good.descriptors + 16n })).toThrow(/overlaps descriptors/);
  device.setQueue(0, good);
  device.enableQueue(0);
  expect(() => device.setQueue(0, good)).toThrow(/in use/);
  expect(() => device.setQueue(1, good)).toThrow(/queue 1 does not exist/);
});

test('a queue is set after features, since they say how long its ring is', () => {
  const rig = makeRig();
  rig.device.writeFeatures(V1);
  expect(() => rig.device.setQueue(0, setup(rig))).toThrow(/before FEATURES_OK/);
});

test('a queue that was set for other features is forgotten with FEATURES_OK', () => {
  const rig = makeRig();
  const { device } = rig;
  device.setQueue(0, setup(rig));
  device.enableQueue(0);
  offerAgain();
  expect(device.queueEnabled(0)).toBe(false);
  function offerAgain(): void {
    device.writeFeatures(V1 | featureMask(VIRTIO_F.RING_PACKED));
    device.writeStatus(FEATURES_OK);
  }
});

test('one queue is reset and comes back with another size (virtio 1.2, 2.6.1)', () => {
  const { device, arena, type } = makeRig();
  const supported = own | DRIVER_RING_FEATURES;
  const features = negotiate(device, { ...known, supported });
  const first = setUpQueue(arena, device, { name: 'q', index: 1, features, guestOffset: GUEST_OFFSET });
  startDevice(device, 'driver');
  device.resetQueue(1);
  expect(device.queueEnabled(1)).toBe(false);
  device.notify(1);
  first.release();
  const again = setUpQueue(arena, device, { name: 'q', index: 1, features, size: 4, guestOffset: GUEST_OFFSET });
  expect(again.driver.free()).toBe(4);
  expect(type.log.slice(1)).toEqual(['reset 1', 'enable 1']);
  expect(() => device.resetQueue(0)).toThrow(/queue 0 is not enabled/);
});

test('without RING_RESET, queues neither go nor come while the device runs', () => {
  const { device, arena } = makeRig();
  const features = negotiate(device, { ...known, supported: V1 | featureMask(A) });
  setUpQueue(arena, device, { name: 'q', index: 0, features, guestOffset: GUEST_OFFSET });
  startDevice(device, 'driver');
  expect(() => device.resetQueue(0)).toThrow(/RING_RESET was not negotiated/);
  expect(() => setUpQueue(arena, device, { name: 'r', index: 1, features, guestOffset: GUEST_OFFSET })).toThrow(
    /queue 1 the device runs/,
  );
});

test('a legacy queue has its used ring on the next page (2.6.2)', () => {
  // By hand: 16 * 256 + 2 * (3 + 256) = 4614, so the used ring starts at 8192; 6 + 8 * 256 = 2054 bytes of it.
  expect(legacyQueueLayout(256)).toEqual({ driverArea: 4096, deviceArea: 8192, bytes: 12288 });
  expect(legacyQueueLayout(8)).toEqual({ driverArea: 128, deviceArea: 4096, bytes: 8192 });
});

test('a legacy driver works with a transitional device: no FEATURES_OK, one address, use before DRIVER_OK', () => {
  const { device, arena, type } = makeRig();
  const features = negotiate(device, { ...known, supported: own | (DRIVER_RING_FEATURES & ~V1) });
  expect(features).toBe(featureMask(A, B, VIRTIO_F.RING_INDIRECT_DESC, VIRTIO_F.RING_EVENT_IDX));
  expect(device.readStatus()).toBe(ACKNOWLEDGE | DRIVER);
  const { driver } = setUpQueue(arena, device, { name: 'q', index: 1, features, guestOffset: GUEST_OFFSET });
  expect(driver.free()).toBe(16);
  expect(driver.rings.descriptors % 4096).toBe(0);
  device.notify(1);
  expect(type.log).toEqual([`start ${features.toString(16)} 01`, 'notify 1']);
  startDevice(device, 'driver');
  expect(type.log.length).toBe(2);
  expect(device.live).toBe(true);
});

test('a legacy driver gets what it may have of what it asks for, since it cannot be refused', () => {
  const rig = makeRig();
  const { device, type } = rig;
  device.writeStatus(ACKNOWLEDGE | DRIVER);
  device.writeFeatures(featureMask(B, 5, 3));
  device.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  expect(type.log).toEqual(['start 0 00']);
  expect(device.negotiated).toBe(0n);
});

test('a device that is not transitional refuses legacy drivers', () => {
  const rig = makeRig({ transitional: false });
  expect(offer(rig, featureMask(A)) & FEATURES_OK).toBe(0);
  expect(rig.device.refusal).toMatch(/VIRTIO_F_VERSION_1 is needed/);
  expect(() => rig.device.setLegacyQueue(0, 0n)).toThrow(/legacy layout is not in use/);
  rig.device.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  expect(rig.device.live).toBe(false);
});

test.each([
  ['misaligned', 512n, /must be a multiple of 4096/],
  ['outside', 1n << 63n, /must lie in one region/],
])('a legacy queue is refused: %s', (_, shift, reason) => {
  const rig = makeRig();
  expect(() => rig.device.setLegacyQueue(0, setup(rig).descriptors + shift)).toThrow(reason);
});

test('a device offers nothing that it cannot do', () => {
  expect(() => makeRig({ ringFeatures: featureMask(VIRTIO_F.NOTIFICATION_DATA) })).toThrow(
    /cannot offer VIRTIO_F_NOTIFICATION_DATA/,
  );
  expect(makeRig({ ringFeatures: 0n }).device.readFeatures()).toBe(own | V1);
});

test('a driver gives up on a device that does not answer as one', () => {
  const { device } = makeRig();
  const stuck = Object.assign(Object.create(device) as typeof device, {
    readStatus: () => 255,
    writeStatus: () => {},
  });
  expect(() => negotiate(stuck, { ...known, supported: V1 })).toThrow(/driver: the device does not reset/);
  expect(() => startDevice(stuck, 'driver')).toThrow(/the device does not start: status 0xff/);
});

test('a legacy driver that runs keeps its queues when it writes FEATURES_OK all the same', () => {
  const rig = makeRig();
  const { device, type } = rig;
  device.setLegacyQueue(0, setup(rig, 8).descriptors);
  device.notify(0);
  expect(device.live).toBe(true);
  device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  expect(device.readStatus() & FEATURES_OK).toBe(0);
  expect([device.queueEnabled(0), type.live[0] !== undefined]).toEqual([true, true]);
});

test('a driver that began with the legacy interface and accepts VERSION_1 is not served before DRIVER_OK', () => {
  const rig = makeRig();
  const { device, type } = rig;
  device.setLegacyQueue(0, setup(rig, 8).descriptors);
  device.writeFeatures(V1);
  device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  device.notify(0);
  expect([device.queueEnabled(0), type.log]).toEqual([false, []]);
});

test('one device takes a legacy driver, then a modern one, then a legacy one', () => {
  const { device, arena, type } = makeRig();
  const regionsBefore = arena.regions().length;
  for (const modern of [false, true, false]) {
    const supported = (own | DRIVER_RING_FEATURES) & (modern ? ~0n : ~V1);
    const features = negotiate(device, { ...known, supported });
    const queue = setUpQueue(arena, device, { name: 'q', index: 0, features, guestOffset: GUEST_OFFSET });
    startDevice(device, 'driver');
    expect(device.negotiated).toBe(features);
    expect(features >> 32n !== 0n).toBe(modern);
    expect([device.live, type.live[0] !== undefined]).toEqual([true, true]);
    // A legacy ring is one piece: its parts follow one another.
    const { descriptors, driverArea } = queue.driver.rings;
    expect(driverArea === descriptors + 8 * 16).toBe(!modern);
    device.writeStatus(0);
    queue.release();
  }
  expect(arena.regions().length).toBe(regionsBefore);
});

test('a legacy driver is told of a needed reset once it is there, and never gets bits of later versions', () => {
  const rig = makeRig();
  const { device, type, configChanges } = rig;
  device.writeFeatures(featureMask(A, HIGH, VIRTIO_F.RING_PACKED));
  device.setLegacyQueue(0, setup(rig, 8).descriptors);
  device.notify(0);
  expect([device.live, device.negotiated]).toEqual([true, featureMask(A)]);
  // 2.1.2: the notification is for after DRIVER_OK.
  type.session?.needsReset('early');
  expect([device.readStatus() & NEEDS_RESET, configChanges()]).toEqual([NEEDS_RESET, 0]);
});
