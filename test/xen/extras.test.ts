import { buildFrame } from 'ringway/packet';
import { XenbusState } from 'ringway/xen';
import { expect, test } from 'vitest';
import { VIFSTEER_BYTES, VIFSTEER_COUNTS } from '#build/xen/control-layout.js';
import { Abuse, EXTRA, type TxSlot } from './support/abuse.ts';
import { connect, disconnect, pass } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { PATHS } from './support/vif-hostile.ts';
import { frameOf, makeVif, type Served, settle, type VifRigOptions } from './support/vif-rig.ts';

const FRONT = '/local/domain/1/device/vif/0';

/** A connected device, its rings read and written by hand. */
async function open(options: VifRigOptions) {
  const rig = await makeVif(options);
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  await settle();
  const hands = new Abuse(rig, rig);
  const word = (offset: number, i = 0): number => hands.word(rig.burst + i * 16 + offset);
  return {
    rig,
    hands,
    front: rig.netfront.queues[0] as Served,
    back: rig.netback.queues[0] as Served,
    /** SLOT_FLOW of packet `i` of the burst. */
    flow: (i: number): number => word(8, i),
    /** Slots of the rx ring from `from` on, eight bytes each. */
    rxSlots(from: number, n: number): number[][] {
      const at = hands.sring('front', 'rx') + 64;
      return Array.from({ length: n }, (_, i) => [...rig.arena.u8.slice(at + (from + i) * 8, at + (from + i) * 8 + 8)]);
    },
    async end() {
      await disconnect(rig);
      for (const stop of stops) stop();
    },
  };
}

/** Key and packets of Microsoft's "Verifying the RSS Hash Calculation". */
const KEY = Uint8Array.from(
  Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'),
);
const tcp = (source: string, destination: string, sourcePort: number, destinationPort: number): Uint8Array =>
  buildFrame({
    ethernet: { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02' },
    ...(source.includes(':') ? { ipv6: { source, destination } } : { ipv4: { source, destination } }),
    tcp: { sourcePort, destinationPort },
    payload: new Uint8Array(100),
  });
const HASHED = [
  { frame: tcp('66.9.149.187', '161.142.100.80', 2794, 1766), type: 1, hash: 0x51ccc178 },
  { frame: tcp('199.92.111.2', '65.69.140.83', 14230, 4739), type: 1, hash: 0xc626b0ea },
  { frame: tcp('3ffe:2501:200:1fff::7', '3ffe:2501:200:3::1', 2794, 1766), type: 3, hash: 0x40207d3d },
] as const;

test.each(PATHS.filter(({ kind }) => kind !== 'control').map((path) => [JSON.stringify(path), path] as const))(
  'path %s: each packet that the backend hashes says so, and the frontend has the hash in its slot',
  async (_, path) => {
    const setHash = { flags: 15, key: KEY, mapping: [0] };
    const { rig, front, back, flow, rxSlots, end } = await open({ mode: 'plain', path, hash: true, setHash });
    const { arena, burst, hashState } = rig;
    const work = arena.allocate('work', VIFSTEER_BYTES);
    const k = arena.kernels<{
      xenVifSteer(state: number, slots: number, n: number, queues: number, work: number): void;
    }>();
    const frames = [...HASHED.map(({ frame }) => frame), frameOf(9, 60)];
    rig.make(frames);
    // The second is to be cut into segments.
    const buffer = arena.u32[(burst + 16) >>> 2] ?? 0;
    arena.u8.set([1, 1], buffer + 28);
    arena.u16.set([54, 1448, 34, 16], (buffer + 30) >>> 1);
    arena.u8[burst + 16 + 13] = 8;
    k.xenVifSteer(hashState, burst, 4, 1, work);
    expect(arena.u32[(work + VIFSTEER_COUNTS) >>> 2]).toBe(4);
    expect(back.send(burst, 4)).toBe(4);
    const said = HASHED.map(({ type, hash }) => [4, 0, type, 1, ...Buffer.from(hash.toString(16), 'hex').reverse()]);
    const slots = rxSlots(0, 8);
    expect([slots[1], slots[3], slots[4], slots[6]]).toEqual([said[0], [1, 1, 0xa8, 5, 1, 0, 0, 0], said[1], said[2]]);
    expect(front.receive(burst, 32)).toBe(4);
    expect([0, 1, 2, 3].map(flow)).toEqual([...HASHED.map(({ hash }) => hash), 0]);
    rig.free(0, 4);
    // What is not hashed has no slot more, and nothing is left of it when it is switched off.
    arena.u32[hashState >>> 2] = 0;
    rig.make([frames[0] as Uint8Array, frameOf(1, 60)]);
    k.xenVifSteer(hashState, burst, 2, 1, work);
    expect(back.send(burst, 2)).toBe(2);
    expect(rxSlots(8, 2).map((slot) => (slot[4] ?? 0) & 15)).toEqual([0, 0]);
    expect(front.receive(burst, 32)).toBe(2);
    expect([0, 1].map(flow)).toEqual([0, 0]);
    rig.free(0, 2);
    await end();
  },
);

test('a hash that a frontend says is in the slot; one of another algorithm is not', async () => {
  const { rig, hands, back, flow } = await open({ mode: 'plain' });
  const { ref } = hands.page(frameOf(1, 60));
  const said = (algorithm: number): TxSlot[] => [
    { ref, size: 60, flags: EXTRA },
    { extra: [4, 0, 1, algorithm, 0xaa, 0xbb, 0xcc, 0xdd] },
  ];
  hands.putTx([...said(1), ...said(0), { ref, size: 60 }, ...said(1)]);
  expect(back.receive(rig.burst, 32)).toBe(4);
  expect([0, 1, 2, 3].map(flow)).toEqual([0xddccbbaa, 0, 0, 0xddccbbaa]);
  rig.free(0, 4);
});

test.each(MODES.flatMap((mode) => PATHS.map((path) => [mode, JSON.stringify(path), path] as const)))(
  '%s, path %s: a frontend asks for headroom while it is connected, and each packet has it in its first page',
  async (mode, _, path) => {
    const { rig, hands, front, back, rxSlots, end } = await open({ mode, path });
    const { netback, guest } = rig;
    const { store } = guest.hypervisor;
    const set = async (headroom: string): Promise<number[]> => {
      await store.write(`${FRONT}/xdp-headroom`, headroom);
      const states: number[] = [];
      for (const state of [XenbusState.reconfiguring, XenbusState.connected]) {
        await store.write(`${FRONT}/state`, String(state));
        await settle();
        states.push(netback.state);
      }
      return states;
    };
    const both = [XenbusState.reconfigured, XenbusState.connected];
    const frames = [60, 256, 257, 3839, 3840, 3841, 4096, 9000, 65_000].map((length, i) => frameOf(i, length));
    for (const headroom of [256, 2048, 0]) {
      expect(await set(String(headroom))).toEqual(both);
      const first = hands.word(hands.sring('front', 'rx') + 8) & 255;
      rig.make([frameOf(1, 60)]);
      expect(back.send(rig.burst, 1)).toBe(1);
      const sent = rxSlots(first, 2);
      expect(rig.receive(front)).toEqual([frameOf(1, 60)]);
      const [slot, extra] = sent;
      const isPage = path.kind !== 'data-ring';
      if (isPage) expect((slot?.[2] ?? 0) + (slot?.[3] ?? 0) * 256).toBe(headroom);
      if (headroom > 0) expect(extra).toEqual([5, 0, headroom & 255, headroom >> 8, 0, 0, 0, 0]);
      for (const frame of frames) expect(pass(rig, back, front, [frame])).toBe(1);
    }
    expect(await set('2049')).toEqual([XenbusState.connected, XenbusState.connected]);
    expect(String(netback.error)).toMatch(/xdp-headroom: "2049", must be a whole number from 0 to 2048/);
    expect(pass(rig, back, front, frames.slice(0, 4))).toBe(4);
    await end();
  },
);

/** A frame to a MAC address whose last byte is `last`. */
function multicastFrame(last: number): Uint8Array {
  const frame = frameOf(last, 60);
  frame.set([1, 0, 0x5e, 0, 0, last]);
  return frame;
}

/** Opens a device whose frontend asks for no multicast but what it names. */
async function openFiltered(request: string | undefined) {
  const rig = await makeVif({ mode: 'plain' });
  if (request !== undefined) await rig.guest.hypervisor.store.write(`${FRONT}/request-multicast-control`, request);
  await connect(rig);
  const hands = new Abuse(rig, rig);
  const tell = (type: 2 | 3, last: number, size = 0): number => {
    const from = hands.word(hands.sring('front', 'tx') + 8);
    hands.putTx([{ size, flags: EXTRA, id: 9 }, { extra: [type, 0, 1, 0, 0x5e, 0, 0, last] }]);
    expect(rig.receive(hands.back)).toEqual([]);
    const [[id, status] = [], nothing] = hands.txResponses(from);
    expect([id, nothing?.[1]]).toEqual([9, 1]);
    return status ?? Number.NaN;
  };
  const gets = (...frames: Uint8Array[]): Uint8Array[] => {
    rig.make(frames);
    expect(hands.back.send(rig.burst, frames.length)).toBe(frames.length);
    return rig.receive(hands.front);
  };
  return { rig, hands, tell, gets };
}

test('a frontend that controls multicast gets what it names, and all that is none', async () => {
  const { rig, hands, tell, gets } = await openFiltered('1');
  const broadcast = frameOf(1, 60).fill(0xff, 0, 6);
  const unicast = frameOf(2, 60).fill(2, 0, 1);
  const [five, six] = [multicastFrame(5), multicastFrame(6)] as const;
  expect(gets(five, broadcast, six, unicast)).toEqual([broadcast, unicast]);
  expect(hands.back.drops().sent.filtered).toBe(2);
  expect([tell(2, 5), tell(2, 5)]).toEqual([0, 0]);
  expect(gets(five, six)).toEqual([five]);
  expect(tell(3, 5)).toBe(0);
  expect(gets(five, six)).toEqual([]);
  // 64 of them fit; what is let go makes room.
  for (let last = 0; last < 64; last++) expect(tell(2, last)).toBe(0);
  expect(tell(2, 64)).toBe(-1);
  expect(hands.back.drops().received.bad).toBe(1);
  expect([tell(3, 0), tell(2, 64)]).toEqual([0, 0]);
  expect(gets(multicastFrame(0), multicastFrame(64), multicastFrame(63))).toEqual([
    multicastFrame(64),
    multicastFrame(63),
  ]);
  // What a message carries beside is no packet.
  expect(tell(3, 64, 1000)).toBe(0);
  expect(rig.held()).toBe(0);
  expect(hands.back.fault()).toBeUndefined();
});

test.each([undefined, '0'])('a frontend that asks for control by %s gets all', async (request) => {
  const { tell, gets } = await openFiltered(request);
  expect(gets(multicastFrame(5))).toEqual([multicastFrame(5)]);
  expect(tell(2, 6)).toBe(0);
  expect(gets(multicastFrame(5))).toEqual([multicastFrame(5)]);
});
