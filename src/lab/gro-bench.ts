import { createArena } from '../memory/arena.ts';
import {
  BUFFER_HEADROOM,
  BURST_MAX,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { createPool, type PoolKernels } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import { GRO_BYTES } from '../packet/layout.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';

/** An MSS of 1,448: 1,500 bytes of IP with TCP timestamps. */
const SIZE = 1448;
const HEADER = 66;
/** Where a buffer keeps its headers as they were, in the headroom. */
const KEPT = 128;
/** Segments that come round again: 4.4 MB, so that none is in L2; and 190 KB. */
const COLD = 2880;
const WARM = 128;

/**
 * Segments of flows, one of each in turn, that arrive in bursts again and again. Nothing is freed, since that is no part of merging; the
 * headers of a merged packet are made what they were. Where a flow comes round, it starts again.
 */
class GroBench {
  readonly #arena = createArena({ bytes: 32 << 20 });
  readonly #kernels = this.#arena.kernels<PacketKernels & PoolKernels>();
  readonly #packets: number;
  readonly #count: number;
  readonly #burst = this.#arena.allocate('burst', BURST_MAX << SLOT_SHIFT);
  readonly #area = this.#arena.allocate('gro', GRO_BYTES);
  #next = 0;
  /** Segments that went in, and packets that came out. */
  segments = 0;
  packets = 0;

  constructor(count: number, flows: number) {
    this.#count = count;
    this.#packets = this.#arena.allocate('packets', count << SLOT_SHIFT);
    const cache = createPool(this.#arena, { buffers: count + BURST_MAX, caches: 1 }).caches[0] ?? 0;
    const { u8, u16, u32 } = this.#arena;
    const payload = new Uint8Array(SIZE).map((_, i) => i * 7);
    for (let i = 0; i < count; i++) {
      const turn = Math.floor(i / flows);
      const frame = buildFrame({
        ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
        ipv4: { source: '10.0.0.1', destination: '10.0.0.2', identification: turn },
        tcp: {
          sourcePort: 1024 + (i % flows),
          destinationPort: 2,
          sequence: turn * SIZE,
          flags: 0x10,
          options: new Uint8Array(12).fill(1),
        },
        payload,
      });
      const slot = this.#packets + (i << SLOT_SHIFT);
      this.#kernels.poolAlloc(cache, slot, 1);
      const buffer = u32[slot >>> 2] ?? 0;
      u16[(slot + SLOT_LENGTH) >>> 1] = frame.length;
      u8.set(frame, buffer + BUFFER_HEADROOM);
      u8.set(frame.subarray(0, HEADER), buffer + KEPT);
    }
  }

  /** A burst arrives; with `merges`, it is merged. */
  turn(merges: boolean): void {
    const { u8 } = this.#arena;
    const from = this.#packets + (this.#next << SLOT_SHIFT);
    u8.copyWithin(this.#burst, from, from + (BURST_MAX << SLOT_SHIFT));
    this.#next = (this.#next + BURST_MAX) % this.#count;
    this.segments += BURST_MAX;
    if (!merges) return;
    for (let left = this.#kernels.packetGro(this.#area, this.#burst, BURST_MAX, 0); left > 0; ) {
      const n = this.#kernels.packetGroTake(this.#area, this.#burst, BURST_MAX);
      for (let i = 0; i < n; i++) this.#restore(this.#burst + (i << SLOT_SHIFT));
      this.packets += n;
      left -= n;
    }
  }

  #restore(slot: number): void {
    const { u8, u32 } = this.#arena;
    if (((u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_OFFLOAD) === 0) return;
    const buffer = u32[slot >>> 2] ?? 0;
    u8.copyWithin(buffer + BUFFER_HEADROOM, buffer + KEPT, buffer + KEPT + HEADER);
  }
}

function row(name: string, count: number, flows: number, merges: boolean): Row {
  const bench = new GroBench(count, flows);
  const measured = measure(BURST_MAX * SIZE * 8, () => bench.turn(merges));
  const value = measured.value === null ? null : 1 / measured.value;
  const each = bench.packets === 0 ? '' : `${(bench.segments / bench.packets).toFixed(1)} segments a packet`;
  const note = [measured.note, each].filter((part) => part !== '').join('; ');
  return rowOf({ ...measured, name, unit: 'Gbit/s', value, note, state: 'one core' }, null);
}

/**
 * What merging costs: segments of 1,448 bytes in bursts of 32, of 64 flows in turn and of one, and of one with all of them in L2; and bursts
 * that are only handed on, which is in the other rows, too. A sample is a burst. No peer is measured.
 */
export async function benchGro(): Promise<Row[]> {
  return [
    row('gro, 64 flows in turn', COLD, 64, true),
    row('gro, 1 flow', COLD, 1, true),
    row('gro, 1 flow, in L2', WARM, 1, true),
    row('no gro, 64 flows in turn', COLD, 64, false),
  ];
}
