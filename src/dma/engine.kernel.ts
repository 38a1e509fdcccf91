import { copyBytes } from '../memory/copy.kernel.ts';
import {
  DMA_DESC_LENGTH,
  DMA_DESC_OP,
  DMA_DESC_PATTERN,
  DMA_DESC_SHIFT,
  DMA_DESC_SOURCE,
  DMA_DESC_STATUS,
  DMA_DESC_TARGET,
  DMA_OP_COPY,
  DMA_OP_FILL,
  DMA_OP_SG,
  DMA_SGE_ADDRESS,
  DMA_SGE_LENGTH,
  DMA_SGE_SHIFT,
  SG_SHIFT,
  SG_SOURCES,
  SGES_MAX,
  STATUS_ABORTED,
  STATUS_INVALID_DST_ADDR,
  STATUS_INVALID_LENGTH,
  STATUS_INVALID_OPCODE,
  STATUS_INVALID_SRC_ADDR,
  STATUS_SUCCESSFUL,
  VCHAN_COMPLETED,
  VCHAN_COMPLETED_COUNT,
  VCHAN_DESCRIPTORS,
  VCHAN_END,
  VCHAN_ERROR_COUNT,
  VCHAN_ERRORS,
  VCHAN_LOWEST,
  VCHAN_SG,
  VCHAN_SIZE,
  VCHAN_SUBMITTED,
} from './layout.ts';

/** The descriptor at a position. */
export function descriptorAt(vchan: u32, position: u32): u32 {
  return vchan + VCHAN_DESCRIPTORS + ((position & (load<u32>(vchan, VCHAN_SIZE) - 1)) << DMA_DESC_SHIFT);
}

/** The SG entries of the descriptor at a position. */
export function sgAt(vchan: u32, position: u32): u32 {
  return load<u32>(vchan, VCHAN_SG) + ((position & (load<u32>(vchan, VCHAN_SIZE) - 1)) << SG_SHIFT);
}

/** True when an operation may touch the `length` bytes at `address`. */
function inBounds(vchan: u32, address: u32, length: u32): bool {
  // In u64, where the sum of two u32 does not wrap.
  return address >= load<u32>(vchan, VCHAN_LOWEST) && <u64>address + <u64>length <= load<u64>(vchan, VCHAN_END);
}

/** Status of a copy with these addresses. */
function checkCopy(vchan: u32, target: u32, source: u32, length: u32): u32 {
  if (!inBounds(vchan, source, length)) return STATUS_INVALID_SRC_ADDR;
  return inBounds(vchan, target, length) ? STATUS_SUCCESSFUL : STATUS_INVALID_DST_ADDR;
}

/** Bytes of the `n` entries at `list`, or 2^64 - 1 when an entry lies out of bounds. */
function listBytes(vchan: u32, list: u32, n: u32): u64 {
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const entry = list + (i << DMA_SGE_SHIFT);
    const length = load<u32>(entry, DMA_SGE_LENGTH);
    if (!inBounds(vchan, load<u32>(entry, DMA_SGE_ADDRESS), length)) return ~(<u64>0);
    bytes += length;
  }
  return bytes;
}

/** Status of an SG copy with `counts` entries at `lists`. */
function checkSg(vchan: u32, lists: u32, counts: u32): u32 {
  const targets = min(counts >> 16, SGES_MAX);
  const sources = min(counts & 0xffff, SGES_MAX);
  const read = listBytes(vchan, lists + SG_SOURCES, sources);
  if (read === ~(<u64>0)) return STATUS_INVALID_SRC_ADDR;
  const written = listBytes(vchan, lists, targets);
  if (written === ~(<u64>0)) return STATUS_INVALID_DST_ADDR;
  return read === written ? STATUS_SUCCESSFUL : STATUS_INVALID_LENGTH;
}

/** Moves what the lists say, piece by piece. Returns a status: each piece is checked as it is read for the last time. */
function moveSg(vchan: u32, lists: u32, counts: u32): u32 {
  let entry = lists;
  const targetsEnd = lists + (min(counts >> 16, SGES_MAX) << DMA_SGE_SHIFT);
  let from = lists + SG_SOURCES;
  const sourcesEnd = from + (min(counts & 0xffff, SGES_MAX) << DMA_SGE_SHIFT);
  let written: u32 = 0;
  let read: u32 = 0;
  // Each turn ends at least one entry of the two lists.
  while (entry < targetsEnd && from < sourcesEnd) {
    const room = load<u32>(entry, DMA_SGE_LENGTH) - written;
    const left = load<u32>(from, DMA_SGE_LENGTH) - read;
    const n = min(room, left);
    const target = load<u32>(entry, DMA_SGE_ADDRESS) + written;
    const source = load<u32>(from, DMA_SGE_ADDRESS) + read;
    const status = checkCopy(vchan, target, source, n);
    if (status !== STATUS_SUCCESSFUL) return status;
    copyBytes(target, source, n);
    written += n;
    read += n;
    if (n === room) {
      entry += 1 << DMA_SGE_SHIFT;
      written = 0;
    }
    if (n === left) {
      from += 1 << DMA_SGE_SHIFT;
      read = 0;
    }
  }
  return STATUS_SUCCESSFUL;
}

/** Writes `pattern` again and again to the `length` bytes at `target`. */
function fillBytes(target: u32, pattern: u64, length: u32): void {
  const end = target + length;
  const vector = i64x2.splat(<i64>pattern);
  let at = target;
  for (; end - at >= 16; at += 16) v128.store(at, vector);
  for (; at !== end; at++) {
    store<u8>(at, <u8>pattern);
    pattern = rotr<u64>(pattern, 8);
  }
}

/** Status that the operation at `position` would have for its addresses and lengths alone. */
export function check(vchan: u32, position: u32): u32 {
  const descriptor = descriptorAt(vchan, position);
  const op = load<u16>(descriptor, DMA_DESC_OP);
  const length = load<u32>(descriptor, DMA_DESC_LENGTH);
  const target = load<u32>(descriptor, DMA_DESC_TARGET);
  if (op === DMA_OP_COPY) return checkCopy(vchan, target, load<u32>(descriptor, DMA_DESC_SOURCE), length);
  if (op === DMA_OP_SG) return checkSg(vchan, sgAt(vchan, position), length);
  if (op !== DMA_OP_FILL) return STATUS_INVALID_OPCODE;
  return inBounds(vchan, target, length) ? STATUS_SUCCESSFUL : STATUS_INVALID_DST_ADDR;
}

/** Does what the descriptor at `position` says. Each word is read once and checked before it is used: no fault traps. */
function move(vchan: u32, position: u32, descriptor: u32): u32 {
  const op = load<u16>(descriptor, DMA_DESC_OP);
  const length = load<u32>(descriptor, DMA_DESC_LENGTH);
  if (op === DMA_OP_SG) {
    const lists = sgAt(vchan, position);
    const status = checkSg(vchan, lists, length);
    return status === STATUS_SUCCESSFUL ? moveSg(vchan, lists, length) : status;
  }
  const target = load<u32>(descriptor, DMA_DESC_TARGET);
  if (op === DMA_OP_COPY) {
    const source = load<u32>(descriptor, DMA_DESC_SOURCE);
    const status = checkCopy(vchan, target, source, length);
    if (status === STATUS_SUCCESSFUL) copyBytes(target, source, length);
    return status;
  }
  if (op !== DMA_OP_FILL) return STATUS_INVALID_OPCODE;
  if (!inBounds(vchan, target, length)) return STATUS_INVALID_DST_ADDR;
  fillBytes(target, load<u64>(descriptor, DMA_DESC_PATTERN), length);
  return STATUS_SUCCESSFUL;
}

/** Says that the operation at `position`, which is not completed yet, failed with `status`. Engine only. */
export function fail(vchan: u32, position: u32, status: u32): void {
  store<u32>(descriptorAt(vchan, position), status, DMA_DESC_STATUS);
}

/** Does the operation at `position`, which is submitted and not completed. Returns its status. Engine only. */
export function execute(vchan: u32, position: u32): u32 {
  const descriptor = descriptorAt(vchan, position);
  const status = move(vchan, position, descriptor);
  // Only then: the line of an operation that succeeds is not written by this side at all.
  if (status !== STATUS_SUCCESSFUL) store<u32>(descriptor, status, DMA_DESC_STATUS);
  return status;
}

/** Completes the `n` oldest submitted operations, whose statuses are written where they failed. Engine only. */
export function finish(vchan: u32, n: u32): void {
  const completed = load<u32>(vchan, VCHAN_COMPLETED);
  let failed: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    if (load<u32>(descriptorAt(vchan, completed + i), DMA_DESC_STATUS) !== STATUS_SUCCESSFUL) failed++;
  }
  store<u64>(vchan, load<u64>(vchan, VCHAN_COMPLETED_COUNT) + n, VCHAN_COMPLETED_COUNT);
  if (failed !== 0) {
    store<u64>(vchan, load<u64>(vchan, VCHAN_ERROR_COUNT) + failed, VCHAN_ERROR_COUNT);
    store<u32>(vchan, load<u32>(vchan, VCHAN_ERRORS) + failed, VCHAN_ERRORS);
  }
  // The one publication of the batch: bytes, statuses and the count of failures come before it.
  atomic.store<u32>(vchan, completed + n, VCHAN_COMPLETED);
}

/** Submitted operations that are not completed. */
export function running(vchan: u32): u32 {
  return atomic.load<u32>(vchan, VCHAN_SUBMITTED) - load<u32>(vchan, VCHAN_COMPLETED);
}

/** Does and completes up to `max` operations, in their order: fences hold by themselves. Returns how many. Engine only. */
export function run(vchan: u32, max: u32): u32 {
  const n = min(running(vchan), max);
  if (n === 0) return 0;
  const completed = load<u32>(vchan, VCHAN_COMPLETED);
  for (let i: u32 = 0; i < n; i++) execute(vchan, completed + i);
  finish(vchan, n);
  return n;
}

/**
 * Completes all submitted operations as aborted, in the place of an engine that works no more. Returns how many. Only
 * when its thread has ended: it would go on writing to targets that are somebody else's by then.
 */
export function abort(vchan: u32): u32 {
  const n = running(vchan);
  const completed = load<u32>(vchan, VCHAN_COMPLETED);
  for (let i: u32 = 0; i < n; i++) fail(vchan, completed + i, STATUS_ABORTED);
  if (n !== 0) finish(vchan, n);
  return n;
}
