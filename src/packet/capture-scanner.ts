import { RECORD_SHIFT } from './layout.ts';
import { isPcapMagic, openPcap, PCAP_HEADER_BYTES } from './pcap.ts';
import { BLOCK_SECTION, PcapngScanner } from './pcapng.ts';
import { type CaptureBreak, type CaptureInterface, type FormatScanner, ScanWindow } from './scan-window.ts';

const RECORD_WORDS = 1 << (RECORD_SHIFT - 2);
/** What gzip writes first (RFC 1952, 2.3.1): the commonest reason why a capture is none. */
const GZIP_MAGIC = 0x1f8b;

/**
 * Finds the frames of a pcap or pcapng file in windows of its bytes, without a copy and without an object for each.
 *
 * The caller reads a window of the file, calls `scan` until it returns 0, moves the bytes from `consumed` on to the
 * front of the next window, fills it up (to at least `needed` bytes), and so on; at the end of the file it calls `end`
 * with the number of bytes left over. A window of CAPTURE_BLOCK_MAX bytes is always large enough.
 *
 * A file that is broken gives all frames before the break, then `break` says where and why.
 *
 * @example
 * const records = new Uint32Array(32 * 8);
 * const scanner = new CaptureScanner();
 * const n = scanner.scan(bytes, 0, bytes.length, records, 0, 32);
 */
export class CaptureScanner {
  readonly #window = new ScanWindow();
  #format: FormatScanner | undefined;
  #position = 0;
  #consumed = 0;

  /** Interfaces described so far; RECORD_INTERFACE is an index into it. A pcap file has one, a pcapng file any number. */
  get interfaces(): readonly CaptureInterface[] {
    return this.#format?.interfaces ?? [];
  }

  /** Bytes, from `from` on, that the last `scan` is done with. */
  get consumed(): number {
    return this.#consumed;
  }

  /** Bytes, from the first one not consumed, that a window must hold before `scan` can go on; 0 when it can now. */
  get needed(): number {
    return this.#window.needed;
  }

  /** Offset in the file of the first byte not consumed. Exact up to 2^53. */
  get position(): number {
    return this.#position;
  }

  /** The first break; nothing is read behind it. */
  get break(): CaptureBreak | undefined {
    return this.#window.break;
  }

  /**
   * Scans `bytes` from index `from` to `to`, which go on where the last call's `consumed` ended.
   * @param records receives a capture record (`layout.ts`, eight words) for each frame, from word `recordsAt` on.
   * @param max records at most, for which there is room.
   * @returns how many records were written; 0 when a longer window is needed, the bytes are used up, or at a break.
   */
  scan(bytes: Uint8Array, from: number, to: number, records: Uint32Array, recordsAt: number, max: number): number {
    const window = this.#window;
    this.#consumed = 0;
    if (window.break !== undefined) return 0;
    window.open(bytes, from, to, this.#position);
    window.records = records;
    window.out = recordsAt;
    window.outEnd = recordsAt + max * RECORD_WORDS;
    this.#format ??= this.#open(window);
    this.#format?.scan(window);
    this.#consumed = window.at - from;
    this.#position += this.#consumed;
    return (window.out - recordsAt) / RECORD_WORDS;
  }

  /**
   * Says that the file has ended, with `left` bytes that no `scan` consumed: a file that ends inside a header, record
   * or block, and an empty one, get a `break`.
   */
  end(left: number): void {
    const window = this.#window;
    if (window.break !== undefined) return;
    if (left === 0 && this.#format?.inside === false) return;
    const at = this.#position;
    let reason = `the file ends early: ${left} bytes are left, ${window.needed} needed`;
    if (at === 0 && left === 0) reason = 'the file is empty';
    else if (this.#format?.inside) reason = 'the file ends inside a block';
    window.break = { at, message: `at byte ${at}: ${reason}` };
  }

  #open(window: ScanWindow): FormatScanner | undefined {
    if (!window.has(4)) return undefined;
    const { view, at } = window;
    const magic = view.getUint32(at, false);
    // The same in both byte orders.
    if (magic === BLOCK_SECTION) return new PcapngScanner();
    if (isPcapMagic(magic) || isPcapMagic(view.getUint32(at, true))) {
      return window.has(PCAP_HEADER_BYTES) ? openPcap(window) : undefined;
    }
    const hint = magic >>> 16 === GZIP_MAGIC ? '; it is compressed, use gunzip first' : '';
    window.fail(`0x${magic.toString(16).padStart(8, '0')} starts neither a pcap nor a pcapng file${hint}`);
    return undefined;
  }
}
