import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  VIRTQ_AREA_IDX,
  VQ_F_DRIVER,
  VQ_F_PACKED,
  VQ_FEATURES,
  VQ_FREE,
  VQ_GIVE,
  VQ_GIVE_WRAP,
  VQ_OWN_AREA,
  VQ_PEER_AREA,
  VQ_SIZE,
  VQ_TAKE,
  VQ_TAKE_WRAP,
} from './layout.ts';
import { findPlace, returnMissed } from './resume.ts';

/** The words of a side that say where it is. The driver gives available descriptors and takes used ones. */
function placesOf(arena: Arena, queue: number) {
  const get = (offset: number): number => arena.u32[(queue + offset) >>> 2] ?? 0;
  const features = get(VQ_FEATURES);
  const driver = (features & VQ_F_DRIVER) !== 0;
  return {
    get,
    set(offset: number, value: number) {
      arena.u32[(queue + offset) >>> 2] = value;
    },
    driver,
    packed: (features & VQ_F_PACKED) !== 0,
    size: get(VQ_SIZE),
    avail: driver ? VQ_GIVE : VQ_TAKE,
    availWrap: driver ? VQ_GIVE_WRAP : VQ_TAKE_WRAP,
    used: driver ? VQ_TAKE : VQ_GIVE,
    usedWrap: driver ? VQ_TAKE_WRAP : VQ_GIVE_WRAP,
    /** The area whose index counts used elements. */
    usedArea: get(driver ? VQ_PEER_AREA : VQ_OWN_AREA),
  };
}

/**
 * Where the side whose state is at `queue` goes on, as vhost-user's VRING_BASE has it. Split: the available index. Packed:
 * bits 0-14 the next available place, 15 its wrap counter, 16-30 the next used place, 31 its wrap counter.
 */
export function readBase(arena: Arena, queue: number): number {
  const { get, packed, avail, availWrap, used, usedWrap } = placesOf(arena, queue);
  if (!packed) return get(avail);
  return (get(avail) | (get(availWrap) << 15) | (get(used) << 16) | (get(usedWrap) << 31)) >>> 0;
}

/**
 * A packed base as it stands, or, where the used half is zero as DPDK's virtio-user leaves it, with used made available's
 * place. Used place 0 of wrap counter 0 goes with an available place of wrap counter 1 in one case only: 0x8000 is also a
 * ring that is all out. Its chains are nobody's any more, so read as nothing out it loses none.
 */
function withUsedHalf(base: number): number {
  return base >>> 15 === 1 ? (base | (base << 16)) >>> 0 : base;
}

/**
 * Makes a side that was just reset go on from `base`, as `readBase` gives it. When split, the used index is the ring's. What
 * lies between used and available is out with nobody: a device never returns it. A packed base that has nothing out may be
 * one from before a device that died: its device goes on from where the ring says, if the ring says it, and chains
 * that the ring shows as passed over are lost; but not when it is tracked, since then the inflight region says both.
 * @throws RingwayError `BAD_ARGUMENT` for places that the queue does not have, more out than it holds, or a driver's base
 *   with anything out: nobody would know its buffers.
 */
export function writeBase(arena: Arena, queue: number, name: string, base: number, isTracked: boolean): void {
  const { set, driver, packed, size, usedArea, ...at } = placesOf(arena, queue);
  const refuse = (reason: string): RingwayError =>
    new RingwayError('BAD_ARGUMENT', `${name}: base ${base} (0x${base.toString(16)}): ${reason}`);
  const limit = packed ? 0xffff_ffff : 0xffff;
  if (!Number.isInteger(base) || base < 0 || base > limit) throw refuse(`must be a whole number from 0 to ${limit}`);
  const whole = packed && !driver ? withUsedHalf(base) : base;
  const avail = packed ? whole & 0x7fff : whole;
  const used = packed ? (whole >>> 16) & 0x7fff : (arena.u16[(usedArea + VIRTQ_AREA_IDX) >>> 1] ?? 0);
  const [availWrap, usedWrap] = [(whole >>> 15) & 1, whole >>> 31];
  if (packed && (avail >= size || used >= size)) {
    throw refuse(`available place ${avail} and used place ${used} must be below the size, ${size}`);
  }
  const laps = availWrap === usedWrap ? 0 : size;
  const out = packed ? avail + laps - used : (avail - used) & 0xffff;
  if (out < 0 || out > size) throw refuse(`available ${avail} and used ${used} are not within ${size} of each other`);
  if (driver && out > 0) {
    throw refuse(`${out} are out between available ${avail} and used ${used}; a driver starts with none`);
  }
  set(VQ_FREE, size - out);
  if (!packed) {
    set(at.avail, avail);
    set(at.used, used);
    return;
  }
  const found = driver || out > 0 || isTracked ? undefined : findPlace(arena, queue);
  if (found !== undefined) returnMissed(arena, queue, found.missed);
  const start = found === undefined ? whole : found.place | (found.place << 16);
  set(at.avail, start & 0x7fff);
  set(at.availWrap, (start >>> 15) & 1);
  set(at.used, (start >>> 16) & 0x7fff);
  set(at.usedWrap, start >>> 31);
}

/**
 * What a driver writes to notify the device about its queue `index` when VIRTIO_F_NOTIFICATION_DATA was negotiated (2.9,
 * 2.7.23): bits 0-15 the queue, 16-30 next_off, 31 next_wrap. Split: the available index in place of both.
 */
export function notificationData(arena: Arena, queue: number, index: number): number {
  const { get, packed, avail, availWrap } = placesOf(arena, queue);
  const next = packed ? get(avail) | (get(availWrap) << 15) : get(avail);
  return ((index & 0xffff) | (next << 16)) >>> 0;
}
