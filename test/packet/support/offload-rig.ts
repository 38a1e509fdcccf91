import { type Arena, createPool, type Pool, type PoolKernels } from 'ringway/memory';
import type { PacketKernels } from 'ringway/packet';
import {
  BUFFER_BYTES,
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_HEADER_LENGTH,
  BUFFER_HEADROOM,
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFLOAD_FLAGS,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  BUFFER_STATE,
  BUFFER_TOTAL,
  POISON_BYTE,
  POOL_BASE,
  SLOT_FLAG_CHAINED,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
} from '#build/memory/layout.js';
import { SEGMENT_BYTES, SEGMENT_COUNT, SEGMENT_SLOTS } from '#build/packet/layout.js';
import { testArena } from '../../support/arena.ts';
import type { Request } from './big-frames.ts';

const LONGEST = 300_000;

/** Writes the words of `request` for the packet at `slot`. */
export function setRequest(arena: Arena, slot: number, request: Request): void {
  const { u8, u16, u32 } = arena;
  const buffer = u32[slot >>> 2] ?? 0;
  u8[slot + SLOT_FLAGS] = (u8[slot + SLOT_FLAGS] ?? 0) | SLOT_FLAG_OFFLOAD;
  u8[buffer + BUFFER_OFFLOAD_FLAGS] = request.flags;
  u8[buffer + BUFFER_GSO_TYPE] = request.type;
  u16[(buffer + BUFFER_HEADER_LENGTH) >>> 1] = request.headerLength;
  u16[(buffer + BUFFER_GSO_SIZE) >>> 1] = request.size;
  u16[(buffer + BUFFER_CSUM_START) >>> 1] = request.start;
  u16[(buffer + BUFFER_CSUM_OFFSET) >>> 1] = request.offset;
}

/** Packets in chains of any shape over the test build of the kernels, and what kernels make of them. */
export class OffloadRig {
  readonly arena: Arena;
  readonly pool: Pool;
  readonly cache: number;
  readonly kernels: PacketKernels & PoolKernels;
  /** A burst of slots for what goes in. */
  readonly slots: number;
  readonly work: number;
  readonly #bytes: number;

  constructor(buffers = 256, base?: number) {
    this.arena = testArena((buffers << 11) + (2 << 20), base);
    this.pool = createPool(this.arena, { buffers, caches: 1 });
    this.cache = this.pool.caches[0] as number;
    this.kernels = this.arena.kernels<PacketKernels & PoolKernels>();
    this.slots = this.arena.allocate('slots', 512);
    this.work = this.arena.allocate('work', SEGMENT_BYTES);
    this.#bytes = this.arena.allocate('bytes', LONGEST);
    // Once held and freed, every buffer is poisoned.
    const all = Array.from({ length: buffers }, () => {
      this.kernels.poolAlloc(this.cache, this.slots, 1);
      return this.arena.u32.slice(this.slots >>> 2, (this.slots >>> 2) + 4);
    });
    for (const slot of all) {
      this.arena.u32.set(slot, this.slots >>> 2);
      this.kernels.poolFree(this.cache, this.slots, 1);
    }
  }

  /** A packet at place `index` of the slots: `frame` in pieces of the given lengths, the last one repeated. */
  load(frame: Uint8Array, pieces: readonly number[], request: Request | undefined, index = 0): number {
    const { u8, u16, u32 } = this.arena;
    const slot = this.slots + index * 16;
    let done = 0;
    let last = 0;
    for (let i = 0; i === 0 || done < frame.length; i++) {
      const n = Math.min(pieces[Math.min(i, pieces.length - 1)] ?? 1792, frame.length - done);
      if (this.kernels.poolAlloc(this.cache, this.work + SEGMENT_SLOTS, 1) !== 1) throw new Error('the pool is empty');
      const buffer = u32[(this.work + SEGMENT_SLOTS) >>> 2] as number;
      // Long pieces begin in the headroom.
      const offset = Math.min(BUFFER_HEADROOM, BUFFER_BYTES - n);
      u8.set(frame.subarray(done, done + n), buffer + offset);
      if (i === 0) {
        u8.copyWithin(slot, this.work + SEGMENT_SLOTS, this.work + SEGMENT_SLOTS + 16);
        u16[(slot + SLOT_OFFSET) >>> 1] = offset;
        u16[(slot + SLOT_LENGTH) >>> 1] = n;
        u8[slot + SLOT_FLAGS] = n < frame.length ? SLOT_FLAG_CHAINED : 0;
        u32[(buffer + BUFFER_TOTAL) >>> 2] = frame.length;
      } else {
        u32[(buffer + BUFFER_REFERENCES) >>> 2] = 1;
        u16[(buffer + BUFFER_OFFSET) >>> 1] = offset;
        u16[(buffer + BUFFER_LENGTH) >>> 1] = n;
        u32[(last + BUFFER_NEXT) >>> 2] = buffer;
      }
      u32[(buffer + BUFFER_NEXT) >>> 2] = 0;
      last = buffer;
      done += n;
    }
    if (request !== undefined) setRequest(this.arena, slot, request);
    return slot;
  }

  /** All bytes of the packet at `slot`. */
  bytesOf(slot: number): Uint8Array {
    const length = this.kernels.memoryGather(slot, this.#bytes, LONGEST);
    if (length !== this.kernels.memoryFrameLength(slot)) throw new Error('the chain is not as long as it says');
    return this.arena.u8.slice(this.#bytes, this.#bytes + length);
  }

  flagsOf(slot: number): number {
    return this.arena.u8[slot + SLOT_FLAGS] ?? 0;
  }

  /** Number of segments that the last call found to be needed. */
  get count(): number {
    return this.arena.u32[(this.work + SEGMENT_COUNT) >>> 2] ?? 0;
  }

  /** The first segment's slot. */
  get out(): number {
    return this.work + SEGMENT_SLOTS;
  }

  /** Segments from `from` on, which are freed; or the reason for which they are refused. */
  segment(slot: number, from: number, max: number): Uint8Array[] | number {
    const n = this.kernels.packetSegment(this.cache, slot, from, max, this.work);
    if (n < 0) return -n;
    const frames = Array.from({ length: n }, (_, i) => this.bytesOf(this.out + i * 16));
    this.kernels.poolFree(this.cache, this.out, n);
    return frames;
  }

  /** All segments, `max` at a time. */
  segmentAll(slot: number, max: number): Uint8Array[] | number {
    const frames: Uint8Array[] = [];
    for (;;) {
      const more = this.segment(slot, frames.length, max);
      if (typeof more === 'number') return more;
      frames.push(...more);
      if (more.length === 0 || frames.length === this.count) return frames;
    }
  }

  free(n = 1): void {
    this.kernels.poolFree(this.cache, this.slots, n);
  }

  /** What is wrong when everything was given back: a leak, or a byte that somebody wrote where no packet was. */
  leftovers(): unknown[] {
    const { buffers, free, inFlight } = this.pool.audit();
    const problems: unknown[] = [...this.arena.damaged()];
    if (free !== buffers || inFlight !== 0) problems.push({ free, inFlight });
    const base = this.arena.u32[(this.pool.address + POOL_BASE) >>> 2] ?? 0;
    const poison = Buffer.alloc(BUFFER_BYTES, POISON_BYTE);
    for (let at = base; at < base + buffers * BUFFER_BYTES; at += BUFFER_BYTES) {
      const bytes = Buffer.from(this.arena.u8.slice(at, at + BUFFER_BYTES));
      bytes.fill(POISON_BYTE, BUFFER_STATE, BUFFER_STATE + 4);
      if (!bytes.equals(poison)) problems.push(`buffer ${at} was written while it was free`);
    }
    return problems;
  }
}
