import { expect, test } from 'vitest';
import { BASES } from '../support/arena.ts';
import { type Arrival, CHANGES, type FlowSpec, Sender } from './support/gro-model.ts';
import { checkHostile, checkTraffic, GroRig } from './support/gro-properties.ts';

const FLOW: FlowSpec = {
  tags: [],
  family: 4,
  extensions: [],
  options: 3,
  seed: 5,
  sequence: 0xffff_ff00,
  identification: 0xfffe,
  size: 1448,
};

test.each(BASES)('any traffic comes out as the model says, and is what it was (base %i)', (base) => {
  const rig = new GroRig(512, base);
  checkTraffic(rig, 50);
  expect(rig.merged).toBeGreaterThan(100);
});

test('hostile frames come out as they were', () => {
  checkHostile(new GroRig(256), 150);
});

/** How many frames are in each packet when a flow sends these. */
function sizesOf(spec: FlowSpec, kinds: readonly string[], rig = new GroRig()): number[] {
  const sender = new Sender(spec);
  const arrivals = kinds.map((kind) => sender.next(kind));
  const out = [];
  for (let i = 0; i < arrivals.length; i += 32) out.push(...rig.burst(arrivals.slice(i, i + 32)));
  return [...out, ...rig.burst([], 1000)].map((frames) => frames.length);
}

test.each([
  ['IPv4', {}],
  ['IPv6', { family: 6 as const }],
  ['a VLAN', { tags: [5] }],
  ['two VLANs', { tags: [5, 6], family: 6 as const }],
  ['IPv6 with options for all and for the destination', { family: 6 as const, extensions: [0, 60] }],
  ['IPv6 with a route that it has gone', { family: 6 as const, extensions: [43] }],
])('segments over %s become one packet', (_, more) => {
  expect(sizesOf({ ...FLOW, ...more }, ['', '', '', ''])).toEqual([4]);
});

test('a packet ends with PSH or FIN, with a shorter segment, and where IP can say no more', () => {
  expect(sizesOf(FLOW, ['', 'push', '', ''])).toEqual([2, 2]);
  expect(sizesOf(FLOW, ['', 'FIN', '', ''])).toEqual([2, 2]);
  expect(sizesOf(FLOW, ['', 'short', '', ''])).toEqual([2, 2]);
  expect(sizesOf(FLOW, ['', 'long', 'long'])).toEqual([1, 2]);
  expect(sizesOf(FLOW, Array(50).fill(''))).toEqual([45, 5]);
  expect(sizesOf({ ...FLOW, size: 10 }, Array(150).fill(''))).toEqual([147, 3]);
});

test('segments that all say ECE become one packet', () => {
  expect(sizesOf(FLOW, ['', '', 'ECE', 'ECE', 'ECE', ''])).toEqual([2, 3, 1]);
});

/** What is odd about a segment, and keeps it apart from those before it. */
const APART = Object.keys(CHANGES).filter((kind) => kind !== 'FIN');

test.each(['loss', 'again', 'id', 'empty', 'options', ...APART])('%s does not merge', (kind) => {
  for (const family of [4, 6] as const) {
    // IPv6 counts no packets.
    if (family === 6 && kind === 'id') continue;
    const sizes = sizesOf({ ...FLOW, family }, ['', '', kind]);
    expect(sizes.toSorted()).toEqual([1, 2]);
  }
});

test.each<[string, number[], (frame: Uint8Array) => unknown]>([
  ['another byte in an extension header', [60, 0], (frame) => frame.set([0], 14 + 40 + 4)],
  ['another extension header', [60, 0], (frame) => frame.set([43], 14 + 6)],
  ['a route that goes on', [43], (frame) => frame.set([1], 14 + 40 + 3)],
  // Its offset is where the options are.
  ['a fragment that is the whole packet', [60], (frame) => [frame.set([44], 14 + 6), frame.set([0, 0], 14 + 40 + 2)]],
])('IPv6 with %s does not merge', (_, extensions, change) => {
  const sender = new Sender({ ...FLOW, family: 6, extensions });
  const arrivals = ['', '', '', '', ''].map((kind) => sender.next(kind));
  change((arrivals[2] as Arrival).frame);
  const rig = new GroRig();
  const out = [...rig.burst(arrivals), ...rig.burst([], 1000)];
  expect(out.map((frames) => frames.length)).toEqual([2, 1, 2]);
  expect(out.flat()).toEqual(arrivals.map(({ frame }) => Buffer.from(frame).toString('base64')));
});

test('a segment waits for 32 bursts at most', () => {
  const rig = new GroRig();
  const sender = new Sender(FLOW);
  expect(rig.burst([sender.next('')])).toEqual([]);
  for (let i = 1; i < 31; i++) expect(rig.burst([])).toEqual([]);
  expect(rig.burst([sender.next('')]).map((frames) => frames.length)).toEqual([2]);
});

test('the oldest give way, when more are wanted or there is no place', () => {
  const rig = new GroRig(2048);
  const frames = Array.from({ length: 1000 }, (_, seed) => new Sender({ ...FLOW, seed, size: 20 }).next(''));
  let out = 0;
  for (let i = 0; i < 1000; i += 25) {
    const ready = rig.burst(frames.slice(i, i + 25), i === 0 ? 3 : 0).length;
    if (i === 0) expect(ready).toBe(3);
    out += ready;
    // 256 places.
    expect(i + 25 - out).toBeLessThanOrEqual(256);
  }
  expect(out + rig.burst([], 1000).length).toBe(1000);
  expect(rig.leftovers()).toEqual([]);
});
