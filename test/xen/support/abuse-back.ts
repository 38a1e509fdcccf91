// What a frontend does to its backend: the advisories that Xen and Linux had for it, and the rules behind them.

import assert from 'node:assert/strict';
import type { ControlClient } from 'ringway/xen';
import { VIFHASH_MAPPING, VIFHASH_SIZE } from '#build/xen/control-layout.js';
import { type AbuseCase, EXTRA, MORE, type TxSlot } from './abuse.ts';
import { frameOf, settle } from './vif-rig.ts';

/** Events of a storm, all before the other end gets a turn. */
const STORM = 100_000;

/** The time of those who are to wait. */
const time = { ms: 0 };

/** A frame with headers of Ethernet, IPv4 and TCP, whose checksum is left to do. */
function tcpFrame(bytes: number): Uint8Array {
  const frame = frameOf(7, bytes);
  frame.set([8, 0, 0x45, 0, (bytes - 14) >> 8, (bytes - 14) & 255, 0, 0, 0, 0, 64, 6, 0, 0], 12);
  frame.set([10, 0, 0, 1, 10, 0, 0, 2, 1, 0, 2, 0], 26);
  frame[46] = 0x50;
  return frame;
}

/** Slots that each hold the next of `lengths` bytes of `frame`; the first says how long it is. */
function slotsOf(ref: number, frame: Uint8Array, lengths: readonly number[], flags = 0): TxSlot[] {
  let offset = 0;
  return lengths.map((length, i) => {
    const at = offset;
    offset += length;
    const more = i + 1 < lengths.length ? MORE : 0;
    return { ref, offset: at, size: i === 0 ? frame.length : length, flags: more | (i === 0 ? flags : 0), id: i };
  });
}

/** Cases of one rule that the ring does not survive, each on a connection of its own. */
const latching = (
  name: string,
  rule: RegExp,
  cases: readonly (readonly [readonly TxSlot[], number?])[],
): AbuseCase => ({
  name,
  async run(abuse) {
    for (const [slots, announced] of cases) {
      await abuse.reconnect();
      const { ref } = abuse.page(frameOf(1, 4096));
      const all = slots.map((slot) => ('extra' in slot ? slot : { ref, ...slot }));
      abuse.putTx(all, announced ?? all.length);
      abuse.latched('back', 'tx', rule);
    }
  },
});

const pieces = (n: number, size: number): TxSlot[] =>
  Array.from({ length: n }, (_, i) => ({ size: i === 0 ? size : 10, flags: i < n - 1 ? MORE : 0 }));

const cases: readonly AbuseCase[] = [
  latching('a request index beyond the ring, or that goes back', /an index moved back/, [
    [[], 257],
    [[], 2 ** 31],
    [[], -1],
  ]),
  latching('XSA-39: absurd numbers of requests', /an index moved back/, [
    [[], 100_000],
    [[], 2 ** 31 - 1],
    [[], 2 ** 32 - 2],
  ]),
  latching('more data than was produced', /not there/, [
    [[{ size: 1000, flags: MORE }]],
    [[{ size: 1000, flags: MORE }, { size: 10 }], 1],
    [[{ size: 1000, flags: EXTRA }]],
    [[{ size: 1000, flags: EXTRA }, { extra: [1, 1, 1, 1, 1, 0, 0, 0] }]],
  ]),
  latching('20 slots and more', /too many slots/, [[pieces(20, 1000)], [pieces(200, 60_000)]]),
  latching('bytes beyond the page', /outside their page/, [
    [[{ size: 100, offset: 4000 }]],
    [[{ size: 65_535, offset: 65_535 }]],
    [
      [
        { size: 100, flags: MORE },
        { size: 2, offset: 4095 },
      ],
    ],
  ]),
  latching('extra information of no type, of one that is unknown, and without an end', /no known type, or too much/, [
    [[{ size: 100, flags: EXTRA }, { extra: [0, 0, 0, 0, 0, 0, 0, 0] }]],
    [[{ size: 100, flags: EXTRA }, { extra: [255, 0, 0, 0, 0, 0, 0, 0] }]],
    [[{ size: 100, flags: EXTRA }, ...Array.from({ length: 99 }, () => ({ extra: [5, 1, 0, 0, 0, 0, 0, 0] }))]],
  ]),
  latching('segments of 0 bytes', /segments of 0/, [
    [[{ size: 1000, flags: EXTRA }, { extra: [1, 0, 0, 0, 1, 0, 0, 0] }]],
  ]),
  {
    name: 'a fragment longer than what remains of its packet',
    run(abuse) {
      const { ref } = abuse.page();
      abuse.refuses(
        [
          { ref, size: 100, flags: MORE },
          { ref, size: 101 },
        ],
        [-1, -1],
      );
      abuse.refuses(
        [
          { ref, size: 100, flags: MORE },
          { ref, size: 4096, flags: MORE },
          { ref, size: 4096 },
        ],
        [-1, -1, -1],
      );
    },
  },
  {
    name: 'a packet shorter than an Ethernet header',
    run(abuse) {
      const { ref } = abuse.page();
      for (const size of [0, 1, 13]) abuse.refuses([{ ref, size }], [-1]);
    },
  },
  {
    name: '19 slots',
    run(abuse) {
      const { ref } = abuse.page();
      abuse.refuses(
        pieces(19, 1000).map((slot) => ({ ref, ...slot })),
        Array<number>(19).fill(-1),
      );
    },
  },
  {
    name: 'XSA-155: requests that change between check and use',
    run(abuse) {
      const { rig } = abuse;
      const { arena, burst, scratch } = rig;
      const frames = [frameOf(1, 1500), frameOf(2, 3000)] as const;
      const [one, two] = frames.map((frame) => abuse.page(frame));
      const ends = [
        { ref: two?.ref ?? 0, size: 3000, flags: MORE, id: 78 },
        { ref: two?.ref ?? 0, offset: 2000, size: 1000, id: 79 },
      ];
      abuse.putTx([{ ref: one?.ref ?? 0, size: 1500, id: 77 }, ...ends]);
      const [share] = rig.netback.bus.queues;
      const k = arena.kernels<{
        xenBackTxBegin(queue: number, max: number): number;
        xenBackTxEnd(queue: number, slots: number): number;
        memoryGather(slot: number, target: number, max: number): number;
      }>();
      assert.ok(share?.txBatch !== undefined);
      const copies = k.xenBackTxBegin(share.txQueue, 32);
      // All of the ring but its indexes, while Xen copies; and the pages, when it has.
      const sring = abuse.sring('front', 'tx');
      arena.u8.fill(0xff, sring + 64, sring + 4096);
      rig.driver.hypervisor.copy(share.txBatch, copies);
      for (const page of [one, two]) arena.u8.fill(0xff, page?.address, (page?.address ?? 0) + 4096);
      arena.u8.fill(0xff, sring + 64, sring + 4096);
      assert.equal(k.xenBackTxEnd(share.txQueue, burst), 2);
      for (const [i, frame] of frames.entries()) {
        const length = k.memoryGather(burst + i * 16, scratch, 1 << 16);
        assert.deepEqual(arena.u8.slice(scratch, scratch + length), frame);
      }
      rig.free(0, 2);
      assert.deepEqual(abuse.txResponses(0), [
        [77, 0],
        [78, 0],
        [79, 0],
      ]);
    },
  },
  {
    name: 'XSA-270: a mapping of the hash whose offset and length wrap',
    options: {
      path: { kind: 'control' },
      hash: true,
      setHash: { flags: 15, key: new Uint8Array(40), mapping: [0, 0, 0] },
    },
    async run(abuse) {
      const { arena, netfront, hashState } = abuse.rig;
      await settle();
      const client = netfront.bus.control as ControlClient;
      const { address, ref } = abuse.page();
      arena.u32.fill(1, address >>> 2, (address + 4096) >>> 2);
      const words = (): Uint32Array => arena.u32.slice(hashState >>> 2, (hashState + VIFHASH_MAPPING + 512) >>> 2);
      assert.equal(abuse.word(hashState + VIFHASH_SIZE), 3);
      const before = words();
      for (const [count, offset] of [
        [1, 3],
        [1, 2 ** 32 - 1],
        [2 ** 32 - 1, 1],
        [2 ** 31, 2 ** 31],
        [2 ** 30, 0],
      ] as const) {
        assert.deepEqual(await client.request(6, ref, count, offset), { status: 3, data: 0 });
      }
      assert.deepEqual(await client.request(3, ref, 2 ** 32 - 1), { status: 3, data: 0 });
      assert.deepEqual(words(), before);
    },
  },
  {
    name: 'XSA-362, XSA-367: a grant that cannot be mapped is not taken for one that is',
    options: { path: { kind: 'persistent' } },
    run(abuse) {
      const { rig } = abuse;
      // What the backend would map for writing may only be read.
      const { address, ref } = abuse.page(frameOf(9, 4096));
      const rx = abuse.sring('front', 'rx');
      for (let slot = 0; slot < 256; slot++) rig.arena.u32[(rx + 64 + slot * 8 + 4) >>> 2] = ref;
      const { maps } = rig.driver.costs();
      for (let i = 0; i < 8; i++) {
        rig.make([frameOf(i, 1000)]);
        assert.equal(abuse.back.send(rig.burst, 1), 1);
      }
      assert.equal(abuse.back.drops().sent.failed, 8);
      assert.equal(rig.driver.costs().maps, maps);
      assert.deepEqual(rig.arena.u8.slice(address, address + 4096), frameOf(9, 4096));
    },
  },
  {
    name: 'XSA-392: a frontend that asks for no packets',
    options: { now: () => time.ms },
    run(abuse) {
      const { rig, back } = abuse;
      let sent = 0;
      for (let burst = 0; burst < 100; burst++) {
        rig.make(Array.from({ length: 32 }, (_, i) => frameOf(i, 60)));
        const n = back.send(rig.burst, 32);
        sent += n;
        rig.free(n, 32 - n);
      }
      // As many as it had asked for, and then nothing is kept for it.
      assert.equal(sent, 256);
      assert.equal(rig.held(), 0);
      assert.equal(back.fault(), undefined);
      // Nor does anybody wait for it for ever.
      time.ms += 10_000;
      rig.make([frameOf(1, 60), frameOf(2, 60)]);
      assert.equal(back.send(rig.burst, 2), 2);
      assert.deepEqual([back.stalled(), back.drops().sent.stalled], [true, 2]);
      assert.equal(rig.receive(abuse.front).length, 32);
    },
  },
  {
    name: 'XSA-424: what is dropped is dropped without a stop',
    options: { front: { sg: false }, buffers: 128 },
    run(abuse) {
      const { rig, back } = abuse;
      for (let burst = 0; burst < 50; burst++) {
        rig.make(Array.from({ length: 8 }, (_, i) => frameOf(i, 9000)));
        assert.equal(back.send(rig.burst, 8), 8);
      }
      assert.equal(back.drops().sent.long, 400);
      // And without a buffer left, on the way in.
      rig.make(Array.from({ length: 32 }, (_, i) => frameOf(i, 7000)));
      const { ref } = abuse.page();
      abuse.putTx(Array.from({ length: 100 }, () => ({ ref, size: 60 })));
      for (let burst = 0; burst < 4; burst++) assert.equal(back.receive(rig.scratch, 32), 0);
      assert.equal(back.drops().received.empty, 100);
      assert.deepEqual(new Set(abuse.txResponses(0).map(([, status]) => status)), new Set([-2]));
      rig.free(0, 32);
      abuse.passByHand(2);
    },
  },
  {
    name: 'XSA-423: headers that are split over slots',
    run(abuse) {
      const { rig, back } = abuse;
      const frame = tcpFrame(1000);
      const { ref } = abuse.page(frame);
      for (const lengths of [
        [1, 13, 20, 20, 946],
        [...Array<number>(17).fill(3), 949],
        [1, 0, 999],
      ]) {
        abuse.putTx(slotsOf(ref, frame, lengths, 1));
        assert.equal(back.receive(rig.burst, 32), 1);
        const buffer = abuse.word(rig.burst);
        assert.equal((rig.arena.u8[rig.burst + 13] ?? 0) & 8, 8);
        // The checksum is TCP's, behind 14 bytes of Ethernet and 20 of IPv4.
        assert.deepEqual([...rig.arena.u16.slice((buffer + 34) >>> 1, (buffer + 38) >>> 1)], [34, 16]);
        assert.deepEqual(rig.arena.u8.slice(buffer + 256, buffer + 256 + 1000), frame);
        rig.free(0, 1);
      }
      // Headers that end in the middle, and a checksum that would lie behind them.
      const short = abuse.page(frame.subarray(0, 49)).ref;
      abuse.refuses([{ ref: short, size: 49, flags: 1 }], [-1]);
    },
  },
  {
    name: 'XSA-432: as many slots as may be, and fewer bytes than headers have',
    run(abuse) {
      const frame = frameOf(3, 20);
      const { ref } = abuse.page(frame);
      abuse.putTx(slotsOf(ref, frame, [3, ...Array<number>(17).fill(1)]));
      assert.deepEqual(abuse.rig.receive(abuse.back), [frame]);
      abuse.putTx(slotsOf(ref, frame.subarray(0, 17), [0, ...Array<number>(17).fill(1)]));
      assert.deepEqual(abuse.rig.receive(abuse.back), [frame.subarray(0, 17)]);
      abuse.passByHand(3);
    },
  },
  {
    name: 'XSA-448: later slots of no bytes',
    run(abuse) {
      const frame = frameOf(4, 1000);
      const { ref } = abuse.page(frame);
      for (const lengths of [
        [1000, ...Array<number>(17).fill(0)],
        [0, 0, 0, 1000],
        [500, 0, 500, 0],
      ]) {
        const from = abuse.word(abuse.sring('front', 'tx') + 8);
        abuse.putTx(slotsOf(ref, frame, lengths));
        assert.deepEqual(abuse.rig.receive(abuse.back), [frame]);
        assert.deepEqual(
          abuse.txResponses(from),
          lengths.map((_, i) => [i, 0]),
        );
      }
    },
  },
  {
    name: 'a request index of the control ring that jumps',
    options: { path: { kind: 'control' } },
    async run(abuse) {
      const { arena, guest, netback, netfront } = abuse.rig;
      await settle();
      const read = async (key: string): Promise<number> =>
        Number(await guest.hypervisor.store.read(`/local/domain/1/device/vif/0/${key}`));
      const frame = abuse.word(guest.grants.address + (await read('ctrl-ring-ref')) * 8 + 4);
      arena.u32[(guest.memory + frame * 4096) >>> 2] = 100_000;
      guest.hypervisor.send(await read('event-channel-ctrl'));
      await settle();
      assert.match(netback.bus.controlFault ?? '', /moved back, or by more/);
      abuse.passByHand(4);
      // Nobody answers any more.
      const asked = (netfront.bus.control as ControlClient).request(8, 0);
      const refused = assert.rejects(asked, /the connection has ended/);
      await netfront.close();
      await settle();
      await refused;
    },
  },
  {
    name: 'XSA-332: a storm of events',
    options: { path: { kind: 'control' } },
    async run(abuse) {
      const { guest, netfront, driver } = abuse.rig;
      await settle();
      const [share] = netfront.bus.queues;
      const port = Number(await guest.hypervisor.store.read('/local/domain/1/device/vif/0/event-channel-ctrl'));
      const before = driver.costs().hypercalls;
      for (let i = 0; i < STORM; i++) for (const to of [share?.txPort ?? 0, port]) guest.hypervisor.send(to);
      await settle();
      // They are one event each until they are taken, and the backend does nothing for one that brings nothing.
      assert.ok(driver.costs().hypercalls - before < 100);
      abuse.passByHand(5);
    },
  },
];

export const BACK_CASES = cases.map((each) => ({ ...each, name: `a backend survives: ${each.name}` }));
