import type { Arena } from '../memory/arena.ts';
import { alignUp } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import {
  INFLIGHT_COUNTER,
  INFLIGHT_ENTRIES,
  INFLIGHT_FEATURES,
  INFLIGHT_INFLIGHT,
  INFLIGHT_PACKED,
  INFLIGHT_PACKED_FREE,
  INFLIGHT_PACKED_NEXT,
  INFLIGHT_PACKED_NUM,
  INFLIGHT_PACKED_OLD_FREE,
  INFLIGHT_PACKED_SHIFT,
  INFLIGHT_PLACES,
  INFLIGHT_SPLIT,
  INFLIGHT_SPLIT_LAST_HEAD,
  INFLIGHT_SPLIT_NEXT,
  INFLIGHT_SPLIT_SHIFT,
  INFLIGHT_SPLIT_USED_IDX,
  INFLIGHT_VERSION,
  VIRTQ_AREA_IDX,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_SHIFT,
  VIRTQ_DESC_WORD,
  VQ_AGAIN,
  VQ_COUNTER,
  VQ_DESCRIPTORS,
  VQ_F_PACKED,
  VQ_FEATURES,
  VQ_FREE,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_ID_NEXT,
  VQ_ID_SHIFT,
  VQ_IDS,
  VQ_INFLIGHT,
  VQ_OWN_AREA,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import type { VirtqueueLayout } from './rings.ts';

/** Regions of several queues lie behind each other, each on lines of its own. */
const ALIGN = 64;
const VERSION = 1;

/** Bytes of a queue's inflight region: a multiple of 64. */
export function inflightBytes(layout: VirtqueueLayout, size: number): number {
  const bytes =
    layout === 'split'
      ? INFLIGHT_SPLIT + (size << INFLIGHT_SPLIT_SHIFT)
      : INFLIGHT_PACKED + (size << INFLIGHT_PACKED_SHIFT);
  return alignUp(bytes, ALIGN);
}

/** A queue's state, its ring and its region, word by word. */
function accessTo(arena: Arena, queue: number, region: number) {
  const { u8, u16, u32 } = arena;
  const u64 = new BigUint64Array(u8.buffer);
  const get = (offset: number): number => u32[(queue + offset) >>> 2] ?? 0;
  const packed = (get(VQ_FEATURES) & VQ_F_PACKED) !== 0;
  const [first, shift] = packed ? [INFLIGHT_PACKED, INFLIGHT_PACKED_SHIFT] : [INFLIGHT_SPLIT, INFLIGHT_SPLIT_SHIFT];
  return {
    get,
    set(offset: number, value: number) {
      u32[(queue + offset) >>> 2] = value;
    },
    packed,
    size: get(VQ_SIZE),
    half: (offset: number): number => u16[(region + offset) >>> 1] ?? 0,
    setHalf(offset: number, value: number) {
      u16[(region + offset) >>> 1] = value;
    },
    entry: (index: number): number => first + (index << shift),
    isInflight: (index: number): boolean => u8[region + first + (index << shift) + INFLIGHT_INFLIGHT] !== 0,
    clear(index: number) {
      u8[region + first + (index << shift) + INFLIGHT_INFLIGHT] = 0;
    },
    counter: (index: number): bigint => u64[(region + first + (index << shift) + INFLIGHT_COUNTER) >>> 3] ?? 0n,
    places: (): bigint => u64[(region + INFLIGHT_PLACES) >>> 3] ?? 0n,
    /** Used place and wrap counter and the old ones, in one write. */
    setPlaces(place: number, wrap: number) {
      const words = BigInt(place) | (BigInt(wrap) << 32n);
      u64[(region + INFLIGHT_PLACES) >>> 3] = words | ((words << 16n) & 0xffff_0000n) | (BigInt(wrap) << 40n);
    },
    setCounter(value: bigint) {
      u64[(queue + VQ_COUNTER) >>> 3] = value;
    },
  };
}

type Access = ReturnType<typeof accessTo>;

/** A region as of a queue that goes on from where it is, with nothing inflight. The version last: it makes it one. */
function initialise(arena: Arena, region: number, access: Access): void {
  const { packed, size, get, setHalf, setPlaces, entry } = access;
  arena.u8.fill(0, region, region + inflightBytes(packed ? 'packed' : 'split', size));
  setHalf(INFLIGHT_ENTRIES, size);
  if (packed) {
    // The last is followed by none: an index that there is not.
    for (let i = 0; i < size; i++) setHalf(entry(i) + INFLIGHT_PACKED_NEXT, i + 1);
    setPlaces(get(VQ_GIVE), get(VQ_GIVE_WRAP));
  } else {
    setHalf(INFLIGHT_SPLIT_USED_IDX, get(VQ_GIVE));
  }
  setHalf(INFLIGHT_VERSION, VERSION);
}

type Refuse = (reason: string) => RingwayError;

/** Split: finishes the return of the last batch. Returns the used index. */
function settleSplit(arena: Arena, access: Access, refuse: Refuse): number {
  const { get, half, setHalf, size, entry, clear } = access;
  const idx = arena.u16[(get(VQ_OWN_AREA) + VIRTQ_AREA_IDX) >>> 1] ?? 0;
  const batch = (idx - half(INFLIGHT_SPLIT_USED_IDX)) & 0xffff;
  if (batch > size)
    throw refuse(`used index ${half(INFLIGHT_SPLIT_USED_IDX)} is not within ${size} of the ring's, ${idx}`);
  let head = half(INFLIGHT_SPLIT_LAST_HEAD);
  for (let left = batch; left > 0; left--) {
    if (head >= size) throw refuse(`head ${head}, must be below the size, ${size}`);
    clear(head);
    head = half(entry(head) + INFLIGHT_SPLIT_NEXT);
  }
  setHalf(INFLIGHT_SPLIT_USED_IDX, idx);
  return idx;
}

/** AVAIL and USED of a descriptor's word, and those of one that is available at wrap counter `wrap` (2.7.1). */
const turnOf = (word: number): number => (word >>> 16) & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
const availableAt = (wrap: number): number => (wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);

/** Packed: finishes the return of the last batch, or undoes what was begun. Returns used place and wrap counter. */
function settlePacked(arena: Arena, access: Access, refuse: Refuse): { place: number; wrap: number } {
  const { get, size, half, setHalf, places, setPlaces, entry, clear } = access;
  const words = places();
  const at = (shift: bigint, mask: bigint): number => Number((words >> shift) & mask);
  const now = { place: at(0n, 0xffffn), wrap: at(32n, 0xffn) };
  const old = { place: at(16n, 0xffffn), wrap: at(40n, 0xffn) };
  if (Math.max(now.place, old.place) >= size || Math.max(now.wrap, old.wrap) > 1) {
    throw refuse(`used places ${old.place} and ${now.place} must be below the size, ${size}, wrap counters 0 or 1`);
  }
  // Of the batch's descriptors the first is published last. The driver may have used its place again since.
  const word = arena.u32[(get(VQ_DESCRIPTORS) + (old.place << VIRTQ_DESC_SHIFT) + VIRTQ_DESC_WORD) >>> 2] ?? 0;
  const moved = now.place !== old.place || now.wrap !== old.wrap;
  const published = moved && turnOf(word) !== availableAt(old.wrap);
  if (published) setHalf(INFLIGHT_PACKED_OLD_FREE, half(INFLIGHT_PACKED_FREE));
  else setHalf(INFLIGHT_PACKED_FREE, half(INFLIGHT_PACKED_OLD_FREE));
  const used = published ? now : old;
  setPlaces(used.place, used.wrap);
  let free = half(INFLIGHT_PACKED_FREE);
  for (let i = 0; i < size && free < size; i++) {
    clear(free);
    free = half(entry(free) + INFLIGHT_PACKED_NEXT);
  }
  if (free < size) throw refuse('free entries go round');
  return used;
}

/**
 * Packed: makes the `count` descriptors from the used place on available again. A batch that was not published may have
 * left used ones there, which the driver would take for returned as soon as the one before them is.
 */
function takeBack(arena: Arena, { get, size }: Access, place: number, wrap: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const lap = place + i < size ? wrap : wrap ^ 1;
    const at = (get(VQ_DESCRIPTORS) + (((place + i) % size) << VIRTQ_DESC_SHIFT) + VIRTQ_DESC_WORD) >>> 2;
    const word = arena.u32[at] ?? 0;
    const used = lap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    if (turnOf(word) === used) arena.u32[at] = word ^ (((used ^ availableAt(lap)) << 16) >>> 0);
  }
}

/**
 * Has the device's side whose state is at `queue`, which was started and has taken nothing, track its chains in the region
 * at `region`. One that was used before says where it goes on, whatever base it was started from, and which chains a device
 * had taken and not returned: they are taken again, in their order, before others. Run once more when it did not end.
 * @throws RingwayError `BAD_ARGUMENT` for a region that this queue cannot have; its contents are not ours.
 */
export function startInflight(arena: Arena, queue: number, name: string, region: number): void {
  const access = accessTo(arena, queue, region);
  const { set, packed, size, half, entry, isInflight, counter } = access;
  const refuse: Refuse = (reason) =>
    new RingwayError('BAD_ARGUMENT', `${name}: inflight region at ${region}: ${reason}`);
  const bytes = inflightBytes(packed ? 'packed' : 'split', size);
  if (
    !Number.isSafeInteger(region) ||
    region % ALIGN !== 0 ||
    region < arena.handle.base ||
    region + bytes > arena.bytes
  ) {
    throw refuse(`must be a multiple of ${ALIGN}, with ${bytes} bytes in the arena`);
  }
  const version = half(INFLIGHT_VERSION);
  if (version === 0) {
    initialise(arena, region, access);
    set(VQ_INFLIGHT, region);
    return;
  }
  const features = [0, 2, 4, 6].some((offset) => half(INFLIGHT_FEATURES + offset) !== 0);
  if (version !== VERSION || features || half(INFLIGHT_ENTRIES) !== size) {
    throw refuse(`must have version ${VERSION}, no features and ${size} entries`);
  }
  const used = packed ? settlePacked(arena, access, refuse) : { place: settleSplit(arena, access, refuse), wrap: 0 };
  const again = Array.from({ length: size }, (_, index) => index)
    .filter(isInflight)
    .map((index) => ({ index, counter: counter(index), num: packed ? half(entry(index) + INFLIGHT_PACKED_NUM) : 1 }))
    .sort((a, b) => (a.counter < b.counter ? -1 : a.counter > b.counter ? 1 : 0));
  const out = again.reduce((sum, { num }) => sum + num, 0);
  if (out > size) throw refuse(`${out} descriptors are inflight, of ${size}`);
  set(VQ_GIVE, used.place);
  set(VQ_FREE, size);
  if (packed) {
    const past = used.place + out >= size;
    set(VQ_GIVE_WRAP, used.wrap);
    set(VQ_TAKE, used.place + out - (past ? size : 0));
    set(VQ_TAKE_WRAP, past ? used.wrap ^ 1 : used.wrap);
    takeBack(arena, access, used.place, used.wrap, out);
  } else {
    set(VQ_TAKE, (used.place + out) & 0xffff);
  }
  let next = 0;
  for (const { index } of again.toReversed()) {
    set(VQ_IDS + (index << VQ_ID_SHIFT) + VQ_ID_NEXT, next);
    next = index + 1;
  }
  set(VQ_AGAIN, next);
  access.setCounter(BigInt.asUintN(64, (again.at(-1)?.counter ?? -1n) + 1n));
  set(VQ_INFLIGHT, region);
}
