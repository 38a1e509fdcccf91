import { closeSync, openSync, readSync } from 'node:fs';
import { RingwayError } from '../util/errors.ts';
import { CaptureScanner } from './capture-scanner.ts';
import {
  RECORD_INTERFACE,
  RECORD_LENGTH,
  RECORD_LINK_TYPE,
  RECORD_NANOSECONDS,
  RECORD_OFFSET,
  RECORD_SECONDS,
  RECORD_SHIFT,
  RECORD_WIRE_LENGTH,
} from './layout.ts';
import { CAPTURE_BLOCK_MAX } from './pcapng.ts';

/** One frame of a capture. */
export interface CapturedFrame {
  /** The captured bytes: a copy, the caller's to keep. */
  readonly frame: Uint8Array;
  /** When, since 1970-01-01 UTC; both 0 when the file does not say. */
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanoseconds: number;
  /** Bytes the frame had on the wire. */
  readonly wireLength: number;
  /** LINKTYPE_ value of the interface: 1 is Ethernet, `linkTypeName` names it. */
  readonly linkType: number;
  /** Index of the interface, in the order of the file. */
  readonly interface: number;
}

const RECORD_WORDS = 1 << (RECORD_SHIFT - 2);
const RECORDS = 64;
const WINDOW_BYTES = CAPTURE_BLOCK_MAX;

/** The bytes of a capture, a window at a time. */
interface Source {
  readonly name: string;
  /** Fills `target` as far as the source goes. Returns how many bytes. */
  read(target: Uint8Array): number;
}

/**
 * The frames of a pcap or pcapng file, or of one in memory.
 * @throws RingwayError `SYSTEM` when the file cannot be read; `BAD_CAPTURE` at its first break, after all frames before.
 */
export function* readCapture(capture: string | Uint8Array): Generator<CapturedFrame, void, undefined> {
  if (typeof capture !== 'string') {
    yield* frames(memorySource(capture));
    return;
  }
  const file = open(capture);
  try {
    yield* frames(fileSource(capture, file));
  } finally {
    closeSync(file);
  }
}

function* frames(source: Source): Generator<CapturedFrame, void, undefined> {
  const scanner = new CaptureScanner();
  const window = new Uint8Array(WINDOW_BYTES);
  const records = new Uint32Array(RECORDS * RECORD_WORDS);
  let fill = 0;
  while (true) {
    const got = source.read(window.subarray(fill));
    fill += got;
    let from = 0;
    while (true) {
      const n = scanner.scan(window, from, fill, records, 0, RECORDS);
      for (let i = 0; i < n; i++) yield frameOf(window, records, i * RECORD_WORDS);
      from += scanner.consumed;
      if (n === 0) break;
    }
    fill -= from;
    if (got === 0) scanner.end(fill);
    if (scanner.break !== undefined) throw new RingwayError('BAD_CAPTURE', `${source.name}: ${scanner.break.message}`);
    if (got === 0) return;
    window.copyWithin(0, from, from + fill);
  }
}

function frameOf(window: Uint8Array, records: Uint32Array, at: number): CapturedFrame {
  const word = (offset: number): number => records[at + (offset >>> 2)] ?? 0;
  const start = word(RECORD_OFFSET);
  return {
    frame: window.slice(start, start + word(RECORD_LENGTH)),
    seconds: word(RECORD_SECONDS),
    nanoseconds: word(RECORD_NANOSECONDS),
    wireLength: word(RECORD_WIRE_LENGTH),
    linkType: word(RECORD_LINK_TYPE),
    interface: word(RECORD_INTERFACE),
  };
}

function memorySource(bytes: Uint8Array): Source {
  let done = 0;
  return {
    name: 'capture',
    read(target) {
      const n = Math.min(target.length, bytes.length - done);
      target.set(bytes.subarray(done, done + n));
      done += n;
      return n;
    },
  };
}

function open(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new RingwayError('SYSTEM', `${path}: cannot be opened: ${(cause as Error).message}`, { cause });
  }
}

function fileSource(path: string, file: number): Source {
  return {
    name: path,
    read(target) {
      try {
        return readSync(file, target);
      } catch (cause) {
        throw new RingwayError('SYSTEM', `${path}: cannot be read: ${(cause as Error).message}`, { cause });
      }
    },
  };
}
