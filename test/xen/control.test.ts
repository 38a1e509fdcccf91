import type { ControlClient } from 'ringway/xen';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { connect, disconnect, exchange, type VifRig } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { makeVif, settle } from './support/vif-rig.ts';

const path = { kind: 'control' } as const;
/** Of the published verification suite of RSS: 40 bytes. */
const KEY = Uint8Array.from({ length: 40 }, (_, i) => i * 7);

/** Connects, with both domains told of their events. */
async function open(
  options: Partial<Parameters<typeof makeVif>[0]>,
): Promise<VifRig & { client: ControlClient; end(failed?: number): Promise<void> }> {
  const rig = await makeVif({ mode: 'plain', path, ...options });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  await settle();
  return {
    ...rig,
    client: rig.netfront.bus.control as ControlClient,
    async end(failed) {
      await disconnect(rig, failed);
      for (const stop of stops) stop();
    },
  };
}

test.each(MODES)('%s: grants that messages name are mapped at once, and nothing is copied by grant', async (mode) => {
  const rig = await open({ mode, queues: { front: 2, back: 2 } });
  const { maps, copies } = rig.driver.costs();
  // Rings, the control ring, and all slots; a list is one copy.
  expect([maps, copies]).toEqual([4 + 1 + 2 * 512, 2]);
  exchange(rig, 1, 40);
  expect(rig.driver.costs().copies).toBe(2);
  await rig.end();
});

test('what is not there is not kept twice, and what is let go is copied again', async () => {
  const rig = await open({});
  const { client, guest, driver } = rig;
  const refs = Array.from({ length: 3 }, () => guest.grants.grant(0, guest.allocPages(1)));
  const entries = refs.map((ref) => ({ ref, readonly: false }));
  expect(await client.keep(0, entries)).toBe(3);
  expect(guest.grants.end(refs[0] ?? 0)).toBe(false);
  const { maps } = driver.costs();
  // All or nothing: one of them is there, one twice, one is no grant, one is read-only and not said to be.
  const other = guest.grants.grant(0, guest.allocPages(1), { readonly: true });
  for (const list of [[other, refs[0]], [other, other], [other, 4095], [other], [0]]) {
    const held = driver.costs().maps - driver.costs().unmaps;
    expect(
      await client.keep(
        0,
        list.map((ref) => ({ ref: ref ?? 0, readonly: false })),
      ),
    ).toBe(0);
    expect(driver.costs().maps - driver.costs().unmaps).toBe(held);
  }
  expect(await client.keep(1, entries)).toBe(0);
  expect(await client.letGo(0, [refs[0] ?? 0, other, refs[1] ?? 0, refs[1] ?? 0])).toEqual([0, 2, 0, 2]);
  expect(driver.costs().maps).toBeGreaterThanOrEqual(maps);
  expect([...refs.slice(0, 2), other].map((ref) => guest.grants.end(ref))).toEqual([true, true, true]);
  expect(guest.grants.end(refs[2] ?? 0)).toBe(false);
  expect(await client.letGo(0, [refs[2] ?? 0])).toEqual([0]);
  expect(guest.grants.end(refs[2] ?? 0)).toBe(true);
  // Some of the slots are let go: packets go on by copies.
  const copied = driver.costs().copies;
  const slots = Array.from({ length: 512 }, (_, i) => i + 10);
  await client.letGo(0, slots);
  exchange(rig, 2, 20);
  expect(driver.costs().copies).toBeGreaterThan(copied + 512);
});

test('a list of more than a page, and more than there is room for, is refused', async () => {
  const rig = await open({});
  const { client, guest } = rig;
  const page = guest.allocPages(1);
  const list = guest.grants.grant(0, page);
  for (const [queue, ref, count, status] of [
    [0, list, 513, 3],
    [0, list, 2 ** 32 - 1, 3],
    [0, 4095, 1, 2],
    [7, list, 1, 2],
    [2 ** 32 - 1, list, 1, 2],
    [0, list, 0, 0],
  ] as const) {
    for (const type of [9, 10]) expect(await client.request(type, queue, ref, count)).toEqual({ status, data: 0 });
  }
  expect(await client.request(8, 0)).toEqual({ status: 0, data: 1024 });
  expect(await client.request(11, 0)).toMatchObject({ status: 1 });
  expect(await client.request(0)).toMatchObject({ status: 1 });
  guest.grants.end(list);
  // The list that is none.
  await rig.end(2);
});

test.each([
  ['an old backend', { path, paths: [] }],
  ['a backend that spreads, and keeps nothing', { path, paths: [], hash: true }],
  ['an old frontend', { path: { kind: 'copy' }, paths: ['control'] }],
] as const)('%s is served by copies', async (_, options) => {
  const rig = await open(options);
  exchange(rig, 1, 10);
  expect(rig.driver.costs().copies).toBeGreaterThan(10);
  await rig.end();
});

test('a frontend says how packets are spread over its queues', async () => {
  const mapping = Array.from({ length: 100 }, (_, i) => i % 2);
  const rig = await open({ hash: true, setHash: { flags: 15, key: KEY, mapping }, queues: { front: 2, back: 2 } });
  const { arena, client, hashState } = rig;
  const words = (at: number, n: number): number[] => [
    ...arena.u32.subarray((hashState + at) >>> 2, (hashState + at + n * 4) >>> 2),
  ];
  expect(words(0, 2)).toEqual([1, 100]);
  // Bits of `rssHash`: IPv4, TCP, IPv6, TCP.
  expect(words(8, 1)).toEqual([27]);
  expect(arena.u8.slice(hashState + 16, hashState + 56)).toEqual(KEY);
  expect(words(128, 100)).toEqual(mapping);
  // What cannot be changes nothing.
  const page = rig.guest.allocPages(1);
  const ref = rig.guest.grants.grant(0, page);
  for (const [type, data, status] of [
    [1, [], 0],
    [4, [], 0],
    [2, [16], 2],
    [3, [ref, 41], 3],
    [3, [4095, 40], 2],
    [5, [129], 2],
    [5, [2 ** 32 - 1], 2],
    [6, [ref, 1, 100], 3],
    [6, [4095, 100, 0], 2],
    [7, [2], 2],
  ] as const) {
    expect(await client.request(type, ...data), `${type} ${data}`).toMatchObject({ status });
  }
  arena.u32[page >>> 2] = 2;
  expect(await client.request(6, ref, 1, 5)).toMatchObject({ status: 2 });
  expect(words(128, 100)).toEqual(mapping);
  expect(await client.request(1)).toEqual({ status: 0, data: 15 });
  expect(await client.request(4)).toEqual({ status: 0, data: 128 });
  // Fewer entries, all of queue 0.
  expect(await client.request(5, 3)).toMatchObject({ status: 0 });
  expect([...words(4, 1), ...words(128, 3)]).toEqual([3, 0, 0, 0]);
  rig.guest.grants.end(ref);
  // The pages that are none.
  await rig.end(2);
});

test('whatever is asked, nothing is mapped that is not given back', async () => {
  const random = new Random(7);
  const rig = await open({ hash: true });
  const { client, guest, arena } = rig;
  const page = guest.allocPages(1);
  const list = guest.grants.grant(0, page);
  const some = (): number => [0, 1, 2, list, random.below(600), random.next() >>> 0][random.below(6)] ?? 0;
  for (let i = 0; i < 600; i++) {
    for (let n = 0; n < 8; n++) {
      arena.u32[(page + n * 8) >>> 2] = random.below(4) === 0 ? random.next() : random.below(600);
      arena.u32[(page + n * 8 + 4) >>> 2] = random.below(3);
    }
    const [first, second, third] = random.below(3) === 0 ? [some(), some(), some()] : [0, list, random.below(9)];
    await client.request(random.below(12), first, second, third);
  }
  guest.grants.end(list);
  exchange(rig, 3, 10);
  await rig.netfront.close();
  await settle();
  expect(rig.driver.costs().maps).toBe(rig.driver.costs().unmaps);
  expect([guest.grants.inUse, rig.netfront.bus.lost]).toEqual([0, 0]);
});
