import { RingwayError } from '../../util/errors.ts';
import { KIND_PERF_EVENT_ARRAY, KIND_RINGBUF, MAP_CPUS } from '../layout.ts';
import { readByteRing } from './byte-ring.ts';
import { PERF_RINGS, PERF_SPAN, RINGBUF_DAMAGED, RINGBUF_FOUND, RINGBUF_LOST, RINGBUF_LOST_SEEN } from './layout.ts';
import type { BpfMap } from './map.ts';

interface RingbufKernels {
  bpfRingbufPeek(map: number): number;
  bpfRingbufRelease(map: number): void;
}

/** What a program wrote with bpf_perf_event_output: its data, then the bytes of the packet that it asked for. */
export interface PerfEvent {
  readonly cpu: number;
  readonly data: Uint8Array;
}

/** What became of records since the last reading. */
export interface RingCounts {
  /** Handed over. */
  readonly records: number;
  /** Found no room. */
  readonly lost: number;
  /** Passed over, since a program had overwritten their headers. */
  readonly damaged: number;
}

function checkKind(map: BpfMap, kind: number, name: string, reader: string): void {
  if (map.kind === kind) return;
  throw new RingwayError('BAD_ARGUMENT', `map ${map.name}: ${reader} reads a ${name}, this is a ${map.kindName}`);
}

/**
 * Hands over what programs wrote to a RINGBUF, the oldest first, up to `limit` records. It ends at one that a program still
 * writes. One thread reads a ring. Records are copied: they are the caller's.
 * @throws RingwayError `BAD_ARGUMENT` when `map` is no RINGBUF.
 */
export function readRingbuf(
  map: BpfMap,
  onRecord: (data: Uint8Array) => void,
  limit: number = Number.POSITIVE_INFINITY,
): RingCounts {
  checkKind(map, KIND_RINGBUF, 'RINGBUF', 'readRingbuf');
  const { arena, address } = map;
  const { bpfRingbufPeek, bpfRingbufRelease } = arena.kernels<RingbufKernels>();
  const word = (offset: number): number => Atomics.load(arena.u32, (address + offset) >>> 2);
  let records = 0;
  for (; records < limit; records++) {
    const at = bpfRingbufPeek(address) >>> 0;
    if (at === 0) break;
    const data = arena.u8.slice(at, at + word(RINGBUF_FOUND));
    bpfRingbufRelease(address);
    onRecord(data);
  }
  const lost = word(RINGBUF_LOST);
  const counts = { records, lost: (lost - word(RINGBUF_LOST_SEEN)) >>> 0, damaged: word(RINGBUF_DAMAGED) };
  arena.u32[(address + RINGBUF_LOST_SEEN) >>> 2] = lost;
  arena.u32[(address + RINGBUF_DAMAGED) >>> 2] = 0;
  return counts;
}

/**
 * Hands over the events of a PERF_EVENT_ARRAY: those of CPU 0, the oldest first, then the next CPU's; up to `limit` of each
 * CPU. One thread reads them. Returns, by CPU, how many found no room since the last call.
 * @throws RingwayError `BAD_ARGUMENT` when `map` is no PERF_EVENT_ARRAY.
 */
export function readPerf(map: BpfMap, onEvent: (event: PerfEvent) => void, limit?: number): number[] {
  checkKind(map, KIND_PERF_EVENT_ARRAY, 'PERF_EVENT_ARRAY', 'readPerf');
  const { arena, address } = map;
  const word = (offset: number): number => arena.u32[(address + offset) >>> 2] ?? 0;
  return Array.from({ length: word(MAP_CPUS) }, (_, cpu) => {
    const ring = word(PERF_RINGS) + cpu * word(PERF_SPAN);
    return readByteRing(arena, ring, (data) => onEvent({ cpu, data }), limit);
  });
}
