import fc from 'fast-check';
import { expect } from 'vitest';
import { SLOT_FLAG_SHARED } from '#build/memory/layout.js';
import { BAD_GSO_TCP_FLAGS } from '#build/packet/layout.js';
import { type BigFrame, bigFrame, build, type Request, receiverObjections, referenceSegments } from './big-frames.ts';
import type { OffloadRig } from './offload-rig.ts';

/** As text, since comparing arrays byte by byte takes its time. */
const textOf = (frame: Uint8Array): string => Buffer.from(frame).toString('base64');

const shape = fc.record({
  spec: bigFrame,
  /** Bytes behind the headers in the first buffer, and bytes of each later one. */
  more: fc.nat(1000),
  rest: fc.constantFrom(1792, 1984, 1001, 777),
  max: fc.integer({ min: 1, max: 32 }),
});

/** Any frame, in any chain, becomes the segments of the reference, which a receiver takes, and stays as it is. */
export function checkSegments(rig: OffloadRig, numRuns: number): void {
  fc.assert(
    fc.property(shape, ({ spec, more, rest, max }) => {
      const { frame, header, request } = build(spec);
      const slot = rig.load(frame, [Math.min(1984, header + more), rest], request);
      const segments = rig.segmentAll(slot, max) as Uint8Array[];
      const expected = referenceSegments(spec);
      expect(rig.count).toBe(expected.length);
      expect(segments.map(textOf)).toEqual(expected.map(textOf));
      for (const segment of segments) expect(receiverObjections(spec, segment)).toEqual([]);
      expect(Buffer.compare(rig.bytesOf(slot), frame)).toBe(0);
      rig.free();
      expect(rig.leftovers()).toEqual([]);
    }),
    { numRuns },
  );
}

const word = fc.oneof(fc.nat(0xffff), fc.nat(100), fc.constantFrom(0, 1, 0xffff, 0xfffe, 1792, 1984));

/** A frame of which bytes are changed, that is cut, and whose words are any. */
interface Hostile {
  readonly spec: BigFrame;
  readonly request: Partial<Request>;
  readonly changes: readonly (readonly [at: number, value: number])[];
  readonly cut: number;
  /** Bytes in the first buffer. */
  readonly first: number;
  readonly from: number;
  readonly shared: boolean;
  readonly mask: number;
}

const hostile: fc.Arbitrary<Hostile> = fc.record({
  spec: bigFrame,
  request: fc.record(
    {
      flags: fc.nat(255),
      type: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 3, 4, 5, 129, 132)),
      headerLength: word,
      size: word,
      start: word,
      offset: word,
    },
    { requiredKeys: [] },
  ),
  // Bytes of the headers, mostly.
  changes: fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 3 }),
  cut: fc.oneof(fc.constant(65_600), fc.nat(200), fc.nat(4000)),
  first: fc.nat(1984),
  from: fc.oneof(fc.constant(0), fc.nat(9000), fc.constant(0xffffffff)),
  shared: fc.boolean(),
  mask: fc.nat(255),
});

/**
 * Hostile words and frames are segmented or refused: nothing outside of the buffers that are held is written, a packet
 * is only changed by its checksum and only when nobody else holds it, and everything comes back.
 */
export function checkHostile(rig: OffloadRig, numRuns: number): void {
  fc.assert(
    fc.property(hostile, ({ spec, request, changes, cut, first, from, shared, mask }) => {
      const built = build(spec);
      const frame = built.frame.slice(0, cut);
      for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
      const words = { ...built.request, ...request };
      const slot = rig.load(frame, [first, 1792], words);
      if (shared) rig.kernels.poolShare(slot, 1);
      const result = rig.segment(slot, from, 32);
      if (typeof result === 'number') expect(result).toBeLessThanOrEqual(BAD_GSO_TCP_FLAGS);
      else for (const segment of result) expect(segment.length).toBeLessThanOrEqual(65_600);
      expect(Buffer.compare(rig.bytesOf(slot), frame)).toBe(0);

      expect(rig.kernels.packetFinish(slot, 1, mask)).toBeLessThanOrEqual(1);
      const field = words.start + words.offset;
      const after = rig.bytesOf(slot);
      if (!shared && field + 2 <= frame.length) after.set(frame.subarray(field, field + 2), field);
      expect(Buffer.compare(after, frame)).toBe(0);
      if (rig.flagsOf(slot) & SLOT_FLAG_SHARED) rig.free();
      rig.free();
      expect(rig.leftovers()).toEqual([]);
    }),
    { numRuns },
  );
}
