import type { Arena } from '../memory/arena.ts';
import {
  VIRTQ_AREA_IDX,
  VIRTQ_AREA_RING,
  VIRTQ_AVAIL_ENTRY_SHIFT,
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VIRTQ_USED_ENTRY_SHIFT,
} from './layout.ts';
import type { VirtqueueLayout } from './rings.ts';

/** A descriptor as it stands in memory, of either layout. */
export interface RawDescriptor {
  /** The driver's address of the buffer or table: 0 to 2^64 - 1. */
  readonly guest: bigint;
  /** Bytes: 0 to 2^32 - 1. */
  readonly length: number;
  /** VIRTQ_DESC_F_…; when packed AVAIL and USED are among them. */
  readonly flags: number;
  /** Split: the next descriptor's place. Packed: the buffer id. 0 to 65535. */
  readonly link: number;
}

/** Reads and writes a ring word by word, whatever either side thinks of it: for peers that break the rules on purpose. */
export interface RawRing {
  /** Writes descriptor `place` of the table at `table`, a multiple of 4. */
  writeDescriptor(table: number, place: number, descriptor: RawDescriptor): void;
  readDescriptor(table: number, place: number): RawDescriptor;
  /** Split: writes the head of available entry `place` of the area at `area`. */
  writeAvailable(area: number, place: number, head: number): void;
  /** Split: writes used element `place` of the area at `area`. */
  writeUsed(area: number, place: number, id: number, length: number): void;
  /** Split: writes the index of an area, modulo 2^16, after all that was written before. */
  writeIndex(area: number, index: number): void;
  /** Split: the index of an area. */
  readIndex(area: number): number;
}

/** Raw access to rings of `layout` in the arena. */
export function rawRing(arena: Arena, layout: VirtqueueLayout): RawRing {
  const { u16, u32 } = arena;
  const half = (address: number): number => u16[address >>> 1] ?? 0;
  const word = (address: number): number => u32[address >>> 2] ?? 0;
  return {
    writeDescriptor(table, place, { guest, length, flags, link }) {
      const at = table + (place << VIRTQ_DESC_SHIFT);
      u32[(at + VIRTQ_DESC_ADDR) >>> 2] = Number(guest & 0xffff_ffffn);
      u32[(at + VIRTQ_DESC_ADDR + 4) >>> 2] = Number(guest >> 32n);
      u32[(at + VIRTQ_DESC_LEN) >>> 2] = length;
      const [low, high] = layout === 'split' ? [flags, link] : [link, flags];
      // The word last and at once, as 2.7.21 has it: a packed descriptor is then seen whole.
      Atomics.store(u32, (at + VIRTQ_DESC_WORD) >>> 2, (low & 0xffff) | ((high & 0xffff) << 16));
    },
    readDescriptor(table, place) {
      const at = table + (place << VIRTQ_DESC_SHIFT);
      const [low, high] = [half(at + VIRTQ_DESC_WORD), half(at + VIRTQ_DESC_WORD + 2)];
      return {
        guest: BigInt(word(at + VIRTQ_DESC_ADDR)) | (BigInt(word(at + VIRTQ_DESC_ADDR + 4)) << 32n),
        length: word(at + VIRTQ_DESC_LEN),
        flags: layout === 'split' ? low : high,
        link: layout === 'split' ? high : low,
      };
    },
    writeAvailable(area, place, head) {
      u16[(area + VIRTQ_AREA_RING + (place << VIRTQ_AVAIL_ENTRY_SHIFT)) >>> 1] = head;
    },
    writeUsed(area, place, id, length) {
      const at = area + VIRTQ_AREA_RING + (place << VIRTQ_USED_ENTRY_SHIFT);
      u32[at >>> 2] = id;
      u32[(at + 4) >>> 2] = length;
    },
    writeIndex: (area, index) => {
      Atomics.store(u16, (area + VIRTQ_AREA_IDX) >>> 1, index);
    },
    readIndex: (area) => Atomics.load(u16, (area + VIRTQ_AREA_IDX) >>> 1),
  };
}
