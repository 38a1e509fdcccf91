import fc from 'fast-check';
import {
  createChainList,
  featureMask,
  NET_COMMAND,
  readNetInfo,
  type Segment,
  VIRTIO_F,
  VIRTIO_NET_F,
} from 'ringway/virtio';
import { expect, test } from 'vitest';
import {
  NET_CONTROL_F_ALLMULTI,
  NET_CONTROL_F_ALLUNI,
  NET_CONTROL_F_MULTICAST_OVERFLOW,
  NET_CONTROL_F_NOBCAST,
  NET_CONTROL_F_NOMULTI,
  NET_CONTROL_F_NOUNI,
  NET_CONTROL_F_PROMISC,
  NET_CONTROL_F_UNICAST_OVERFLOW,
  NET_CONTROL_F_VLAN,
} from '#build/virtio/layout.js';
import { MAC, makeNetRig } from './support/net-rig.ts';

const F = VIRTIO_NET_F;
const OFFLOADS = featureMask(F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_USO4, F.GUEST_USO6);
const HASHING = featureMask(F.RSS, F.HASH_REPORT);
const mac = (...last: number[]): Uint8Array => Uint8Array.of(2, 0, 0, 0, ...last);
const group = (last: number): Uint8Array => Uint8Array.of(1, 0, 0x5e, 0, 0, last);

test('a device begins promiscuous, with one pair, without VLANs, and with all its offloads', () => {
  const { net, log } = makeNetRig({ pathFeatures: OFFLOADS, maxPairs: 4 });
  expect(net.control.flags).toBe(NET_CONTROL_F_PROMISC | NET_CONTROL_F_VLAN);
  expect([net.control.pairs, net.control.offloads, net.control.hasVlan(0)]).toEqual([1, OFFLOADS, false]);
  expect(log).toEqual(['start 4 4']);
});

test.each([
  ['promisc', NET_CONTROL_F_PROMISC],
  ['allmulti', NET_CONTROL_F_ALLMULTI],
  ['alluni', NET_CONTROL_F_ALLUNI],
  ['nomulti', NET_CONTROL_F_NOMULTI],
  ['nouni', NET_CONTROL_F_NOUNI],
  ['nobcast', NET_CONTROL_F_NOBCAST],
] as const)('%s goes on and off', async (mode, flag) => {
  const { net, control } = makeNetRig();
  for (const on of [true, false, true]) {
    const answer = control.setRxMode(mode, on);
    expect(control.poll()).toBe(1);
    await answer;
    expect((net.control.flags & flag) !== 0).toBe(on);
  }
});

test('addresses: the table, the own one, and more than there is room for', async () => {
  const { net, control, device, features } = makeNetRig();
  const send = async (answer: Promise<void>): Promise<void> => {
    control.poll();
    await answer;
  };
  await send(control.setMacTable([mac(0, 2), mac(0, 3)], [group(1)]));
  expect(net.control.macCounts).toEqual({ unicast: 2, multicast: 1 });
  const many = Array.from({ length: 65 }, (_, i) => mac(1, i));
  await send(control.setMacTable(many, []));
  expect(net.control.flags & NET_CONTROL_F_UNICAST_OVERFLOW).not.toBe(0);
  await send(
    control.setMacTable(
      many.slice(1),
      Array.from({ length: 65 }, (_, i) => group(i)),
    ),
  );
  expect(net.control.flags & NET_CONTROL_F_UNICAST_OVERFLOW).toBe(0);
  expect(net.control.flags & NET_CONTROL_F_MULTICAST_OVERFLOW).not.toBe(0);
  expect(net.control.macCounts).toEqual({ unicast: 64, multicast: 0 });
  await send(control.setMac(mac(9, 9)));
  expect(readNetInfo(device, 'driver', features).mac).toEqual(mac(9, 9));
  device.writeStatus(0);
  expect(net.config.read(0, 6)).toEqual(MAC);
});

test('a refused table leaves the one before', async () => {
  const { net, control, command } = makeNetRig();
  const good = control.setMacTable([mac(0, 2)], []);
  control.poll();
  await good;
  const list = (count: number, ...macs: Uint8Array[]): number[] => [count, 0, 0, 0, ...macs.flatMap((one) => [...one])];
  const bad: number[][] = [
    [],
    list(0),
    list(1, mac(0, 7)),
    [...list(2, mac(0, 7)), ...list(0)],
    [...list(1, mac(0, 7)), ...list(1)],
    [...list(1, group(7)), ...list(0)],
    [...list(0), ...list(1, mac(0, 7))],
    [...list(0), ...list(0), 0],
    [255, 255, 255, 255, ...mac(0, 7), 0, 0, 0, 0],
  ];
  for (const data of bad) expect(await command(NET_COMMAND.MAC_TABLE_SET, ...data), `${data}`).toBe(false);
  expect(net.control.macCounts).toEqual({ unicast: 1, multicast: 0 });
  expect(net.controlStats).toEqual({ accepted: 1, refused: bad.length, malformed: 0 });
});

test.each([
  ['no class', 0x600, []],
  ['no command of the class', 0x006, [1]],
  ['rx mode: no data', NET_COMMAND.RX_PROMISC, []],
  ['rx mode: neither 0 nor 1', NET_COMMAND.RX_PROMISC, [2]],
  ['rx mode: too much data', NET_COMMAND.RX_PROMISC, [1, 0]],
  ['own address of a group', NET_COMMAND.MAC_ADDR_SET, [1, 0, 0, 0, 0, 1]],
  ['own address of zeroes', NET_COMMAND.MAC_ADDR_SET, [0, 0, 0, 0, 0, 0]],
  ['own address cut', NET_COMMAND.MAC_ADDR_SET, [2, 0, 0, 0, 0]],
  ['VLAN 4096', NET_COMMAND.VLAN_ADD, [0, 16]],
  ['VLAN of a byte', NET_COMMAND.VLAN_DEL, [1]],
  ['no pair', NET_COMMAND.MQ_VQ_PAIRS_SET, [0, 0]],
  ['more pairs than there are', NET_COMMAND.MQ_VQ_PAIRS_SET, [5, 0]],
  ['offloads that were not negotiated', NET_COMMAND.GUEST_OFFLOADS_SET, [0, 4, 0, 0, 0, 0, 0, 0]],
  ['offloads of a word', NET_COMMAND.GUEST_OFFLOADS_SET, [2, 0, 0, 0]],
  ['an announcement with data', NET_COMMAND.ANNOUNCE_ACK, [0]],
  ['hashes that are not supported', NET_COMMAND.MQ_HASH_CONFIG, [8, 0, 0, 0, ...Array(8).fill(0), 1, 1]],
  ['hashes without a key', NET_COMMAND.MQ_HASH_CONFIG, [1, 0, 0, 0, ...Array(8).fill(0), 0]],
  ['reserved words that are set', NET_COMMAND.MQ_HASH_CONFIG, [0, 0, 0, 0, 1, ...Array(7).fill(0), 0]],
  ['a key longer than said', NET_COMMAND.MQ_HASH_CONFIG, [1, 0, 0, 0, ...Array(8).fill(0), 1, 1, 1]],
  ['a key of 41 bytes', NET_COMMAND.MQ_HASH_CONFIG, [1, 0, 0, 0, ...Array(8).fill(0), 41, ...Array(41).fill(1)]],
  ['a table of 3', NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]],
  ['a table of 256', NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 255, 0, 0, 0, ...Array(512).fill(0), 1, 0, 0]],
  ['a table that is cut', NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]],
  ['a queue that there is not', NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]],
  ['an unclassified queue that there is not', NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0]],
  ['no transmit queue', NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
] as const)('refused: %s', async (_, command, data) => {
  const rig = makeNetRig({ pathFeatures: OFFLOADS | HASHING, maxPairs: 4, hashTypes: 7 });
  const before = rig.arena.u8.slice(rig.net.control.address, rig.net.control.address + 1920);
  expect(await rig.command(command, ...data)).toBe(false);
  expect(rig.arena.u8.slice(rig.net.control.address, rig.net.control.address + 1920)).toEqual(before);
  expect(rig.net.controlStats).toEqual({ accepted: 0, refused: 1, malformed: 0 });
});

test.each([
  [F.CTRL_RX, NET_COMMAND.RX_PROMISC, [1]],
  [F.CTRL_RX_EXTRA, NET_COMMAND.RX_ALLUNI, [1]],
  [F.CTRL_VLAN, NET_COMMAND.VLAN_ADD, [1, 0]],
  [F.CTRL_MAC_ADDR, NET_COMMAND.MAC_ADDR_SET, [2, 0, 0, 0, 0, 9]],
  [F.GUEST_ANNOUNCE, NET_COMMAND.ANNOUNCE_ACK, []],
  [F.CTRL_GUEST_OFFLOADS, NET_COMMAND.GUEST_OFFLOADS_SET, [2, 0, 0, 0, 0, 0, 0, 0]],
  [F.MQ, NET_COMMAND.MQ_VQ_PAIRS_SET, [2, 0]],
  [F.HASH_REPORT, NET_COMMAND.MQ_HASH_CONFIG, [1, 0, 0, 0, ...Array(8).fill(0), 1, 1]],
  [F.RSS, NET_COMMAND.MQ_RSS_CONFIG, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]],
] as const)('feature %i decides whether command %i is one', async (bit, command, data) => {
  const options = { pathFeatures: OFFLOADS | HASHING, maxPairs: 4, hashTypes: 7 };
  expect(await makeNetRig(options).command(command, ...data)).toBe(true);
  const without = makeNetRig({ ...options, supported: ~featureMask(bit) & ((1n << 128n) - 1n) });
  expect(await without.command(command, ...data)).toBe(false);
});

test('steering: pairs, then RSS, then pairs again; the last command decides', async () => {
  const { net, control } = makeNetRig({ pathFeatures: HASHING, maxPairs: 4, hashTypes: 7 });
  const send = async (answer: Promise<void>): Promise<void> => {
    control.poll();
    await answer;
  };
  await send(control.setPairs(3));
  expect([net.control.pairs, net.control.rss]).toEqual([3, undefined]);
  const key = Uint8Array.from({ length: 40 }, (_, i) => i + 1);
  const rss = { hashTypes: 7, table: Array.from({ length: 128 }, (_, i) => i % 4), unclassified: 3, pairs: 2, key };
  await send(control.setRss(rss));
  expect(net.control.rss).toEqual(rss);
  await send(control.setPairs(4));
  expect([net.control.pairs, net.control.rss, net.control.hashTypes]).toEqual([4, undefined, 7]);
  await send(control.setHash(3, key.subarray(0, 16)));
  expect([net.control.hashTypes, net.control.key]).toEqual([3, key.slice(0, 16)]);
});

test('offloads above bit 32 go off and on', async () => {
  const { net, control } = makeNetRig({ pathFeatures: OFFLOADS });
  for (const mask of [featureMask(F.GUEST_USO6), OFFLOADS, 0n]) {
    const answer = control.setOffloads(mask);
    control.poll();
    await answer;
    expect(net.control.offloads).toBe(mask);
  }
});

test('link and announcement: seen in the configuration, told, acknowledged', async () => {
  const { net, device, features, control, configChanges } = makeNetRig({ mtu: 1400, speed: 10_000, duplex: 'full' });
  const info = () => readNetInfo(device, 'driver', features);
  expect(info()).toMatchObject({ mac: MAC, linkUp: false, mtu: 1400, speed: 10_000, duplex: 'full', maxPairs: 1 });
  net.setLink(true);
  expect([info().linkUp, configChanges()]).toEqual([true, 1]);
  expect(net.announce()).toBe(true);
  expect([info().announce, info().linkUp, configChanges()]).toEqual([true, true, 2]);
  const answer = control.acknowledgeAnnounce();
  control.poll();
  await answer;
  // The driver asked for that change itself.
  expect([info().announce, info().linkUp, configChanges()]).toEqual([false, true, 2]);
});

test('a driver without STATUS takes the link for up, and one without GUEST_ANNOUNCE is not asked', () => {
  const { net, device, features, configChanges } = makeNetRig({
    supported: ~featureMask(F.STATUS, F.GUEST_ANNOUNCE) & ((1n << 128n) - 1n),
  });
  net.setLink(false);
  expect(readNetInfo(device, 'driver', features).linkUp).toBe(true);
  expect([net.announce(), configChanges()]).toEqual([false, 0]);
});

test.each([
  [{ mtu: 67 }, /mtu=67, must be a whole number from 68 to 65535/],
  [{ mtu: 65536 }, /mtu=65536/],
  [{ maxPairs: 0 }, /maxPairs=0, must be a whole number from 1 to 32768/],
  [{ speed: 2 ** 31 }, /speed=2147483648/],
  [{ mac: Uint8Array.of(1, 0, 0, 0, 0, 1) }, /mac=1\.0\.0\.0\.0\.1, must be six bytes of a single station/],
  [{ hashTypes: 512 }, /hashTypes=512/],
])('%j is refused', (settings, reason) => {
  expect(() => makeNetRig(settings)).toThrow(reason);
});

test('a driver refuses an MTU below 68 and a device without queues', () => {
  const { net, device, features } = makeNetRig({ mtu: 1500, maxPairs: 2 });
  net.config.update((fields) => fields.setUint16(10, 67, true));
  expect(() => readNetInfo(device, 'driver', features)).toThrow(/mtu=67, must be at least 68/);
  net.config.update((fields) => fields.setUint32(8, 1500 << 16, true));
  expect(() => readNetInfo(device, 'driver', features)).toThrow(/max_virtqueue_pairs=0/);
});

test('a legacy driver writes its address into the configuration, others do not', () => {
  const rig = makeNetRig();
  expect(rig.device.writeConfig(0, mac(5, 5))).toBe(false);
  rig.device.writeStatus(0);
  rig.device.writeFeatures(0n);
  for (const [i, byte] of mac(5, 5).entries()) expect(rig.device.writeConfig(i, Uint8Array.of(byte))).toBe(true);
  expect(rig.device.writeConfig(6, Uint8Array.of(1))).toBe(false);
  expect(rig.device.readConfig(0, 6)).toEqual(mac(5, 5));
});

test('queues have the places of 5.1.2', () => {
  const { net } = makeNetRig({ maxPairs: 4, queueSize: 128 });
  const ctrl = featureMask(F.CTRL_VQ);
  expect(net.queues(0n)).toEqual([128, 128]);
  expect(net.queues(ctrl)).toEqual([128, 128, 64]);
  expect(net.queues(ctrl | featureMask(F.MQ))).toEqual([...Array(8).fill(128), 64]);
});

test('commands lie in any descriptors, their header too', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 12 }),
      fc.boolean(),
      async (cuts, packed) => {
        const only = packed ? ~0n : ~featureMask(VIRTIO_F.RING_PACKED);
        const { net, arena, device, queue } = makeNetRig({ supported: ((1n << 128n) - 1n) & only });
        const bytes = [1, 0, 1, 0, 0, 0, ...mac(0, 2), 1, 0, 0, 0, ...group(5)];
        const memory = arena.allocate('split', 4096);
        const readable: Segment[] = [];
        let at = 0;
        for (const [i, cut] of [...cuts, bytes.length].entries()) {
          const length = Math.min(cut, bytes.length - at);
          arena.u8.set(bytes.slice(at, at + length), memory + i * 64);
          readable.push({ address: memory + i * 64, length });
          at += length;
        }
        const list = createChainList(arena, { name: 'list', chains: 1, segments: 32 });
        arena.u8.fill(9, memory + 2048, memory + 2052);
        list.push(readable, [
          { address: memory + 3000, length: 0 },
          { address: memory + 2049, length: 1 },
          { address: memory + 2050, length: 2 },
        ]);
        expect(queue.driver.add(list, 1)).toBe(1);
        device.notify(2);
        expect(net.control.macCounts).toEqual({ unicast: 1, multicast: 1 });
        expect([...arena.u8.subarray(memory + 2048, memory + 2052)]).toEqual([9, 0, 9, 9]);
        expect(queue.driver.poll(memory + 3072, 8)).toBe(1);
        expect(arena.u32[(memory + 3076) >>> 2]).toBe(1);
      },
    ),
    { numRuns: 40 },
  );
});

test('a command without room for an answer is returned and counted, not carried out', () => {
  const { net, arena, device, queue } = makeNetRig();
  const memory = arena.allocate('command', 64);
  arena.u8.set([0, 0, 0], memory);
  const list = createChainList(arena, { name: 'list', chains: 1, segments: 4 });
  list.push([{ address: memory, length: 3 }], []);
  queue.driver.add(list, 1);
  device.notify(2);
  expect(net.control.flags & NET_CONTROL_F_PROMISC).not.toBe(0);
  expect(net.controlStats).toEqual({ accepted: 0, refused: 0, malformed: 1 });
  expect(queue.driver.poll(memory, 8)).toBe(1);
});

test('a ninth command waits for an answer to one of eight; a broken queue rejects them all', async () => {
  const { control, device, queue, arena, configChanges } = makeNetRig({ supported: featureMask(32, F.CTRL_VQ) });
  // The device sees nothing while it needs a reset, so answers stay out.
  arena.u8.fill(0xff, queue.driver.rings.driverArea + 2, queue.driver.rings.driverArea + 4);
  device.notify(2);
  expect(device.refusal).toMatch(/control queue broken, rule 1/);
  expect(configChanges()).toBe(1);
  const answers = Array.from({ length: 8 }, () => control.addVlan(1));
  await expect(control.addVlan(1)).rejects.toThrow(/8 commands or a full queue wait/);
  expect(control.pending).toBe(8);
  // A used index that runs ahead breaks the driver's side.
  arena.u8.fill(0xff, queue.driver.rings.deviceArea + 2, queue.driver.rings.deviceArea + 4);
  control.poll();
  const settled = await Promise.allSettled(answers);
  expect(settled.every(({ status }) => status === 'rejected')).toBe(true);
  expect(control.pending).toBe(0);
});
