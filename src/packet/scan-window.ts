import {
  RECORD_FLAG_ETHERNET,
  RECORD_FLAGS,
  RECORD_INTERFACE,
  RECORD_LENGTH,
  RECORD_LINK_TYPE,
  RECORD_OFFSET,
  RECORD_SHIFT,
  RECORD_WIRE_LENGTH,
} from './layout.ts';
import { LINK_TYPE_ETHERNET } from './link-types.ts';

const OFFSET_WORD = RECORD_OFFSET >>> 2;
const LENGTH_WORD = RECORD_LENGTH >>> 2;
const WIRE_LENGTH_WORD = RECORD_WIRE_LENGTH >>> 2;
const INTERFACE_WORD = RECORD_INTERFACE >>> 2;
const FLAGS_WORD = RECORD_FLAGS >>> 2;
const LINK_TYPE_WORD = RECORD_LINK_TYPE >>> 2;
const RECORD_WORDS = 1 << (RECORD_SHIFT - 2);

/** Where and why a capture cannot be read further. */
export interface CaptureBreak {
  /** Offset in the file of the record or block that is broken. */
  readonly at: number;
  /** `at byte 40: captured length 4294967295 is over 262144` */
  readonly message: string;
}

/** An interface that a capture describes; a pcap file has one. */
export interface CaptureInterface {
  /** LINKTYPE_ value; `linkTypeName` says it in words. */
  readonly linkType: number;
  /** Bytes kept of each frame at most, as the file says; 0 for no limit. */
  readonly snapLength: number;
}

/** Reads one of the formats; the state that it keeps between windows is its own. */
export interface FormatScanner {
  readonly interfaces: readonly CaptureInterface[];
  /** True when the file may not end here, though no byte is left over. */
  readonly inside: boolean;
  /** Moves `window.at` over whole records and writes their descriptors, until one of window, room and file ends. */
  scan(window: ScanWindow): void;
}

/** The bytes being scanned, and the records being written: what the scanners of both formats share. */
export class ScanWindow {
  view: DataView = new DataView(new ArrayBuffer(0));
  #bytes: Uint8Array | undefined;
  /** Index of the next byte that is not consumed, and of the end. */
  at = 0;
  to = 0;
  /** Offset in the file of index 0. */
  base = 0;
  records: Uint32Array = new Uint32Array(0);
  /** Word of the next record to write, and behind the last that has room. */
  out = 0;
  outEnd = 0;
  /** Bytes from `at` that the next step needs, when `to` came first; else 0. */
  needed = 0;
  break: CaptureBreak | undefined;

  /** Starts on the bytes from index `from` to `to`, which lie at `position` in the file. */
  open(bytes: Uint8Array, from: number, to: number, position: number): void {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.at = from;
    this.to = to;
    this.base = position - from;
    this.needed = 0;
  }

  /** True when `bytes` bytes lie from `at` on; else the window is too short, and says so. */
  has(bytes: number): boolean {
    if (this.to - this.at >= bytes) return true;
    this.needed = bytes;
    return false;
  }

  /** Nothing from `at` on can be read, because of `reason`. */
  fail(reason: string): void {
    const at = this.base + this.at;
    this.break = { at, message: `at byte ${at}: ${reason}` };
  }

  /** Writes a record but for its time. Returns its first word. */
  add(offset: number, length: number, wireLength: number, index: number, linkType: number, flags: number): number {
    const { records, out } = this;
    records[out + OFFSET_WORD] = offset;
    records[out + LENGTH_WORD] = length;
    records[out + WIRE_LENGTH_WORD] = wireLength;
    records[out + INTERFACE_WORD] = index;
    records[out + FLAGS_WORD] = linkType === LINK_TYPE_ETHERNET ? flags | RECORD_FLAG_ETHERNET : flags;
    records[out + LINK_TYPE_WORD] = linkType;
    this.out = out + RECORD_WORDS;
    return out;
  }
}
