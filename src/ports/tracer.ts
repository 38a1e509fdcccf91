import type { Arena } from '../memory/arena.ts';
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_OFFLOAD_FLAGS,
  SLOT_BUFFER,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { describe } from '../packet/describe.ts';
import { describeOffload } from '../packet/offload.ts';
import type { Port } from './port.ts';

/** Lines a second at most: more than anybody reads, less than would stop the lcore. */
const LINES_PER_SECOND = 1000;

/** A port whose packets can be watched. */
export interface TracedPort {
  readonly port: Port;
  /** Starts and stops giving a line for each packet. */
  trace(on: boolean): void;
}

/**
 * Gives a line for each packet that passes `port`, while it is told to: `rx 60 bytes arp who-has …`. Over 1,000 lines
 * a second the rest is counted and said in the next second's first line.
 */
export function tracedPort(arena: Arena, port: Port, onLine: (line: string) => void): TracedPort {
  let tracing = false;
  let second = 0;
  let lines = 0;
  let skipped = 0;
  const { u8, u16, u32 } = arena;
  const { memoryFrameLength } = arena.kernels<PoolKernels>();

  /** What the packet asks for, when it does. */
  const offloadOf = (slot: number): string => {
    if (((u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_OFFLOAD) === 0) return '';
    const buffer = u32[(slot + SLOT_BUFFER) >>> 2] ?? 0;
    const word = (offset: number): number => u16[(buffer + offset) >>> 1] ?? 0;
    return ` (${describeOffload({
      flags: u8[buffer + BUFFER_OFFLOAD_FLAGS] ?? 0,
      gsoType: u8[buffer + BUFFER_GSO_TYPE] ?? 0,
      gsoSize: word(BUFFER_GSO_SIZE),
      checksumStart: word(BUFFER_CSUM_START),
      checksumOffset: word(BUFFER_CSUM_OFFSET),
    })})`;
  };

  const say = (direction: 'rx' | 'tx', slots: number, n: number): void => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      second = now;
      lines = 0;
      if (skipped > 0) onLine(`(${skipped} packets not shown: over ${LINES_PER_SECOND} a second)`);
      skipped = 0;
    }
    for (let i = 0; i < n; i++) {
      if (lines >= LINES_PER_SECOND) {
        skipped += n - i;
        return;
      }
      lines++;
      const slot = slots + (i << SLOT_SHIFT);
      const from = (u32[(slot + SLOT_BUFFER) >>> 2] ?? 0) + (u16[(slot + SLOT_OFFSET) >>> 1] ?? 0);
      // Of a frame in several buffers the first one holds the headers, and more than the line shows.
      const first = u16[(slot + SLOT_LENGTH) >>> 1] ?? 0;
      const frame = describe(u8.subarray(from, from + first));
      onLine(`${direction} ${memoryFrameLength(slot)} bytes ${frame}${offloadOf(slot)}`);
    }
  };

  return {
    trace(on) {
      tracing = on;
    },
    port: {
      info: () => port.info(),
      set: (name, value) => port.set?.(name, value),
      close: () => port.close(),
      rxBurst(slots, max) {
        const n = port.rxBurst(slots, max);
        if (tracing) say('rx', slots, n);
        return n;
      },
      txBurst(slots, count) {
        // Before they are sent: afterwards the buffers are gone. What is refused is shown again when it is offered again.
        if (tracing) say('tx', slots, count);
        return port.txBurst(slots, count);
      },
    },
  };
}
