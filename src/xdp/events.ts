import { KIND_PERF_EVENT_ARRAY, KIND_RINGBUF } from '../bpf/layout.ts';
import { readLog } from '../bpf/maps/log.ts';
import type { BpfMap } from '../bpf/maps/map.ts';
import { readPerf, readRingbuf } from '../bpf/maps/readers.ts';
import type { Arena } from '../memory/arena.ts';

/** Something that a program wrote to a ring buffer or perf event array. */
export interface XdpEvent {
  /** Name of the map. */
  readonly map: string;
  /** CPU that it was written on; missing for ring buffers. */
  readonly cpu?: number;
  readonly data: Uint8Array;
}

/** Most that one reading takes from a ring: who reads has other things to do too. */
const LIMIT = 4096;

/** The events that wait in the rings among `maps`; names are the keys. */
export function readEvents(maps: Iterable<readonly [string, BpfMap]>): XdpEvent[] {
  const events: XdpEvent[] = [];
  for (const [name, map] of maps) {
    if (map.kind === KIND_RINGBUF) readRingbuf(map, (data) => void events.push({ map: name, data }), LIMIT);
    if (map.kind === KIND_PERF_EVENT_ARRAY) {
      readPerf(map, ({ cpu, data }) => void events.push({ map: name, cpu, data }), LIMIT);
    }
  }
  return events;
}

/** The lines that programs said with trace_printk into the logs at these addresses. */
export function readLogs(arena: Arena, logs: readonly number[]): string[] {
  const lines: string[] = [];
  for (const log of logs) readLog(arena, log, ({ text }) => void lines.push(text.trimEnd()), LIMIT);
  return lines;
}
