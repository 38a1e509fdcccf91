import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GSO_TCPV4, GSO_TUNNEL } from '#build/memory/layout.js';
import {
  BAD_GSO_HEADERS,
  BAD_GSO_LENGTHS,
  OFFLOAD_CSUM,
  OFFLOAD_ECN,
  OFFLOAD_TSO4,
  OFFLOAD_TSO6,
  OFFLOAD_USO,
} from '#build/packet/layout.js';
import { type Arrival, CHANGES, type FlowSpec, Sender } from './support/gro-model.ts';
import { GroRig } from './support/gro-properties.ts';
import { checkTunnels } from './support/tunnel-properties.ts';
import { carriesEthernet, KINDS, OTHER_FLOWS, OUTER_CHANGES, sealOuter, type Tunnel, wrap } from './support/tunnels.ts';

const FLOW: FlowSpec = {
  tags: [],
  family: 4,
  extensions: [],
  options: 3,
  seed: 5,
  sequence: 0xffff_ff00,
  identification: 0xfffe,
  size: 1400,
};
const FAMILIES = [4, 6] as const;

/** Tunnels of all kinds, outer and inner families. */
const ALL = KINDS.flatMap((kind) =>
  FAMILIES.flatMap((family) =>
    FAMILIES.flatMap((inner) =>
      // Of IPv6 no identification goes on, but there may be a limit.
      ([0, 1] as const).flatMap((step) =>
        (kind === 'vxlan' ? [false, true] : [false]).map((hasSum) => ({
          tunnel: { kind, family, step, hasSum, hasLimit: family === 6 && step === 0, number: 7 } satisfies Tunnel,
          inner,
        })),
      ),
    ),
  ),
);
const PLAIN: Tunnel = { kind: 'vxlan', family: 4, step: 1, hasSum: false, hasLimit: false, number: 1 };
const NAMED = ALL.map(
  (one) =>
    [
      `${one.tunnel.kind} over IPv${one.tunnel.family} with IPv${one.inner}, ids ${one.tunnel.step ? 'count' : 'stay'}${one.tunnel.hasLimit ? ', a limit' : ''}${one.tunnel.hasSum ? ', a checksum' : ''}`,
      one,
    ] as const,
);

function frames({ tunnel, inner }: (typeof ALL)[0], kinds: readonly string[], flow = FLOW): Uint8Array[] {
  const sender = new Sender({ ...flow, family: inner });
  return kinds.map((kind, index) => wrap(sender.next(kind).frame, tunnel, index).frame);
}

const text = (frame: Uint8Array): string => Buffer.from(frame).toString('base64');

/** The packets that come of frames: how many are in each. They are what they were, in some order. */
function sizesOf(all: readonly Uint8Array[], rig = new GroRig()): number[] {
  const out: string[][] = [];
  for (let i = 0; i < all.length; i += 32) out.push(...rig.burst(all.slice(i, i + 32).map((frame) => ({ frame }))));
  out.push(...rig.burst([], 1000));
  expect(out.flat().sort()).toEqual(all.map(text).sort());
  expect(rig.leftovers()).toEqual([]);
  return out.map((group) => group.length);
}

test.each(NAMED)('%s: segments become one packet, which is cut into the same again', (_, one) => {
  expect(sizesOf(frames(one, ['', '', '', '', '']))).toEqual([5]);
  expect(sizesOf(frames(one, ['', 'push', '', 'short', '']))).toEqual([2, 2, 1]);
});

test('tags and extension headers inside may be there', () => {
  for (const one of ALL.filter(({ tunnel }) => carriesEthernet(tunnel))) {
    for (const tags of [[5], [5, 6]]) {
      const flow = { ...FLOW, tags, extensions: [60, 0] };
      expect(sizesOf(frames(one, ['', '', '', '', ''], flow))).toEqual([5]);
      const mixed = frames(one, ['', '', '', '', ''], flow);
      // The last tag's number.
      const at = wrap(new Uint8Array(100), one.tunnel, 0).inner + 11 + 4 * tags.length;
      (mixed[2] as Uint8Array)[at] = 7;
      sealOuter({ ...wrap(new Uint8Array(100), one.tunnel, 0), frame: mixed[2] as Uint8Array }, one.tunnel.hasSum);
      expect(sizesOf(mixed).toSorted()).toEqual([1, 2, 2]);
      const three = frames(one, ['', '', ''], { ...flow, tags: [...tags, 7, 8].slice(0, 3) });
      expect(sizesOf(three)).toEqual([1, 1, 1]);
    }
  }
});

test('no packet is longer than IP can say outside', () => {
  const [one] = ALL as [(typeof ALL)[0]];
  const group = Math.floor((65535 - 20 - 16 - 14 - 20 - 32) / 1400);
  expect(sizesOf(frames(one, Array(50).fill('')), new GroRig(512))).toEqual([group, 50 - group]);
});

test.each(Object.entries(OUTER_CHANGES))('outside, %s begins another packet', (_, change) => {
  let tried = 0;
  for (const one of ALL) {
    const all = frames(one, ['', '', '', '', '']);
    const changed = change(wrap(new Sender({ ...FLOW, family: one.inner }).next('').frame, one.tunnel, 2), one.tunnel);
    if (changed === null) continue;
    tried++;
    // The third one's own inside.
    const sender = new Sender({ ...FLOW, family: one.inner });
    sender.next('');
    sender.next('');
    all[2] = change(wrap(sender.next('').frame, one.tunnel, 2), one.tunnel) as Uint8Array;
    expect(sizesOf(all)).toEqual([2, 1, 2]);
  }
  expect(tried).toBeGreaterThan(0);
});

test.each(Object.entries(OTHER_FLOWS))('outside, %s is another flow, or none', (_, change) => {
  let tried = 0;
  for (const one of ALL) {
    const sender = new Sender({ ...FLOW, family: one.inner });
    const all = Array.from({ length: 5 }, (__, index) => wrap(sender.next('').frame, one.tunnel, index));
    const changed = change(all[2] as (typeof all)[0], one.tunnel);
    if (changed === null) continue;
    tried++;
    const sizes = sizesOf(all.map(({ frame }, index) => (index === 2 ? changed : frame)));
    expect(sizes.toSorted()).toEqual([1, 2, 2]);
  }
  expect(tried).toBeGreaterThan(0);
});

test.each(
  Object.keys(CHANGES).filter((kind) => !['several buffers', 'others hold it', 'a fragment', 'FIN'].includes(kind)),
)('inside, %s does not merge', (kind) => {
  for (const one of ALL.filter(({ tunnel }) => tunnel.step === 1)) {
    expect(sizesOf(frames(one, ['', '', kind])).toSorted()).toEqual([1, 2]);
  }
});

test('flows of one tunnel, and of two tunnels, do not mix', () => {
  for (const one of ALL) {
    const flows = [0, 1].map((number) => frames(one, Array(8).fill(''), { ...FLOW, seed: number }));
    const other = { ...one, tunnel: { ...one.tunnel, number: 8 } };
    if (/vxlan|key/.test(one.tunnel.kind)) flows.push(frames(other, Array(8).fill('')));
    const mixed = Array.from({ length: 8 }, (_, index) => flows.map((flow) => flow[index] as Uint8Array)).flat();
    // Identifications that stay are of no flow; those that count here do so for each.
    expect(sizesOf(mixed)).toEqual(flows.map(() => 8));
  }
});

test('any tunnels with any changes come out as they were, each flow in its order', () => {
  const rig = new GroRig(512);
  checkTunnels(rig, 30);
  expect(rig.merged).toBeGreaterThan(100);
});

test('a request for a tunnel that is none is refused', () => {
  const rig = new GroRig();
  const plain = new Sender(FLOW).next('').frame;
  const request = { flags: 1, type: GSO_TCPV4 | GSO_TUNNEL, headerLength: 66, size: 100, start: 34, offset: 16 };
  const cut = (frame: Uint8Array, start: number): Uint8Array[] | number => {
    const slot = rig.load(frame, [1792], { ...request, start });
    const result = rig.segmentAll(slot, 32);
    rig.kernels.poolFree(rig.cache, slot, 1);
    return result;
  };
  expect(cut(plain, 34)).toBe(BAD_GSO_HEADERS);
  const { frame, l4, inner } = wrap(plain, { ...PLAIN, hasSum: true }, 0);
  expect(Array.isArray(cut(frame, inner + 34))).toBe(true);
  frame[l4 + 5] = (frame[l4 + 5] as number) ^ 1;
  expect(cut(frame, inner + 34)).toBe(BAD_GSO_LENGTHS);
});

test('whoever cuts TCP of both families does not cut it in tunnels', () => {
  const rig = new GroRig();
  const plain = new Sender(FLOW).next('').frame;
  const { frame, inner } = wrap(plain, PLAIN, 0);
  const words = { flags: 1, headerLength: 66, size: 100, offset: 16 };
  const known = OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_USO | OFFLOAD_ECN;
  rig.load(plain, [1792], { ...words, type: GSO_TCPV4, start: 34 });
  expect(rig.kernels.packetFinish(rig.slots, 1, known)).toBe(1);
  rig.kernels.poolFree(rig.cache, rig.slots, 1);
  rig.load(frame, [1792], { ...words, type: GSO_TCPV4 | GSO_TUNNEL, start: inner + 34 });
  expect(rig.kernels.packetFinish(rig.slots, 1, known)).toBe(0);
  rig.kernels.poolFree(rig.cache, rig.slots, 1);
});

test('hostile bytes in tunnels come out as they were', () => {
  const rig = new GroRig(512);
  const change = fc.tuple(fc.nat(160), fc.nat(255));
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ one: fc.constantFrom(...ALL), changes: fc.array(change, { maxLength: 3 }), length: fc.nat(300) }),
        { minLength: 1, maxLength: 12 },
      ),
      (list) => {
        const arrivals = list.flatMap(({ one, changes, length }): Arrival[] => {
          const [first] = frames(one, [''], { ...FLOW, size: 60 });
          const frame = (first as Uint8Array).slice(0, length < 200 ? length : undefined);
          for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
          return [{ frame }, { frame }];
        });
        const out = [...rig.burst(arrivals), ...rig.burst([], 1000)].flat();
        expect(out.sort()).toEqual(arrivals.map(({ frame }) => text(frame)).sort());
        expect(rig.leftovers()).toEqual([]);
      },
    ),
    { numRuns: 150 },
  );
});
