import { expect, test } from 'vitest';
import { makeRingRig, type RingKernels, type RingRig } from './support/ring-rig.ts';

const MORE = 4;
const EXTRA = 8;

/** A slot of a tx ring: a request, or six bytes of extra information by type. */
type TxSlot = { gref?: number; offset?: number; flags?: number; id?: number; size: number } | { extra: number[] };
type RxSlot = { id?: number; offset?: number; flags?: number; status: number } | { extra: number[] };

function putExtra(rig: RingRig, at: number, bytes: readonly number[]): void {
  rig.arena.u8.set(bytes, at);
}

/** Has the frontend send these slots; returns what the backend gathers. */
function sendTx(rig: RingRig, slots: readonly TxSlot[], options: { hidden?: number; max?: number } = {}) {
  const { arena, front, back, frontRecords, gather } = rig;
  const view = new DataView(arena.u8.buffer);
  for (const [i, slot] of slots.entries()) {
    const at = frontRecords + i * 12;
    arena.u8.fill(0xee, at, at + 12);
    if ('extra' in slot) putExtra(rig, at, slot.extra);
    else {
      view.setUint32(at, slot.gref ?? 0, true);
      view.setUint16(at + 4, slot.offset ?? 0, true);
      view.setUint16(at + 6, slot.flags ?? 0, true);
      view.setUint16(at + 8, slot.id ?? i, true);
      view.setUint16(at + 10, slot.size, true);
    }
  }
  const k = arena.kernels<RingKernels>();
  expect(k.xenRingPushRequests(front.address, frontRecords, slots.length - (options.hidden ?? 0))).toBeGreaterThan(0);
  const n = k.xenTxGather(back.address, gather, options.max ?? 32, 640);
  return readPackets(rig, n);
}

/** Has the frontend ask for as many, and the backend answer with these slots; returns what the frontend gathers. */
function answerRx(rig: RingRig, slots: readonly RxSlot[]) {
  const { arena, front, back, backRecords, frontRecords, gather } = rig;
  const k = arena.kernels<RingKernels>();
  k.xenRingPushRequests(front.address, frontRecords, slots.length);
  k.xenRingTakeRequests(back.address, frontRecords, slots.length);
  const view = new DataView(arena.u8.buffer);
  for (const [i, slot] of slots.entries()) {
    const at = backRecords + i * 8;
    if ('extra' in slot) putExtra(rig, at, slot.extra);
    else {
      view.setUint16(at, slot.id ?? i, true);
      view.setUint16(at + 2, slot.offset ?? 0, true);
      view.setUint16(at + 4, slot.flags ?? 0, true);
      view.setInt16(at + 6, slot.status, true);
    }
  }
  k.xenRingPushResponses(back.address, backRecords, slots.length);
  return readPackets(rig, k.xenRxGather(front.address, gather, 32, 640));
}

function readPackets({ arena, gather }: RingRig, n: number) {
  const view = new DataView(arena.u8.buffer);
  return Array.from({ length: n }, (_, i) => {
    const at = gather + 64 + i * 64;
    const first = view.getUint32(at, true);
    const pieces = Array.from({ length: view.getUint32(at + 4, true) }, (_, j) => {
      const piece = gather + 2112 + (first + j) * 16;
      return [0, 4, 6, 8].map((offset) =>
        offset === 0 ? view.getUint32(piece, true) : view.getUint16(piece + offset, true),
      );
    });
    return {
      pieces,
      size: view.getUint32(at + 8, true),
      flags: view.getUint16(at + 12, true),
      extras: view.getUint16(at + 14, true),
      bad: view.getUint32(at + 16, true),
      types: view.getUint32(at + 20, true),
      at,
    };
  });
}

test('packets of one slot and of several are gathered; the first piece is what the others leave', () => {
  const rig = makeRingRig('tx');
  const packets = sendTx(rig, [
    { gref: 10, offset: 100, size: 60, id: 7 },
    { gref: 11, offset: 96, size: 5000, flags: MORE | 1, id: 8 },
    { gref: 12, size: 4000, flags: MORE, id: 9 },
    { gref: 13, size: 0, flags: MORE, id: 10 },
    { gref: 14, offset: 4095, size: 1, id: 11 },
  ]);
  expect(packets).toMatchObject([
    { pieces: [[10, 100, 60, 7]], size: 60, bad: 0, extras: 0 },
    {
      pieces: [
        [11, 96, 999, 8],
        [12, 0, 4000, 9],
        [13, 0, 0, 10],
        [14, 4095, 1, 11],
      ],
      size: 5000,
      flags: MORE | 1,
      bad: 0,
    },
  ]);
  expect(rig.back.outstanding()).toBe(5);
});

test('extra information of all types is read', () => {
  const rig = makeRingRig('tx');
  const [packet] = sendTx(rig, [
    { size: 2000, flags: MORE | EXTRA },
    { extra: [1, 1, 0xb4, 5, 2, 0, 0, 0] },
    { extra: [2, 1, 1, 2, 3, 4, 5, 6] },
    { extra: [3, 1, 6, 5, 4, 3, 2, 1] },
    { extra: [4, 1, 3, 1, 0xaa, 0xbb, 0xcc, 0xdd] },
    { extra: [5, 0, 0, 1, 0, 0, 0, 0] },
    { size: 500 },
  ]);
  expect(packet).toMatchObject({ extras: 5, types: 0b111110, size: 2000, bad: 0 });
  const { arena } = rig;
  const at = packet?.at ?? 0;
  const { buffer } = arena.u8;
  expect([...new Uint16Array(buffer, at + 24, 2)]).toEqual([1460, 2]);
  expect([arena.u8[at + 28], arena.u8[at + 29], arena.u16[(at + 30) >>> 1]]).toEqual([3, 1, 256]);
  expect(arena.u32[(at + 32) >>> 2]).toBe(0xddccbbaa);
  expect([...arena.u8.slice(at + 40, at + 46)]).toEqual([1, 2, 3, 4, 5, 6]);
  expect([...arena.u8.slice(at + 48, at + 54)]).toEqual([6, 5, 4, 3, 2, 1]);
  expect(packet?.pieces).toHaveLength(2);
});

const many = (n: number): TxSlot[] =>
  Array.from({ length: n }, (_, i) => ({ size: i === 0 ? 1000 : 10, flags: i === n - 1 ? 0 : MORE }));

test.each<[string, TxSlot[], number]>([
  ['of 18 slots', many(18), 0],
  ['of 19 slots', many(19), 1],
  ['shorter than an Ethernet header', [{ size: 13 }], 2],
  ['of no bytes', [{ size: 0 }], 2],
  ['with more bytes in its fragments', [{ size: 100, flags: MORE }, { size: 101 }], 2],
  ['whose fragments wrap', [{ size: 100, flags: MORE }, { size: 4096, flags: MORE }, { size: 4096 }], 2],
])('a packet %s is bad or good, and the next one is gathered', (_, slots, bad) => {
  const rig = makeRingRig('tx');
  const packets = sendTx(rig, [...slots, { size: 64, gref: 99 }]);
  expect(packets.map((packet) => packet.bad)).toEqual([bad, 0]);
  expect(packets[0]?.pieces).toHaveLength(slots.length);
  expect(packets[1]?.pieces[0]?.[0]).toBe(99);
  expect(rig.back.broken()).toBeUndefined();
});

test.each<[string, TxSlot[], RegExp, number?]>([
  ['more data than was produced', [{ size: 100, flags: MORE }], /not there/],
  ['more data, hidden', [{ size: 100, flags: MORE }, { size: 10 }], /not there/, 1],
  ['20 slots', many(20), /too many slots/],
  ['a first slot that leaves its page', [{ size: 100, offset: 4000 }], /outside their page/],
  ['a first slot far away', [{ size: 65535, offset: 65535 }], /outside their page/],
  [
    'a fragment that leaves its page',
    [
      { size: 100, flags: MORE },
      { size: 2, offset: 4095 },
    ],
    /outside their page/,
  ],
  ['extra information that is missing', [{ size: 100, flags: EXTRA }], /not there/],
  ['extra information that goes on', [{ size: 100, flags: EXTRA }, { extra: [1, 1, 1, 1, 1, 0, 0, 0] }], /not there/],
  ['extra information of type 0', [{ size: 100, flags: EXTRA }, { extra: [0, 0, 1, 1, 1, 0, 0, 0] }], /no known type/],
  ['extra information of type 6', [{ size: 100, flags: EXTRA }, { extra: [6, 0, 1, 1, 1, 0, 0, 0] }], /no known type/],
  ['segments of no bytes', [{ size: 100, flags: EXTRA }, { extra: [1, 0, 0, 0, 1, 0, 0, 0] }], /segments of 0/],
  ['segments of no protocol', [{ size: 100, flags: EXTRA }, { extra: [1, 0, 1, 0, 3, 0, 0, 0] }], /segments of 0/],
  [
    'much extra information',
    [{ size: 100, flags: EXTRA }, ...Array.from({ length: 6 }, () => ({ extra: [5, 1, 0, 0, 0, 0, 0, 0] }))],
    /too much/,
  ],
])('a frontend with %s is latched; what came before is gathered', (_, slots, rule, hidden = 0) => {
  const rig = makeRingRig('tx');
  const packets = sendTx(rig, [{ size: 64, gref: 98 }, ...slots], { hidden });
  expect(packets).toMatchObject([{ pieces: [[98, 0, 64, 0]], bad: 0 }]);
  expect(rig.back.broken()).toMatch(rule);
  const k = rig.arena.kernels<RingKernels>();
  expect(k.xenTxGather(rig.back.address, rig.gather, 32, 640)).toBe(0);
});

test('a burst ends at its packets and at its pieces, and goes on there', () => {
  const rig = makeRingRig('tx');
  const slots = Array.from({ length: 12 }, (_, i) => ({ size: 60, gref: i }));
  expect(sendTx(rig, slots, { max: 5 })).toHaveLength(5);
  const k = rig.arena.kernels<RingKernels>();
  expect(k.xenTxGather(rig.back.address, rig.gather, 32, 23)).toBe(4);
  expect(k.xenTxGather(rig.back.address, rig.gather, 32, 640)).toBe(3);
  expect(readPackets(rig, 3)[2]?.pieces[0]?.[0]).toBe(11);
  expect(k.xenTxGather(rig.back.address, rig.gather, 32, 640)).toBe(0);
});

test('received packets are gathered, with their extra information, and errors are bad packets', () => {
  const rig = makeRingRig('rx');
  const packets = answerRx(
    rig,
    [
      { status: 60, offset: 10 },
      { status: 4096, flags: MORE | EXTRA | 1 },
      { extra: [1, 0, 0xb4, 5, 1, 0, 0, 0] },
      { status: 100 },
      { status: -1 },
      { status: 2000, flags: MORE },
      { status: -2, flags: MORE },
      { status: 5 },
      { status: 13 },
      { status: 0 },
    ].map((slot, id) => ({ ...slot, id }) as RxSlot),
  );
  expect(packets).toMatchObject([
    { pieces: [[0, 10, 60, 0]], size: 60, bad: 0 },
    {
      pieces: [
        [1, 0, 4096, 1],
        [3, 0, 100, 3],
      ],
      size: 4196,
      extras: 1,
      types: 2,
      bad: 0,
    },
    { bad: 3 },
    { bad: 3, pieces: { length: 3 } },
    { bad: 2 },
    { bad: 2 },
  ]);
  expect(rig.front.broken()).toBeUndefined();
});

test.each<[string, RxSlot[], RegExp]>([
  ['more data than was produced', [{ status: 100, flags: MORE }], /not there/],
  ['bytes outside the page', [{ status: 4000, offset: 97 }], /outside their page/],
  ['bytes far outside the page', [{ status: 32767, offset: 65535 }], /outside their page/],
  ['an id that is not its slot’s', [{ status: 100, id: 7 }], /not asked/],
  ['an id outside the ring', [{ status: 100, id: 65535 }], /not asked/],
  ['extra information that is missing', [{ status: 100, flags: EXTRA }], /not there/],
  [
    'extra information of type 6',
    [{ status: 100, flags: EXTRA }, { extra: [6, 0, 0, 0, 0, 0, 0, 0] }],
    /no known type/,
  ],
  ['20 slots', Array.from({ length: 20 }, (_, i) => ({ status: 50, flags: i < 19 ? MORE : 0 })), /too many slots/],
])('a backend with %s is latched', (_, slots, rule) => {
  const rig = makeRingRig('rx');
  expect(answerRx(rig, slots)).toEqual([]);
  expect(rig.front.broken()).toMatch(rule);
});
