import { CaptureScanner } from '#build/packet/capture-scanner.js';
import type { CaptureBreak } from '#build/packet/scan-window.js';

/** A record as the scanner describes it, with the frame's bytes. */
export interface Scanned {
  readonly frame: number[];
  readonly wireLength: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly interface: number;
  readonly flags: number;
  readonly linkType: number;
}

/**
 * Scans `file` as a port does: in windows that start with `step` bytes more each time, with the rest carried over,
 * and `max` records a call. Bytes behind the window are poisoned, so that a read of them shows.
 */
export function scanAll(
  file: Uint8Array,
  step = file.length,
  max = 5,
): { records: Scanned[]; broken: CaptureBreak | undefined; linkTypes: number[] } {
  const scanner = new CaptureScanner();
  const records = new Uint32Array(max * 8 + 4).fill(0xeeeeeeee);
  const found: Scanned[] = [];
  let held: Uint8Array = new Uint8Array(0);
  let read = 0;
  while (scanner.break === undefined) {
    const more = Math.min(Math.max(step, scanner.needed - held.length), file.length - read);
    const window = new Uint8Array(7 + held.length + more + 64).fill(0xdb);
    window.set(held, 7);
    window.set(file.subarray(read, read + more), 7 + held.length);
    read += more;
    const to = 7 + held.length + more;
    let from = 7;
    for (let n = -1; n !== 0; ) {
      n = scanner.scan(window, from, to, records, 2, max);
      from += scanner.consumed;
      for (let i = 0; i < n; i++) {
        const words = Array.from(records.subarray(2 + i * 8, 10 + i * 8)) as [number, number, ...number[]];
        const [offset, length, wireLength, seconds, nanoseconds, index, flags, linkType] = words;
        found.push({
          frame: Array.from(window.subarray(offset, offset + length)),
          wireLength: wireLength as number,
          seconds: seconds as number,
          nanoseconds: nanoseconds as number,
          interface: index as number,
          flags: flags as number,
          linkType: linkType as number,
        });
      }
    }
    if (records[0] !== 0xeeeeeeee || records[max * 8 + 2] !== 0xeeeeeeee) throw new Error('records overrun');
    held = window.slice(from, to);
    if (more === 0) {
      scanner.end(held.length);
      break;
    }
  }
  return { records: found, broken: scanner.break, linkTypes: scanner.interfaces.map(({ linkType }) => linkType) };
}
