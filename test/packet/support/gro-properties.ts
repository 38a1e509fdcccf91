import fc from 'fast-check';
import type { PacketKernels } from 'ringway/packet';
import { expect } from 'vitest';
import { SLOT_FLAG_OFFLOAD, SLOT_FLAG_SHARED } from '#build/memory/layout.js';
import { GRO_BYTES, GRO_MERGED } from '#build/packet/layout.js';
import { bigFrame, build } from './big-frames.ts';
import { type Arrival, GroModel, Sender, traffic } from './gro-model.ts';
import { OffloadRig } from './offload-rig.ts';

/** As text, since comparing arrays byte by byte takes its time. */
const textOf = (frame: Uint8Array): string => Buffer.from(frame).toString('base64');

/** The kernel, with its memory, over a rig that makes packets and cuts them. */
export class GroRig extends OffloadRig {
  readonly #area: number;
  readonly #kernels: PacketKernels;
  readonly #out: number;
  /** Packets that were merged into others. */
  merged = 0;

  constructor(buffers?: number, base?: number) {
    super(buffers, base);
    this.#area = this.arena.allocate('gro', GRO_BYTES);
    this.#out = this.arena.allocate('out', 512);
    this.#kernels = this.arena.kernels<PacketKernels>();
  }

  /** A burst goes in; each packet that comes out is given as the frames that it is cut into. */
  burst(arrivals: readonly Arrival[], wanted = 0): string[][] {
    return this.#receive(arrivals, wanted, (slot) => {
      const isMerged = (this.flagsOf(slot) & SLOT_FLAG_OFFLOAD) !== 0;
      const frames = isMerged ? this.segmentAll(slot, 32) : [this.bytesOf(slot)];
      if (typeof frames === 'number') throw new Error(`cutting is refused for reason ${frames}`);
      return frames.map(textOf);
    });
  }

  /** A burst goes in; each packet that comes out is given as it is. */
  merge(arrivals: readonly Arrival[], wanted = 0): Uint8Array[] {
    return this.#receive(arrivals, wanted, (slot) => this.bytesOf(slot));
  }

  #receive<T>(arrivals: readonly Arrival[], wanted: number, read: (slot: number) => T): T[] {
    for (const [i, { frame, cut, shared }] of arrivals.entries()) {
      const slot = this.load(frame, [cut ?? 1792, 1792], undefined, i);
      // Held once: nobody else gives it up, so that it is freed with the packet.
      if (shared) this.arena.u8[slot + 13] = SLOT_FLAG_SHARED;
      if (shared) this.arena.u32[(this.arena.u32[slot >>> 2] ?? 0) >>> 2] = 1;
    }
    const ready = this.#kernels.packetGro(this.#area, this.slots, arrivals.length, wanted);
    this.merged += this.arena.u32[(this.#area + GRO_MERGED) >>> 2] ?? 0;
    const out: T[] = [];
    while (out.length < ready) {
      const n = this.#kernels.packetGroTake(this.#area, this.#out, 32);
      expect(n).toBeGreaterThan(0);
      for (let i = 0; i < n; i++) {
        const slot = this.#out + i * 16;
        out.push(read(slot));
        this.kernels.poolFree(this.cache, slot, 1);
      }
    }
    return out;
  }
}

/** Any traffic comes out as the model says, burst by burst, and cut again it is what it was. */
export function checkTraffic(rig: GroRig, numRuns: number): void {
  fc.assert(
    fc.property(traffic, ({ flows, steps, swaps, bursts, wanted }) => {
      const senders = flows.map((spec) => new Sender(spec));
      const arrivals = steps.map(({ flow, kind }) => (senders[flow % senders.length] as Sender).next(kind));
      for (const at of swaps) {
        const [a, b] = [arrivals[at], arrivals[at + 1]];
        if (a === undefined || b === undefined) continue;
        arrivals[at] = b;
        arrivals[at + 1] = a;
      }
      const model = new GroModel();
      const sums = (groups: Arrival[][]): string[][] => groups.map((group) => group.map(({ frame }) => textOf(frame)));
      for (let done = 0, i = 0; done < arrivals.length || i < bursts.length; i++) {
        const n = i < bursts.length ? (bursts[i] ?? 0) : 32;
        const burst = arrivals.slice(done, done + n);
        const want = wanted[i % wanted.length] ?? 0;
        expect(rig.burst(burst, want)).toEqual(sums(model.burst(burst, want)));
        done += n;
      }
      expect(rig.burst([], 1000)).toEqual(sums(model.burst([], 1000)));
      expect(rig.leftovers()).toEqual([]);
    }),
    { numRuns },
  );
}

const hostile = fc.record({
  spec: bigFrame.map((spec) => ({ ...spec, payload: spec.payload % 900, protocol: 6 as const, size: 65535 })),
  changes: fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 3 }),
  length: fc.oneof(fc.constant(2000), fc.nat(200)),
  first: fc.oneof(fc.constant(1792), fc.nat(200)),
  again: fc.integer({ min: 1, max: 3 }),
});

/** Frames with any bytes, of any length and in any pieces, come out as they were. */
export function checkHostile(rig: GroRig, numRuns: number): void {
  fc.assert(
    fc.property(fc.array(hostile, { minLength: 1, maxLength: 10 }), (list) => {
      const arrivals = list.flatMap(({ spec, changes, length, first, again }) => {
        const frame = build(spec).frame.slice(0, length);
        for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
        return Array.from({ length: again }, (): Arrival => ({ frame, cut: first }));
      });
      const out = [...rig.burst(arrivals), ...rig.burst([], 1000)].flat();
      expect(out.sort()).toEqual(arrivals.map(({ frame }) => textOf(frame)).sort());
      expect(rig.leftovers()).toEqual([]);
    }),
    { numRuns },
  );
}
