import {
  CAPTURE_FRAME_MAX,
  PCAP_RECORD_BYTES,
  PCAP_RECORD_CAPTURED,
  PCAP_RECORD_FRACTION,
  PCAP_RECORD_SECONDS,
  PCAP_RECORD_WIRE,
  RECORD_FLAG_TIMED,
  RECORD_NANOSECONDS,
  RECORD_SECONDS,
} from './layout.ts';
import type { CaptureInterface, FormatScanner, ScanWindow } from './scan-window.ts';

/*
 * The pcap file format: draft-ietf-opsawg-pcap (File Header, Packet Record) and libpcap's sf-pcap.c for what the
 * draft leaves out: the old versions, and the magic of a patched libpcap.
 */

/** Fractions are microseconds. */
export const PCAP_MAGIC_MICROSECONDS = 0xa1b2c3d4;
/** Fractions are nanoseconds. */
export const PCAP_MAGIC_NANOSECONDS = 0xa1b23c4d;
/** Kuznetzov's patch: eight bytes more in each record header, which we pass over. */
const PCAP_MAGIC_MODIFIED = 0xa1b2cd34;
const MODIFIED_RECORD_BYTES = 24;

/** Magic u32, versions u16 each, two reserved u32, snap length u32, link type and FCS u32. */
export const PCAP_HEADER_BYTES = 24;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
/** Before version 2.3 the two lengths were the other way round; in 2.3 some programs still wrote them so. */
const VERSION_MINOR_SWAPPED = 3;
/** The rest of the word says whether frames end with a check sequence. */
const LINK_TYPE_MASK = 0xffff;

const SECONDS_WORD = RECORD_SECONDS >>> 2;
const NANOSECONDS_WORD = RECORD_NANOSECONDS >>> 2;
const SECOND_NS = 1_000_000_000;

/** True when `magic`, read in one of the byte orders, starts a pcap file. */
export function isPcapMagic(magic: number): boolean {
  return magic === PCAP_MAGIC_MICROSECONDS || magic === PCAP_MAGIC_NANOSECONDS || magic === PCAP_MAGIC_MODIFIED;
}

/** Consumes the file header, which `window` holds whole. Returns undefined, with a break, when it is bad. */
export function openPcap(window: ScanWindow): PcapScanner | undefined {
  const { view, at } = window;
  const little = isPcapMagic(view.getUint32(at, true));
  const magic = view.getUint32(at, little);
  const major = view.getUint16(at + 4, little);
  const minor = view.getUint16(at + 6, little);
  if (major !== VERSION_MAJOR) {
    window.fail(`pcap version ${major}.${minor} is not ${VERSION_MAJOR}.x`);
    return undefined;
  }
  const snapLength = view.getUint32(at + 16, little);
  const linkType = view.getUint32(at + 20, little) & LINK_TYPE_MASK;
  window.at += PCAP_HEADER_BYTES;
  return new PcapScanner(little, magic, minor, { linkType, snapLength });
}

/** Reads the packet records of a pcap file. */
export class PcapScanner implements FormatScanner {
  readonly interfaces: readonly CaptureInterface[];
  readonly inside = false;
  readonly #little: boolean;
  readonly #minor: number;
  readonly #fractionNs: number;
  readonly #headerBytes: number;
  readonly #linkType: number;

  constructor(little: boolean, magic: number, minor: number, description: CaptureInterface) {
    this.interfaces = [description];
    this.#little = little;
    this.#minor = minor;
    this.#fractionNs = magic === PCAP_MAGIC_NANOSECONDS ? 1 : 1000;
    this.#headerBytes = magic === PCAP_MAGIC_MODIFIED ? MODIFIED_RECORD_BYTES : PCAP_RECORD_BYTES;
    this.#linkType = description.linkType;
  }

  scan(window: ScanWindow): void {
    const { view, records } = window;
    const little = this.#little;
    const headerBytes = this.#headerBytes;
    while (window.out < window.outEnd) {
      if (!window.has(headerBytes)) return;
      const { at } = window;
      let captured = view.getUint32(at + PCAP_RECORD_CAPTURED, little);
      let wire = view.getUint32(at + PCAP_RECORD_WIRE, little);
      if (this.#minor <= VERSION_MINOR_SWAPPED && (this.#minor < VERSION_MINOR_SWAPPED || captured > wire)) {
        [captured, wire] = [wire, captured];
      }
      if (captured > CAPTURE_FRAME_MAX) {
        window.fail(`captured length ${captured} is over ${CAPTURE_FRAME_MAX}`);
        return;
      }
      if (!window.has(headerBytes + captured)) return;
      const record = window.add(at + headerBytes, captured, wire, 0, this.#linkType, RECORD_FLAG_TIMED);
      // A fraction of a second or more is nonsense that some writers produce: it is carried, so that ours is none.
      const fraction = view.getUint32(at + PCAP_RECORD_FRACTION, little) * this.#fractionNs;
      const carry = fraction < SECOND_NS ? 0 : Math.floor(fraction / SECOND_NS);
      records[record + SECONDS_WORD] = view.getUint32(at + PCAP_RECORD_SECONDS, little) + carry;
      records[record + NANOSECONDS_WORD] = fraction - carry * SECOND_NS;
      window.at = at + headerBytes + captured;
    }
  }
}

/** The header of a little-endian pcap 2.4 file. `magic`: PCAP_MAGIC_MICROSECONDS or PCAP_MAGIC_NANOSECONDS. */
export function pcapHeader(magic: number, linkType: number): Uint8Array {
  const header = new Uint8Array(PCAP_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, magic, true);
  view.setUint16(4, VERSION_MAJOR, true);
  view.setUint16(6, VERSION_MINOR, true);
  view.setUint32(16, CAPTURE_FRAME_MAX, true);
  view.setUint32(20, linkType, true);
  return header;
}
