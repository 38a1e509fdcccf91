import { chainAt } from './chain.kernel.ts';
import {
  BLOCK_CAPACITY,
  BLOCK_DATA,
  BLOCK_DISCARDS,
  BLOCK_F_DISCARD,
  BLOCK_F_FLUSH,
  BLOCK_F_RO,
  BLOCK_F_WRITE_ZEROES,
  BLOCK_FLAGS,
  BLOCK_FLUSHES,
  BLOCK_HEADER_LENGTH,
  BLOCK_ID,
  BLOCK_ID_LENGTH,
  BLOCK_IDENTIFIES,
  BLOCK_IMAGE,
  BLOCK_IO_ERRORS,
  BLOCK_MALFORMED,
  BLOCK_NO_STATUS,
  BLOCK_RANGE_COUNT,
  BLOCK_RANGE_F_UNMAP,
  BLOCK_RANGE_FLAGS,
  BLOCK_RANGE_SECTOR,
  BLOCK_RANGE_SECTORS,
  BLOCK_RANGE_SHIFT,
  BLOCK_RANGES,
  BLOCK_READ_BYTES,
  BLOCK_READS,
  BLOCK_SECTOR,
  BLOCK_SECTOR_SHIFT,
  BLOCK_TYPE,
  BLOCK_UNSUPPORTED,
  BLOCK_WRITE_ZEROES,
  BLOCK_WRITES,
  BLOCK_WRITTEN_BYTES,
  CHAIN_ID,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_ID,
  USED_LENGTH,
  USED_SHIFT,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_FLUSH_OUT,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './layout.ts';

const SECTOR_MASK: u32 = 511;

/** Copies `n` bytes between `linear` and the segments from `segment` on, of which `skip` bytes are passed over. */
function move(segment: u32, skip: u32, n: u32, linear: u32, gather: bool): void {
  let left = n;
  let over = skip;
  while (left > 0) {
    const length = load<u32>(segment, SEGMENT_LENGTH);
    if (over >= length) {
      over -= length;
    } else {
      const at = load<u32>(segment, SEGMENT_ADDRESS) + over;
      const part = min(length - over, left);
      over = 0;
      if (gather) memory.copy(linear, at, part);
      else memory.copy(at, linear, part);
      linear += part;
      left -= part;
    }
    segment += 1 << SEGMENT_SHIFT;
  }
}

/** Address of the chain's first writable segment. */
function writables(chain: u32): u32 {
  return load<u32>(chain, CHAIN_SEGMENTS) + (load<u32>(chain, CHAIN_READABLE) << SEGMENT_SHIFT);
}

/** Address of the status byte, the last that is writable (5.2.6); 0 when none is. Segments may be empty. */
function statusPlace(chain: u32): u32 {
  const first = writables(chain);
  let segment = first + (load<u32>(chain, CHAIN_WRITABLE) << SEGMENT_SHIFT);
  while (segment > first) {
    segment -= 1 << SEGMENT_SHIFT;
    const length = load<u32>(segment, SEGMENT_LENGTH);
    if (length > 0) return load<u32>(segment, SEGMENT_ADDRESS) + length - 1;
  }
  return 0;
}

/** 5.2.6.1: nothing beyond the capacity. Subtractions only: a sum could wrap. */
function isInside(state: u32, sector: u64, sectors: u64): bool {
  const capacity = load<u64>(state, BLOCK_CAPACITY);
  return sector <= capacity && sectors <= capacity - sector;
}

function hasFlag(state: u32, flag: u32): bool {
  return (load<u32>(state, BLOCK_FLAGS) & flag) !== 0;
}

/** Copies the header, once: the driver may be writing there. The chain has so many readable bytes. */
function copyHeader(state: u32, chain: u32): void {
  const segment = load<u32>(chain, CHAIN_SEGMENTS);
  if (load<u32>(segment, SEGMENT_LENGTH) < BLOCK_HEADER_LENGTH) {
    move(segment, 0, BLOCK_HEADER_LENGTH, state + BLOCK_TYPE, true);
    return;
  }
  const at = load<u32>(segment, SEGMENT_ADDRESS);
  store<u64>(state + BLOCK_TYPE, load<u64>(at));
  store<u64>(state + BLOCK_SECTOR, load<u64>(at + 8));
}

/** What a read or a write of `bytes` bytes is answered when it cannot be carried out; else OK. */
function checkTransfer(state: u32, bytes: u32): u32 {
  store<u32>(state, bytes, BLOCK_DATA);
  // 5.2.6.1: whole sectors.
  if (bytes & SECTOR_MASK) return VIRTIO_BLK_S_IOERR;
  const inside = isInside(state, load<u64>(state, BLOCK_SECTOR), bytes >> BLOCK_SECTOR_SHIFT);
  return inside ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

/** The same for a discard or write-zeroes request with `bytes` bytes of ranges, which are not looked at yet. */
function checkRanges(state: u32, bytes: u32, feature: u32): u32 {
  store<u32>(state, bytes, BLOCK_DATA);
  if (!hasFlag(state, feature)) return VIRTIO_BLK_S_UNSUPP;
  if (hasFlag(state, BLOCK_F_RO)) return VIRTIO_BLK_S_IOERR;
  // 5.2.6.1: whole ranges, and not more than allowed.
  const ranges = bytes >> BLOCK_RANGE_SHIFT;
  const whole = ranges << BLOCK_RANGE_SHIFT === bytes;
  return whole && ranges > 0 && ranges <= load<u32>(state, BLOCK_RANGES) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

function checkChain(state: u32, chain: u32): u32 {
  const written = load<u32>(chain, CHAIN_WRITABLE_BYTES);
  const read = load<u32>(chain, CHAIN_READABLE_BYTES);
  if (written === 0) return BLOCK_NO_STATUS;
  if (read < BLOCK_HEADER_LENGTH) return VIRTIO_BLK_S_IOERR;
  copyHeader(state, chain);
  const type = load<u32>(state, BLOCK_TYPE);
  if (type === VIRTIO_BLK_T_IN) return checkTransfer(state, written - 1);
  const data = read - BLOCK_HEADER_LENGTH;
  if (type === VIRTIO_BLK_T_OUT) {
    // 5.2.6.2: nothing is written to a read-only device.
    return hasFlag(state, BLOCK_F_RO) ? VIRTIO_BLK_S_IOERR : checkTransfer(state, data);
  }
  if (type === VIRTIO_BLK_T_FLUSH || type === VIRTIO_BLK_T_FLUSH_OUT) {
    return hasFlag(state, BLOCK_F_FLUSH) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP;
  }
  if (type === VIRTIO_BLK_T_GET_ID) return written - 1 === BLOCK_ID_LENGTH ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
  if (type === VIRTIO_BLK_T_DISCARD) return checkRanges(state, data, BLOCK_F_DISCARD);
  if (type === VIRTIO_BLK_T_WRITE_ZEROES) return checkRanges(state, data, BLOCK_F_WRITE_ZEROES);
  return VIRTIO_BLK_S_UNSUPP;
}

/**
 * Looks at the request in chain `index` of `list`, and copies its header. Returns VIRTIO_BLK_S_OK when it can be carried
 * out, the status that it is answered with when not, or BLOCK_NO_STATUS.
 */
export function check(state: u32, list: u32, index: u32): u32 {
  return checkChain(state, chainAt(list, index));
}

function loadRange(state: u32, chain: u32, range: u32): u32 {
  const skip = BLOCK_HEADER_LENGTH + (range << BLOCK_RANGE_SHIFT);
  const target = state + BLOCK_RANGE_SECTOR;
  move(load<u32>(chain, CHAIN_SEGMENTS), skip, 1 << BLOCK_RANGE_SHIFT, target, true);
  const flags = load<u32>(state, BLOCK_RANGE_FLAGS);
  // 5.2.6.2: flags that are not known, and for a discard the one that is.
  const known: u32 = load<u32>(state, BLOCK_TYPE) === VIRTIO_BLK_T_WRITE_ZEROES ? BLOCK_RANGE_F_UNMAP : 0;
  if (flags & ~known) return VIRTIO_BLK_S_UNSUPP;
  const count = load<u32>(state, BLOCK_RANGE_COUNT);
  const fits = count <= load<u32>(state, BLOCK_RANGE_SECTORS);
  return fits && isInside(state, load<u64>(state, BLOCK_RANGE_SECTOR), count) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

/**
 * Copies range `range` of the discard or write-zeroes request that `check` found good to BLOCK_RANGE_…, and checks the
 * copy. Returns VIRTIO_BLK_S_OK or the status that the request is answered with.
 */
export function range(state: u32, list: u32, index: u32, range: u32): u32 {
  return loadRange(state, chainAt(list, index), range);
}

function count(state: u32, counter: u32, by: u32): void {
  store<u64>(state + counter, load<u64>(state + counter) + by);
}

/** Counts a request that was carried out. Returns the bytes of data that the device wrote into its chain. */
function countDone(state: u32): u32 {
  const type = load<u32>(state, BLOCK_TYPE);
  const bytes = load<u32>(state, BLOCK_DATA);
  if (type === VIRTIO_BLK_T_IN) {
    count(state, BLOCK_READS, 1);
    count(state, BLOCK_READ_BYTES, bytes);
    return bytes;
  }
  if (type === VIRTIO_BLK_T_GET_ID) {
    count(state, BLOCK_IDENTIFIES, 1);
    return BLOCK_ID_LENGTH;
  }
  if (type === VIRTIO_BLK_T_OUT) {
    count(state, BLOCK_WRITES, 1);
    count(state, BLOCK_WRITTEN_BYTES, bytes);
  } else if (type === VIRTIO_BLK_T_DISCARD) {
    count(state, BLOCK_DISCARDS, 1);
  } else if (type === VIRTIO_BLK_T_WRITE_ZEROES) {
    count(state, BLOCK_WRITE_ZEROES, 1);
  } else {
    count(state, BLOCK_FLUSHES, 1);
  }
  return 0;
}

function finishChain(state: u32, chain: u32, status: u32, record: u32): void {
  store<u32>(record, load<u32>(chain, CHAIN_ID), USED_ID);
  if (status === BLOCK_NO_STATUS) {
    count(state, BLOCK_MALFORMED, 1);
    store<u32>(record, 0, USED_LENGTH);
    return;
  }
  // The status alone when the request failed: the data before it is not the device's then.
  let written: u32 = 1;
  if (status === VIRTIO_BLK_S_OK) written += countDone(state);
  else count(state, status === VIRTIO_BLK_S_UNSUPP ? BLOCK_UNSUPPORTED : BLOCK_IO_ERRORS, 1);
  store<u8>(statusPlace(chain), <u8>status);
  store<u32>(record, written, USED_LENGTH);
}

/**
 * Answers the request in chain `index` of `list`, the one that `check` looked at last, with `status`, counts it, and
 * writes its record to place `index` of `used`.
 */
export function finish(state: u32, list: u32, index: u32, status: u32, used: u32): void {
  finishChain(state, chainAt(list, index), status, used + (index << USED_SHIFT));
}

/** Zeroes the ranges of the request, one after another. Returns the status of the first that is refused, else OK. */
function zeroRanges(state: u32, chain: u32): u32 {
  const ranges = load<u32>(state, BLOCK_DATA) >> BLOCK_RANGE_SHIFT;
  for (let i: u32 = 0; i < ranges; i++) {
    const status = loadRange(state, chain, i);
    if (status !== VIRTIO_BLK_S_OK) return status;
    const at = load<u32>(state, BLOCK_IMAGE) + ((<u32>load<u64>(state, BLOCK_RANGE_SECTOR)) << BLOCK_SECTOR_SHIFT);
    memory.fill(at, 0, load<u32>(state, BLOCK_RANGE_COUNT) << BLOCK_SECTOR_SHIFT);
  }
  return VIRTIO_BLK_S_OK;
}

/** Carries out the request that `checkChain` found good, on the memory image. Returns its status. */
function carryOut(state: u32, chain: u32): u32 {
  const type = load<u32>(state, BLOCK_TYPE);
  const at = load<u32>(state, BLOCK_IMAGE) + ((<u32>load<u64>(state, BLOCK_SECTOR)) << BLOCK_SECTOR_SHIFT);
  if (type === VIRTIO_BLK_T_IN) {
    move(writables(chain), 0, load<u32>(state, BLOCK_DATA), at, false);
  } else if (type === VIRTIO_BLK_T_OUT) {
    move(load<u32>(chain, CHAIN_SEGMENTS), BLOCK_HEADER_LENGTH, load<u32>(state, BLOCK_DATA), at, true);
  } else if (type === VIRTIO_BLK_T_GET_ID) {
    move(writables(chain), 0, BLOCK_ID_LENGTH, state + BLOCK_ID, false);
  } else if (type === VIRTIO_BLK_T_DISCARD || type === VIRTIO_BLK_T_WRITE_ZEROES) {
    return zeroRanges(state, chain);
  }
  return VIRTIO_BLK_S_OK;
}

/**
 * Carries out the `n` requests in `list` on the memory image, and writes a record for each to `used`. Returns `n`: every
 * request is answered, whatever it holds.
 */
export function serve(state: u32, list: u32, n: u32, used: u32): u32 {
  for (let i: u32 = 0; i < n; i++) {
    const chain = chainAt(list, i);
    let status = checkChain(state, chain);
    if (status === VIRTIO_BLK_S_OK) status = carryOut(state, chain);
    finishChain(state, chain, status, used + (i << USED_SHIFT));
  }
  return n;
}
