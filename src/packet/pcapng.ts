import { TickClock } from './capture-time.ts';
import { BLOCK_ENHANCED, CAPTURE_FRAME_MAX, RECORD_FLAG_TIMED, RECORD_NANOSECONDS, RECORD_SECONDS } from './layout.ts';
import type { CaptureInterface, FormatScanner, ScanWindow } from './scan-window.ts';

/*
 * The pcapng file format: draft-ietf-opsawg-pcapng. Section numbers below are of its revision 02.
 */

/** Block types (10.1). */
export const BLOCK_SECTION = 0x0a0d0d0a;
export const BLOCK_INTERFACE = 1;
const BLOCK_PACKET = 2;
const BLOCK_SIMPLE = 3;
/** Byte-Order Magic of a section (4.1). */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
export const PCAPNG_MAJOR = 1;
/** Options of any block (3.5), and of an interface (4.2). */
export const OPTION_END = 0;
export const OPTION_COMMENT = 1;
export const OPTION_TSRESOL = 9;
const OPTION_TSOFFSET = 14;
const TSRESOL_MICROSECONDS = 6;

/** Bytes of blocks without options and data, the length at the end included. */
const BLOCK_BYTES_MIN = 12;
const SECTION_BYTES = 28;
const INTERFACE_BYTES = 20;
const SIMPLE_BYTES = 16;
/** Of an Enhanced and an old Packet Block alike: what lies before the data, and all that is not data. */
const PACKET_DATA = 28;
const PACKET_BYTES = 32;

/** A packet or interface block must fit into the reader's window; others may have any length. */
export const CAPTURE_BLOCK_MAX = 1 << 20;
/** Interfaces in one file. Each costs us memory, and a hostile file can hold very many. */
const INTERFACES_MAX = 65536;

const SECONDS_WORD = RECORD_SECONDS >>> 2;
const NANOSECONDS_WORD = RECORD_NANOSECONDS >>> 2;

interface NgInterface extends CaptureInterface {
  readonly clock: TickClock;
}

/** Reads a pcapng file: packet blocks become records, interface blocks `interfaces`, all others are passed over. */
export class PcapngScanner implements FormatScanner {
  readonly interfaces: NgInterface[] = [];
  #little = true;
  /** Index of the section's interface 0 among all of the file. */
  #firstInterface = 0;
  /** Bytes still to pass over, and the length that must be found behind them; 0 outside of such a block. */
  #skip = 0;
  #skippedLength = 0;

  get inside(): boolean {
    return this.#skippedLength !== 0;
  }

  scan(window: ScanWindow): void {
    const { view } = window;
    while (window.out < window.outEnd && window.break === undefined) {
      if (this.#skippedLength !== 0 && !this.#skipBlock(window)) return;
      if (!window.has(8)) return;
      const type = view.getUint32(window.at, this.#little);
      if (type === BLOCK_SECTION) {
        if (!this.#openSection(window)) return;
        continue;
      }
      const length = view.getUint32(window.at + 4, this.#little);
      if (length < BLOCK_BYTES_MIN || length % 4 !== 0) {
        window.fail(`block length ${length} must be a multiple of 4 from ${BLOCK_BYTES_MIN}`);
        return;
      }
      if (type !== BLOCK_ENHANCED && type !== BLOCK_INTERFACE && type !== BLOCK_SIMPLE && type !== BLOCK_PACKET) {
        this.#startSkip(window, 8, length);
        continue;
      }
      if (!this.#holdsBlock(window, type, length)) return;
      if (type === BLOCK_INTERFACE) this.#addInterface(window, length);
      else if (type === BLOCK_SIMPLE) this.#addSimple(window, length);
      else this.#addPacket(window, type, length);
      if (window.break === undefined) window.at += length;
    }
  }

  /** A Section Header Block (4.1). Its options are passed over. Returns false when the window or the block is bad. */
  #openSection(window: ScanWindow): boolean {
    const { view, at } = window;
    if (!window.has(SECTION_BYTES)) return false;
    const little = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
    const magic = view.getUint32(at + 8, little);
    const length = view.getUint32(at + 4, little);
    const major = view.getUint16(at + 12, little);
    if (magic !== BYTE_ORDER_MAGIC) {
      window.fail(`byte-order magic 0x${magic.toString(16).padStart(8, '0')} is not 0x1a2b3c4d`);
    } else if (length < SECTION_BYTES || length % 4 !== 0) {
      window.fail(`section header length ${length} must be a multiple of 4 from ${SECTION_BYTES}`);
    } else if (major !== PCAPNG_MAJOR) {
      window.fail(`pcapng version ${major}.${view.getUint16(at + 14, little)} is not ${PCAPNG_MAJOR}.x`);
    } else {
      this.#little = little;
      this.#firstInterface = this.interfaces.length;
      this.#startSkip(window, SECTION_BYTES - 4, length);
      return true;
    }
    return false;
  }

  #startSkip(window: ScanWindow, done: number, length: number): void {
    window.at += done;
    this.#skip = length - 4 - done;
    this.#skippedLength = length;
  }

  /** Passes over a block of any length, window by window. Returns false when the window ends before the block. */
  #skipBlock(window: ScanWindow): boolean {
    const n = Math.min(this.#skip, window.to - window.at);
    window.at += n;
    this.#skip -= n;
    if (!window.has(this.#skip + 4)) {
      // Passed bytes are gone: the next window need not hold the block, only go on.
      window.needed = this.#skip > 0 ? 1 : 4;
      return false;
    }
    const length = this.#skippedLength;
    if (!this.#endsWith(window, window.at, length)) return false;
    window.at += 4;
    this.#skippedLength = 0;
    return true;
  }

  /** True when the length at `at`, the end of a block, is the one at its start. */
  #endsWith(window: ScanWindow, at: number, length: number): boolean {
    const trailing = window.view.getUint32(at, this.#little);
    if (trailing === length) return true;
    window.fail(`block length ${length} at its start, ${trailing} at its end`);
    return false;
  }

  /** True when a block that we read is within bounds, whole in the window, and ends as it should. */
  #holdsBlock(window: ScanWindow, type: number, length: number): boolean {
    const least = type === BLOCK_INTERFACE ? INTERFACE_BYTES : type === BLOCK_SIMPLE ? SIMPLE_BYTES : PACKET_BYTES;
    if (length < least || length > CAPTURE_BLOCK_MAX) {
      window.fail(`block length ${length} of type ${type} must be from ${least} to ${CAPTURE_BLOCK_MAX}`);
      return false;
    }
    return window.has(length) && this.#endsWith(window, window.at + length - 4, length);
  }

  /** An Enhanced Packet Block (4.3) or an old Packet Block (A): they differ in the width of the interface's number. */
  #addPacket(window: ScanWindow, type: number, length: number): void {
    const { view, at } = window;
    const little = this.#little;
    const id = type === BLOCK_ENHANCED ? view.getUint32(at + 8, little) : view.getUint16(at + 8, little);
    const captured = view.getUint32(at + 20, little);
    const description = this.interfaces[this.#firstInterface + id];
    if (description === undefined) {
      this.#failInterface(window, id);
    } else if (captured > CAPTURE_FRAME_MAX) {
      window.fail(`captured length ${captured} is over ${CAPTURE_FRAME_MAX}`);
    } else if (captured > length - PACKET_BYTES) {
      window.fail(`captured length ${captured} does not fit a block of ${length} bytes`);
    } else {
      const wire = view.getUint32(at + 24, little);
      const index = this.#firstInterface + id;
      const record = window.add(at + PACKET_DATA, captured, wire, index, description.linkType, RECORD_FLAG_TIMED);
      const high = view.getUint32(at + 12, little);
      description.clock.store(high, view.getUint32(at + 16, little), window.records, record);
    }
  }

  /** A Simple Packet Block (4.4): of interface 0, without a time, its captured length to be worked out. */
  #addSimple(window: ScanWindow, length: number): void {
    const { view, at, records } = window;
    const description = this.interfaces[this.#firstInterface];
    if (description === undefined) {
      this.#failInterface(window, 0);
      return;
    }
    const wire = view.getUint32(at + 8, this.#little);
    const snap = description.snapLength === 0 ? CAPTURE_FRAME_MAX : description.snapLength;
    const captured = Math.min(wire, snap, length - SIMPLE_BYTES, CAPTURE_FRAME_MAX);
    const record = window.add(at + 12, captured, wire, this.#firstInterface, description.linkType, 0);
    records[record + SECONDS_WORD] = 0;
    records[record + NANOSECONDS_WORD] = 0;
  }

  #failInterface(window: ScanWindow, id: number): void {
    const known = this.interfaces.length - this.#firstInterface;
    window.fail(`interface ${id} is not described; the section has ${known}`);
  }

  /** An Interface Description Block (4.2). */
  #addInterface(window: ScanWindow, length: number): void {
    const { view, at } = window;
    const little = this.#little;
    if (this.interfaces.length === INTERFACES_MAX) {
      window.fail(`more than ${INTERFACES_MAX} interfaces`);
      return;
    }
    let resolution = TSRESOL_MICROSECONDS;
    let offset = 0;
    const end = at + length - 4;
    for (let option = at + 16; option + 4 <= end; ) {
      const code = view.getUint16(option, little);
      const bytes = view.getUint16(option + 2, little);
      if (code === OPTION_END) break;
      const value = option + 4;
      option = value + Math.ceil(bytes / 4) * 4;
      if (option > end) {
        window.fail(`option ${code} of ${bytes} bytes runs past the end of its block`);
        return;
      }
      if ((code === OPTION_TSRESOL && bytes !== 1) || (code === OPTION_TSOFFSET && bytes !== 8)) {
        window.fail(`option ${code} has ${bytes} bytes, must have ${code === OPTION_TSRESOL ? 1 : 8}`);
        return;
      }
      if (code === OPTION_TSRESOL) resolution = view.getUint8(value);
      // The low half of the signed 64 bits is all that matters modulo 2^32 seconds.
      if (code === OPTION_TSOFFSET) offset = view.getUint32(little ? value : value + 4, little);
    }
    this.interfaces.push({
      linkType: view.getUint16(at + 8, little),
      snapLength: view.getUint32(at + 12, little),
      clock: new TickClock(resolution, offset),
    });
  }
}
