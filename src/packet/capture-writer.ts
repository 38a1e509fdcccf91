import { closeSync, openSync, writeSync } from 'node:fs';
import { alignUp } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import { BLOCK_ENHANCED, CAPTURE_FRAME_MAX } from './layout.ts';
import { LINK_TYPE_ETHERNET } from './link-types.ts';
import { PCAP_MAGIC_MICROSECONDS, PCAP_MAGIC_NANOSECONDS, pcapHeader } from './pcap.ts';
import {
  BLOCK_INTERFACE,
  BLOCK_SECTION,
  BYTE_ORDER_MAGIC,
  OPTION_COMMENT,
  OPTION_END,
  OPTION_TSRESOL,
  PCAPNG_MAJOR,
} from './pcapng.ts';

/** The two file formats. */
export type CaptureFormat = 'pcap' | 'pcapng';

/** How a capture is written. */
export interface CaptureWriterOptions {
  /** `pcap` by default. */
  readonly format?: CaptureFormat;
  /** Of the times in a pcap file; `nanoseconds` by default. A pcapng file always has nanoseconds. */
  readonly precision?: 'nanoseconds' | 'microseconds';
  /** LINKTYPE_ value of each interface; one Ethernet interface by default. A pcap file has exactly one. */
  readonly linkTypes?: readonly number[];
}

/** What is known of a frame beside its bytes. */
export interface FrameTime {
  /** Since 1970-01-01 UTC, 0 to 2^32 - 1. */
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanoseconds: number;
  /** Bytes on the wire; the frame's length by default. */
  readonly wireLength?: number;
  /** Index into `linkTypes`; 0 by default. Only a pcapng file tells interfaces apart. */
  readonly interface?: number;
  /** What a reader shows beside the frame: only a pcapng file keeps it, and at most 65,535 bytes of it. */
  readonly comment?: string;
}

/** Of an Enhanced Packet Block, without its data: eight u32 words before it, one behind. */
const ENHANCED_BYTES = 32;
const SECTION_BYTES = 28;
const INTERFACE_BYTES = 32;
const TSRESOL_NANOSECONDS = 9;
const NO_OPTIONS = new Uint8Array(0);
const COMMENT_BYTES_MAX = 65535;
const STAGE_BYTES = CAPTURE_FRAME_MAX + 2 * 65536;

/**
 * Writes frames to a pcap or pcapng file, little endian. Frames are gathered and written in large pieces: what was
 * written is in the file after `flush` or `close`.
 */
export class CaptureWriter {
  readonly #sink: (bytes: Uint8Array) => void;
  readonly #close: () => void;
  readonly #pcapng: boolean;
  readonly #interfaces: number;
  readonly #fractionNs: number;
  readonly #stage = new Uint8Array(STAGE_BYTES);
  readonly #view = new DataView(this.#stage.buffer);
  #fill = 0;

  /**
   * @param target path of the file, replaced when it exists; or a function that is given the bytes, which it must not
   *   keep.
   * @throws RingwayError `BAD_ARGUMENT` on options that the format cannot express, `SYSTEM` when the file cannot be made.
   */
  constructor(target: string | ((bytes: Uint8Array) => void), options: CaptureWriterOptions = {}) {
    const { format = 'pcap', precision = 'nanoseconds', linkTypes = [LINK_TYPE_ETHERNET] } = options;
    this.#pcapng = format === 'pcapng';
    this.#interfaces = linkTypes.length;
    this.#fractionNs = precision === 'nanoseconds' ? 1 : 1000;
    if (linkTypes.some((type) => !Number.isInteger(type) || type < 0 || type > 0xffff)) {
      throw new RingwayError('BAD_ARGUMENT', `capture: link types ${linkTypes}, must be from 0 to 65535`);
    }
    if (!this.#pcapng && linkTypes.length !== 1) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `capture: a pcap file has one interface, not ${linkTypes.length}; use pcapng`,
      );
    }
    if (this.#pcapng && precision !== 'nanoseconds') {
      throw new RingwayError('BAD_ARGUMENT', 'capture: a pcapng file is always written with nanoseconds');
    }
    if (typeof target === 'string') {
      const file = create(target);
      this.#sink = (bytes) => writeAll(target, file, bytes);
      this.#close = () => closeSync(file);
    } else {
      this.#sink = target;
      this.#close = () => {};
    }
    if (this.#pcapng) this.#writeDescriptions(linkTypes);
    else
      this.#sink(
        pcapHeader(this.#fractionNs === 1 ? PCAP_MAGIC_NANOSECONDS : PCAP_MAGIC_MICROSECONDS, linkTypes[0] ?? 0),
      );
  }

  /**
   * Appends a frame.
   * @throws RingwayError `BAD_ARGUMENT` on a frame over CAPTURE_FRAME_MAX bytes, an unknown interface, or a time out
   *   of range; `SYSTEM` when the file cannot be written.
   */
  write(frame: Uint8Array, time: FrameTime): void {
    const { seconds, nanoseconds, wireLength = frame.length, interface: index = 0, comment } = time;
    if (frame.length > CAPTURE_FRAME_MAX) {
      throw new RingwayError('BAD_ARGUMENT', `capture: a frame of ${frame.length} bytes is over ${CAPTURE_FRAME_MAX}`);
    }
    if (!isU32(seconds) || !isU32(nanoseconds) || nanoseconds > 999_999_999) {
      throw new RingwayError('BAD_ARGUMENT', `capture: time ${seconds} s ${nanoseconds} ns is out of range`);
    }
    if (!isU32(wireLength) || !isU32(index) || index >= this.#interfaces) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `capture: wire length ${wireLength}, interface ${index} of ${this.#interfaces}: out of range`,
      );
    }
    const options = comment === undefined ? NO_OPTIONS : commentOption(comment);
    if (this.#fill + ENHANCED_BYTES + frame.length + 3 + options.length > STAGE_BYTES) this.flush();
    if (this.#pcapng) this.#putEnhanced(frame, options, { seconds, nanoseconds, wireLength, interface: index });
    else this.#putRecord(frame, seconds, nanoseconds, wireLength);
  }

  /** Writes out what is gathered. */
  flush(): void {
    if (this.#fill > 0) this.#sink(this.#stage.subarray(0, this.#fill));
    this.#fill = 0;
  }

  /** Writes out what is gathered and closes the file. */
  close(): void {
    this.flush();
    this.#close();
  }

  #word(value: number): void {
    this.#view.setUint32(this.#fill, value, true);
    this.#fill += 4;
  }

  #bytes(bytes: Uint8Array, padding: number): void {
    this.#stage.set(bytes, this.#fill);
    this.#fill += bytes.length;
    this.#stage.fill(0, this.#fill, this.#fill + padding);
    this.#fill += padding;
  }

  #putRecord(frame: Uint8Array, seconds: number, nanoseconds: number, wireLength: number): void {
    this.#word(seconds);
    this.#word(Math.floor(nanoseconds / this.#fractionNs));
    this.#word(frame.length);
    this.#word(wireLength);
    this.#bytes(frame, 0);
  }

  #putEnhanced(frame: Uint8Array, options: Uint8Array, time: Required<Omit<FrameTime, 'comment'>>): void {
    const { seconds, nanoseconds, wireLength, interface: index } = time;
    const padding = -frame.length & 3;
    const length = ENHANCED_BYTES + frame.length + padding + options.length;
    // seconds · 10^9 + nanoseconds in two halves, by 16 bits of the seconds at a time so that each step is exact.
    const upper = Math.floor(seconds / 65536) * 1e9;
    const carry = Math.floor(upper / 65536);
    const lower = (upper - carry * 65536) * 65536 + (seconds & 0xffff) * 1e9 + nanoseconds;
    this.#word(BLOCK_ENHANCED);
    this.#word(length);
    this.#word(index);
    this.#word(carry + Math.floor(lower / 2 ** 32));
    this.#word(lower % 2 ** 32);
    this.#word(frame.length);
    this.#word(wireLength);
    this.#bytes(frame, padding);
    this.#bytes(options, 0);
    this.#word(length);
  }

  #writeDescriptions(linkTypes: readonly number[]): void {
    const section = [
      BLOCK_SECTION,
      SECTION_BYTES,
      BYTE_ORDER_MAGIC,
      PCAPNG_MAJOR,
      0xffffffff,
      0xffffffff,
      SECTION_BYTES,
    ];
    for (const word of section) this.#word(word);
    for (const type of linkTypes) {
      if (this.#fill + INTERFACE_BYTES > STAGE_BYTES) this.flush();
      const resolution = [OPTION_TSRESOL + (1 << 16), TSRESOL_NANOSECONDS, OPTION_END];
      const words = [BLOCK_INTERFACE, INTERFACE_BYTES, type, CAPTURE_FRAME_MAX, ...resolution, INTERFACE_BYTES];
      for (const word of words) this.#word(word);
    }
  }
}

/** What a file with nanosecond times and one Ethernet interface starts with. */
export function captureHeader(format: CaptureFormat): Uint8Array {
  const parts: Uint8Array[] = [];
  new CaptureWriter((bytes) => parts.push(bytes.slice()), { format }).close();
  return Buffer.concat(parts);
}

/** The options of a block that has a comment (3.5). */
function commentOption(comment: string): Uint8Array {
  const text = new TextEncoder().encode(comment).subarray(0, COMMENT_BYTES_MAX);
  const options = new Uint8Array(4 + alignUp(text.length, 4) + 4);
  const view = new DataView(options.buffer);
  view.setUint16(0, OPTION_COMMENT, true);
  view.setUint16(2, text.length, true);
  options.set(text, 4);
  // Behind it stands OPTION_END, four bytes of zeroes.
  return options;
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function create(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (cause) {
    throw new RingwayError('SYSTEM', `${path}: cannot be created: ${(cause as Error).message}`, { cause });
  }
}

function writeAll(path: string, file: number, bytes: Uint8Array): void {
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
  } catch (cause) {
    throw new RingwayError('SYSTEM', `${path}: cannot be written: ${(cause as Error).message}`, { cause });
  }
}
