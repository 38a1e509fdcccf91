import fc from 'fast-check';
import { NetControlState, VIRTIO_NET_F } from 'ringway/virtio';
import { expect, test } from 'vitest';
import {
  NET_CONTROL_F_ALLMULTI,
  NET_CONTROL_F_ALLUNI,
  NET_CONTROL_F_NOBCAST,
  NET_CONTROL_F_NOMULTI,
  NET_CONTROL_F_NOUNI,
  NET_CONTROL_F_PROMISC,
} from '#build/virtio/layout.js';
import { BASES, testArena } from '../support/arena.ts';

const OWN = [2, 0, 0, 0, 0, 1];
const OTHERS = [0, 1, 2, 3].map((last) => [2, 0, 0, 0, 1, last]);
const GROUPS = [0, 1, 2].map((last) => [1, 0, 0x5e, 0, 0, last]);
const BROADCAST = [255, 255, 255, 255, 255, 255];
const DESTINATIONS = [OWN, ...OTHERS, ...GROUPS, BROADCAST];
const FLAGS = [
  NET_CONTROL_F_PROMISC,
  NET_CONTROL_F_ALLMULTI,
  NET_CONTROL_F_ALLUNI,
  NET_CONTROL_F_NOMULTI,
  NET_CONTROL_F_NOUNI,
  NET_CONTROL_F_NOBCAST,
];

interface Frame {
  readonly to: number;
  /** Undefined without a tag. */
  readonly vlan: number | undefined;
  readonly length: number;
}
interface Mode {
  readonly flags: readonly boolean[];
  readonly unicast: readonly number[];
  readonly multicast: readonly number[];
  readonly vlans: readonly number[];
  readonly vlanFilter: boolean;
  readonly overflow: boolean;
}

const frames = fc.array(
  fc.record({
    to: fc.nat(DESTINATIONS.length - 1),
    vlan: fc.option(fc.constantFrom(0, 1, 7, 8, 4095), { nil: undefined }),
    length: fc.constantFrom(0, 13, 14, 17, 18, 60),
  }),
  { maxLength: 32 },
);
const modes = fc.record({
  flags: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
  unicast: fc.subarray([0, 1, 2, 3]),
  multicast: fc.subarray([0, 1, 2]),
  vlans: fc.subarray([0, 1, 7, 8, 4095]),
  vlanFilter: fc.boolean(),
  overflow: fc.boolean(),
});

/** What 5.1.6.5.1 to 5.1.6.5.3 say of one frame, over names instead of words. */
function isWanted({ to, vlan, length }: Frame, mode: Mode): boolean {
  const [promisc, allmulti, alluni, nomulti, nouni, nobcast] = mode.flags;
  if (promisc) return true;
  if (length < 14) return false;
  const tagged = vlan !== undefined;
  if (mode.vlanFilter && tagged && length < 18) return false;
  if (mode.vlanFilter && tagged && vlan !== 0 && !mode.vlans.includes(vlan)) return false;
  const mac = DESTINATIONS[to];
  if (mac === BROADCAST) return !nobcast;
  const at = GROUPS.indexOf(mac as number[]);
  if (at >= 0) return !nomulti && (allmulti === true || mode.overflow || mode.multicast.includes(at));
  if (nouni) return false;
  return alluni === true || mode.overflow || mac === OWN || mode.unicast.includes(to - 1);
}

test.each(BASES)('base %i: a burst is sorted as the rules say, those that are wanted in their order', (base) => {
  const arena = testArena(1 << 20, base);
  const state = new NetControlState(arena, 'state');
  const slots = arena.allocate('slots', 32 * 16);
  const buffers = arena.allocate('buffers', 32 * 2048, 2048);
  const pad = (macs: number[][], prefix: number[]) =>
    Uint8Array.from([...macs, ...Array.from({ length: 65 }, (_, i) => [...prefix, 9, i])].flat());
  fc.assert(
    fc.property(frames, modes, (burst, mode) => {
      state.reset(Uint8Array.from(OWN), mode.vlanFilter ? 1n << BigInt(VIRTIO_NET_F.CTRL_VLAN) : 0n);
      for (const [i, flag] of FLAGS.entries()) state.setFlag(flag, mode.flags[i] ?? false);
      const unicast = mode.unicast.map((i) => OTHERS[i] as number[]);
      const multicast = mode.multicast.map((i) => GROUPS[i] as number[]);
      if (mode.overflow) state.setMacs(pad(unicast, [2, 1, 1, 1]), pad(multicast, [1, 1, 1, 1]));
      else state.setMacs(Uint8Array.from(unicast.flat()), Uint8Array.from(multicast.flat()));
      for (const vlan of mode.vlans) state.setVlan(vlan, true);
      for (const [i, { to, vlan, length }] of burst.entries()) {
        const buffer = buffers + i * 2048;
        const tag = vlan === undefined ? [8, 0] : [0x81, 0, 0xe0 | (vlan >> 8), vlan & 255];
        arena.u8.set([...(DESTINATIONS[to] as number[]), 2, 0, 0, 0, 9, 9, ...tag], buffer + 256);
        arena.u32[(slots + i * 16) >>> 2] = buffer;
        arena.u16.set([256, length], (slots + i * 16 + 4) >>> 1);
        arena.u32[(slots + i * 16 + 8) >>> 2] = i;
      }
      const wanted = state.filter(slots, burst.length);
      const order = burst.map((_, i) => arena.u32[(slots + i * 16 + 8) >>> 2] as number);
      const expected = burst.flatMap((frame, i) => (isWanted(frame, mode) ? [i] : []));
      expect(order.slice(0, wanted)).toEqual(expected);
      // Nothing is lost: the others are behind, each once.
      expect([...order].sort((a, b) => a - b)).toEqual(burst.map((_, i) => i));
    }),
    { numRuns: 500 },
  );
});

test('addresses that leave the table are not received any more', () => {
  const arena = testArena(1 << 20);
  const state = new NetControlState(arena, 'state');
  state.reset(Uint8Array.from(OWN), 0n);
  state.setFlag(NET_CONTROL_F_PROMISC, false);
  const slots = arena.allocate('slots', 16);
  const buffer = arena.allocate('buffer', 2048, 2048);
  arena.u8.set([...(OTHERS[3] as number[]), 2, 0, 0, 0, 9, 9, 8, 0], buffer);
  arena.u32[slots >>> 2] = buffer;
  arena.u16.set([0, 60], (slots + 4) >>> 1);
  const set = (macs: number[][]): number => {
    state.setMacs(Uint8Array.from(macs.flat()), new Uint8Array());
    return state.filter(slots, 1);
  };
  expect([set([]), set(OTHERS), set(OTHERS.slice(0, 3))]).toEqual([0, 1, 0]);
});
