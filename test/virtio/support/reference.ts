import type { RawDescriptor } from 'ringway/virtio';
import {
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VQ_BROKEN_ADDRESS,
  VQ_BROKEN_CHAIN,
  VQ_BROKEN_ID,
  VQ_BROKEN_ID_STATE,
  VQ_BROKEN_INDEX,
  VQ_BROKEN_INDIRECT,
  VQ_BROKEN_LENGTH,
  VQ_BROKEN_NEXT,
  VQ_BROKEN_ORDER,
} from '#build/virtio/layout.js';
import type { Rig, RigOptions } from './rig.ts';

interface Segment {
  readonly address: number;
  readonly length: number;
}

/** A chain as it should be taken. */
export interface Expected {
  readonly id: number;
  readonly readable: Segment[];
  readonly writable: Segment[];
}

/** A side's place in a ring; the wrap counter is that of a packed one. */
interface Place {
  next: number;
  wrap: boolean;
}

const TURN = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
/** Bytes that a chain has at most. */
const CHAIN_BYTES = 2 ** 32 - 1;

/**
 * What both sides have to make of a ring, written a second time from the specification, in the plainest way. It reads the
 * same memory, and keeps what a side has to keep.
 */
export class Reference {
  readonly device: Place = { next: 0, wrap: true };
  readonly driver: Place = { next: 0, wrap: true };
  /** By id: places of the ring that the device's chains take. */
  readonly held = new Map<number, number>();
  /** By id, oldest first: what the driver gave. */
  readonly out = new Map<number, { readonly count: number; readonly writable: number }>();
  /** IN_ORDER: the last chain of a used batch that is not polled to its end. */
  batch: { readonly id: number; readonly written: number } | undefined;
  readonly rig: Rig;
  readonly options: RigOptions;
  readonly #view: DataView;

  constructor(rig: Rig, options: RigOptions) {
    this.rig = rig;
    this.options = options;
    this.#view = new DataView(rig.arena.handle.memory.buffer);
  }

  reset(): void {
    Object.assign(this.device, { next: 0, wrap: true });
    Object.assign(this.driver, { next: 0, wrap: true });
    this.held.clear();
    this.out.clear();
    this.batch = undefined;
  }

  /**
   * The chains that a device takes into a list with room for `max` chains and `room` segments, and what it may break with
   * behind them: one of `codes`, or nothing when there are none. With `full` the next chain may wait for room, too.
   */
  take(max: number, room: number): { chains: Expected[]; codes: Set<number>; full: boolean } {
    const { size, layout } = this.options;
    const chains: Expected[] = [];
    let ready = Number.POSITIVE_INFINITY;
    if (layout === 'split') {
      ready = (this.#view.getUint16(this.rig.rings.driverArea + 2, true) - this.device.next) & 0xffff;
      if (ready > size) return { chains, codes: new Set([VQ_BROKEN_INDEX]), full: false };
    }
    let left = room;
    while (chains.length < Math.min(ready, max)) {
      const walk = new Walk(this);
      const id = layout === 'split' ? walk.split() : walk.packed();
      if (id === undefined && walk.codes.size === 0) break;
      const full = walk.segments.length > left;
      if (walk.codes.size > 0 || full) return { chains, codes: walk.codes, full };
      left -= walk.segments.length;
      const [readable, writable] = [false, true].map((kind) =>
        walk.segments
          .filter((segment) => segment.writable === kind)
          .map(({ address, length }) => ({ address, length })),
      ) as [Segment[], Segment[]];
      chains.push({ id: id as number, readable, writable });
      this.held.set(id as number, walk.places);
      this.move(this.device, layout === 'split' ? 1 : walk.places);
    }
    return { chains, codes: new Set(), full: false };
  }

  /** The records that a driver polls, at most `max`, and what it breaks with behind them; 0 when with nothing. */
  poll(max: number): { records: [id: number, written: number][]; code: number } {
    const { layout, size, inOrder = false } = this.options;
    const records: [number, number][] = [];
    let ready = Number.POSITIVE_INFINITY;
    if (layout === 'split') {
      ready = (this.#view.getUint16(this.rig.rings.deviceArea + 2, true) - this.driver.next) & 0xffff;
      if (ready > size) return { records, code: VQ_BROKEN_INDEX };
    }
    while (records.length < Math.min(ready, max)) {
      if (this.batch === undefined) {
        const used = this.#used();
        if (used === undefined) break;
        const chain = this.out.get(used.id);
        if (used.id >= size) return { records, code: VQ_BROKEN_ID };
        if (chain === undefined) return { records, code: VQ_BROKEN_ID_STATE };
        if (used.written > chain.writable) return { records, code: VQ_BROKEN_LENGTH };
        this.batch = used;
      }
      const id = inOrder ? (this.out.keys().next().value as number) : this.batch.id;
      const chain = this.out.get(id) as { count: number; writable: number };
      records.push([id, id === this.batch.id ? this.batch.written : chain.writable]);
      if (id === this.batch.id) this.batch = undefined;
      this.out.delete(id);
      this.move(this.driver, layout === 'split' ? 1 : chain.count);
    }
    return { records, code: this.batch !== undefined && records.length === ready ? VQ_BROKEN_INDEX : 0 };
  }

  /** Descriptor `index` of a table, which may lie at any address. */
  descriptor(table: number, index: number): RawDescriptor {
    const at = table + index * 16;
    const [first, second] = [this.#view.getUint16(at + 12, true), this.#view.getUint16(at + 14, true)];
    const [flags, link] = this.options.layout === 'split' ? [first, second] : [second, first];
    return { guest: this.#view.getBigUint64(at, true), length: this.#view.getUint32(at + 8, true), flags, link };
  }

  move(place: Place, count: number): void {
    const { layout, size } = this.options;
    place.next += count;
    if (layout === 'split') place.next &= 0xffff;
    else if (place.next >= size) {
      place.next -= size;
      place.wrap = !place.wrap;
    }
  }

  /** The used element or descriptor at the driver's place; undefined when there is none. */
  #used(): { id: number; written: number } | undefined {
    const { rings, arena } = this.rig;
    if (this.options.layout === 'split') {
      const at = rings.deviceArea + 4 + (this.driver.next % this.options.size) * 8;
      return { id: arena.u32[at >>> 2] as number, written: arena.u32[(at + 4) >>> 2] as number };
    }
    const { flags, link, length } = this.descriptor(rings.descriptors, this.driver.next);
    if ((flags & TURN) !== (this.driver.wrap ? TURN : 0)) return undefined;
    return { id: link, written: flags & VIRTQ_DESC_F_WRITE ? length : 0 };
  }
}

/** One chain. All rules that it breaks are found, as far as it can be followed: an implementation may see any one first. */
class Walk {
  readonly segments: (Segment & { readonly writable: boolean })[] = [];
  readonly codes = new Set<number>();
  places = 1;
  readonly #reference: Reference;

  constructor(reference: Reference) {
    this.#reference = reference;
  }

  #fail(code: number): undefined {
    this.codes.add(code);
    return undefined;
  }

  #checkId(id: number): void {
    if (id >= this.#reference.options.size) this.#fail(VQ_BROKEN_ID);
    if (this.#reference.held.has(id)) this.#fail(VQ_BROKEN_ID_STATE);
  }

  #segment(guest: bigint, length: number, writable: boolean): void {
    const { rig } = this.#reference;
    if (this.segments.length === rig.device.chainMax) this.#fail(VQ_BROKEN_CHAIN);
    if (!writable && this.segments.some((segment) => segment.writable)) this.#fail(VQ_BROKEN_ORDER);
    const address = rig.addressOf(guest, length);
    if (address === undefined) this.#fail(VQ_BROKEN_ADDRESS);
    const total = this.segments.reduce((sum, segment) => sum + segment.length, length);
    if (total > CHAIN_BYTES) this.#fail(VQ_BROKEN_LENGTH);
    this.segments.push({ address: address ?? 0, length, writable });
  }

  /** The table that a descriptor refers to. */
  #table(guest: bigint, length: number, flags: number): { address: number; entries: number } | undefined {
    if ((this.#reference.options.indirect ?? 0) === 0 || flags & VIRTQ_DESC_F_NEXT) this.#fail(VQ_BROKEN_INDIRECT);
    if (length === 0 || length % 16 !== 0) this.#fail(VQ_BROKEN_INDIRECT);
    const address = this.#reference.rig.addressOf(guest, length);
    if (address === undefined) this.#fail(VQ_BROKEN_ADDRESS);
    return this.codes.size > 0 ? undefined : { address: address as number, entries: length / 16 };
  }

  /** Returns the id; undefined when the chain cannot be followed to its end. */
  split(): number | undefined {
    const { rig, options, device } = this.#reference;
    const { size } = options;
    const head = rig.arena.u16[(rig.rings.driverArea + 4 + (device.next % size) * 2) >>> 1] as number;
    this.#checkId(head);
    if (this.codes.size > 0) return undefined;
    let table = { address: rig.rings.descriptors, entries: size };
    let at = head;
    for (let nested = false; ; ) {
      const { guest, length, flags, link } = this.#reference.descriptor(table.address, at);
      if (flags & VIRTQ_DESC_F_INDIRECT) {
        if (nested) return this.#fail(VQ_BROKEN_INDIRECT);
        const inner = this.#table(guest, length, flags);
        if (inner === undefined) return undefined;
        table = inner;
        at = 0;
        nested = true;
        continue;
      }
      this.#segment(guest, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      if (this.segments.length > rig.device.chainMax) return undefined;
      if (!(flags & VIRTQ_DESC_F_NEXT)) return head;
      // What was one too many is known already when the chain would go on.
      if (link >= table.entries) return this.#fail(VQ_BROKEN_NEXT);
      at = link;
      if (this.segments.length === rig.device.chainMax) this.#fail(VQ_BROKEN_CHAIN);
    }
  }

  /** As `split`. Undefined without codes: no chain is there. */
  packed(): number | undefined {
    const { rig, options, device, held } = this.#reference;
    const { size } = options;
    const busy = [...held.values()].reduce((sum, count) => sum + count, 0);
    let at = device.next;
    for (this.places = 1; ; this.places++) {
      const { guest, length, flags, link } = this.#reference.descriptor(rig.rings.descriptors, at);
      if (this.places === 1) {
        if ((flags & TURN) !== (device.wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED)) return undefined;
      }
      if (this.places > size) return this.#fail(VQ_BROKEN_CHAIN);
      if (this.places > size - busy) return this.#fail(VQ_BROKEN_INDEX);
      if (flags & VIRTQ_DESC_F_INDIRECT) {
        if (this.places > 1) return this.#fail(VQ_BROKEN_INDIRECT);
        const table = this.#table(guest, length, flags);
        if (table === undefined) return undefined;
        for (let i = 0; i < table.entries && this.segments.length <= rig.device.chainMax; i++) {
          const inner = this.#reference.descriptor(table.address, i);
          if (inner.flags & VIRTQ_DESC_F_INDIRECT) return this.#fail(VQ_BROKEN_INDIRECT);
          this.#segment(inner.guest, inner.length, (inner.flags & VIRTQ_DESC_F_WRITE) !== 0);
        }
      } else {
        this.#segment(guest, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      }
      if (!(flags & VIRTQ_DESC_F_NEXT)) {
        this.#checkId(link);
        return link;
      }
      at = at + 1 === size ? 0 : at + 1;
    }
  }
}
