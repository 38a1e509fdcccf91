import { type Arena, createArena } from '../memory/arena.ts';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_OFFLOAD_FLAGS,
  BURST_MAX,
  GSO_NONE,
  GSO_TCPV4,
  HDR_NEEDS_CSUM,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import { createPool, type Pool, type PoolKernels } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import { SEGMENT_BYTES, SEGMENT_SLOTS } from '../packet/layout.ts';
import { createSpscRing, type Ring } from '../ring/ring.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';

const BUFFERS = 8192;
/** An MSS of 1,448: 1,500 bytes of IP with TCP timestamps. */
const GSO_SIZE = 1448;
const SEGMENTS = 45;
const TIMESTAMPS = 12;
const L4 = 34;
const TCP_CSUM_OFFSET = 16;
/** Packets that are cut in turn, and segments kept back, so that none of their bytes is in L2 any more: 11.6 MB. */
const COLD_SOURCES = 64;
const COLD_HELD = 3072;

/** A packet of `payload` bytes over TCP that asks for its checksum, and for segments unless `size` is 0. */
interface Asking {
  readonly payload: number;
  readonly size: number;
}

/** Packets in an arena of their own, and what the rows do with them. */
export class TsoBench {
  readonly arena: Arena;
  readonly pool: Pool;
  readonly #kernels: PacketKernels & PoolKernels;
  readonly #cache: number;
  readonly #sources: number;
  readonly #work: number;
  readonly #burst: number;
  readonly #ring: Ring;
  readonly #scratch: number;
  #turn = 0;
  #held = 0;

  constructor() {
    this.arena = createArena({ bytes: 32 << 20 });
    this.pool = createPool(this.arena, { buffers: BUFFERS, caches: 1 });
    this.#kernels = this.arena.kernels<PacketKernels & PoolKernels>();
    this.#cache = this.pool.caches[0] ?? 0;
    this.#sources = this.arena.allocate('sources', COLD_SOURCES << SLOT_SHIFT);
    this.#work = this.arena.allocate('work', SEGMENT_BYTES);
    this.#burst = this.arena.allocate('burst', BURST_MAX << SLOT_SHIFT);
    this.#scratch = this.arena.allocate('scratch', 1 << 17);
    this.#ring = createSpscRing(this.arena, { name: 'held', slots: 2 * COLD_HELD + 2048 });
  }

  /** Makes the `count` packets that the turns work on. */
  load(count: number, { payload, size }: Asking): void {
    const { u8, u16, u32 } = this.arena;
    const frame = buildFrame({
      ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
      ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
      tcp: { sourcePort: 1, destinationPort: 2, flags: 0x10, options: new Uint8Array(TIMESTAMPS).fill(1) },
      payload: new Uint8Array(payload).map((_, i) => i * 7),
    });
    for (let i = 0; i < count; i++) {
      const slot = this.#sources + (i << SLOT_SHIFT);
      this.#kernels.poolAlloc(this.#cache, slot, 1);
      u8.set(frame, this.#scratch);
      this.#kernels.memoryFill(this.#cache, slot, this.#scratch, frame.length);
      const buffer = u32[slot >>> 2] ?? 0;
      u8[buffer + BUFFER_OFFLOAD_FLAGS] = HDR_NEEDS_CSUM;
      u8[buffer + BUFFER_GSO_TYPE] = size === 0 ? GSO_NONE : GSO_TCPV4;
      u16[(buffer + BUFFER_GSO_SIZE) >>> 1] = size;
      u16[(buffer + BUFFER_CSUM_START) >>> 1] = L4;
      u16[(buffer + BUFFER_CSUM_OFFSET) >>> 1] = TCP_CSUM_OFFSET;
    }
  }

  /** Lets the first `count` packets ask for what they asked for when they were loaded. */
  ask(count: number): void {
    const { u8 } = this.arena;
    for (let i = 0; i < count; i++) {
      const flags = this.#sources + (i << SLOT_SHIFT) + SLOT_FLAGS;
      u8[flags] = (u8[flags] ?? 0) | SLOT_FLAG_OFFLOAD;
    }
  }

  /** Cuts the next of `count` packets into segments; of those, the last `hold` or so are kept. Returns how many. */
  cut(count: number, hold: number): number {
    const { packetSegment, poolFree } = this.#kernels;
    const source = this.#sources + ((this.#turn++ % count) << SLOT_SHIFT);
    const out = this.#work + SEGMENT_SLOTS;
    let made = 0;
    while (made < SEGMENTS) {
      const n = packetSegment(this.#cache, source, made, BURST_MAX, this.#work);
      if (n <= 0) break;
      made += n;
      if (hold === 0) {
        poolFree(this.#cache, out, n);
        continue;
      }
      this.#held += this.#ring.push(out, n);
      while (this.#held > hold) {
        const old = this.#ring.pop(this.#burst, BURST_MAX);
        poolFree(this.#cache, this.#burst, old);
        this.#held -= old;
      }
    }
    return made;
  }

  /** Computes the checksums that the first `count` packets ask for. Returns how many are ready. */
  finish(count: number): number {
    return this.#kernels.packetFinish(this.#sources, count, 0);
  }
}

/** A row of a bench of its own. A sample is one turn. */
function row(name: string, unit: 'Gbit/s' | 'ns/packet', perTurn: number, turn: () => void): Row {
  const measured = measure(perTurn, turn);
  const value = measured.value === null || unit === 'ns/packet' ? measured.value : 1 / measured.value;
  return rowOf({ ...measured, name, unit, value, state: 'one core' }, null);
}

/** 64 KiB that are cut 45 times. Bits are those of the TCP payload. */
function cutRow(name: string, count: number, hold: number): Row {
  const bench = new TsoBench();
  bench.load(count, { payload: SEGMENTS * GSO_SIZE, size: GSO_SIZE });
  bench.ask(count);
  return row(name, 'Gbit/s', SEGMENTS * GSO_SIZE * 8, () => bench.cut(count, hold));
}

function checksumRow(name: string, count: number, payload: number): Row {
  const bench = new TsoBench();
  bench.load(count, { payload, size: 0 });
  return row(name, 'Gbit/s', count * payload * 8, () => {
    bench.ask(count);
    bench.finish(count);
  });
}

/**
 * What a port that does no offloads costs: TCP packets of 64 KiB cut into segments of 1,448 bytes with their checksums,
 * checksums alone, and bursts of 32 in which nothing is asked for. Kernels on one core; no peer is measured.
 */
export async function benchTso(): Promise<Row[]> {
  const idle = new TsoBench();
  idle.load(BURST_MAX, { payload: 10, size: 0 });
  return [
    cutRow('tso, 64 KiB to 1448', 1, 0),
    cutRow('tso, 64 KiB to 1448, not in L2', COLD_SOURCES, COLD_HELD),
    checksumRow('checksum only, 64 KiB', 1, SEGMENTS * GSO_SIZE),
    checksumRow('checksum only, 32 of 1448', BURST_MAX, GSO_SIZE),
    row('nothing asked for', 'ns/packet', BURST_MAX, () => void idle.finish(BURST_MAX)),
  ];
}
