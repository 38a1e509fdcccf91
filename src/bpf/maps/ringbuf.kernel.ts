import {
  CTX_RANGE_COUNT,
  CTX_RANGES,
  KIND_RINGBUF,
  MAP_KIND,
  MAP_VALUES,
  RANGE_ADDRESS,
  RANGE_BYTES,
  RANGE_MAP,
  RANGE_SHIFT,
} from '../layout.ts';
import { copyWords, fail } from './key.kernel.ts';
import {
  ERRNO_AGAIN,
  ERRNO_INVAL,
  RINGBUF_CONSUMER,
  RINGBUF_DAMAGED,
  RINGBUF_DISCARD,
  RINGBUF_FOUND,
  RINGBUF_LENGTH_MASK,
  RINGBUF_LOCK,
  RINGBUF_LOST,
  RINGBUF_MASK,
  RINGBUF_PRODUCER,
  RINGBUF_QUERY_AVAILABLE,
  RINGBUF_QUERY_CONSUMER,
  RINGBUF_QUERY_PRODUCER,
  RINGBUF_QUERY_SIZE,
  RINGBUF_RECORD_BYTES,
  RINGBUF_RECORD_LENGTH,
  RINGBUF_RECORD_OFFSET,
  RINGBUF_STATES,
  RINGBUF_WAKE_FLAGS,
  SPINS_MAX,
} from './layout.ts';

/** In a record's word: not submitted yet. */
const BUSY: u32 = 0x80000000;

/** Address of the word that says what the record at `offset` of the ring is; no program reaches it. */
function stateAt(map: u32, offset: u32): u32 {
  return load<u32>(map, RINGBUF_STATES) + (offset >>> 1);
}

/** Bytes that a record of `length` bytes takes. */
function takenBy(length: u32): u32 {
  return (length + RINGBUF_RECORD_BYTES + 7) & ~7;
}

function lock(map: u32): bool {
  for (let i: u32 = 0; i < SPINS_MAX; i++) {
    if (atomic.load<u32>(map, RINGBUF_LOCK) !== 0) continue;
    if (atomic.cmpxchg<u32>(map, 0, 1, RINGBUF_LOCK) === 0) return true;
  }
  return false;
}

/** Takes room for a record of `size` bytes. Address of its first byte, or 0. */
function take(map: u32, size: u64): u32 {
  const mask = load<u32>(map, RINGBUF_MASK);
  if (size > RINGBUF_LENGTH_MASK || takenBy(<u32>size) > mask + 1 || !lock(map)) return 0;
  const length = <u32>size;
  const position = load<u64>(map, RINGBUF_PRODUCER);
  const next = position + takenBy(length);
  if (next - atomic.load<u64>(map, RINGBUF_CONSUMER) > mask) {
    atomic.store<u32>(map, 0, RINGBUF_LOCK);
    return 0;
  }
  const offset = <u32>position & mask;
  const record = load<u32>(map, MAP_VALUES) + offset;
  store<u32>(record, length | BUSY, RINGBUF_RECORD_LENGTH);
  store<u32>(record, offset, RINGBUF_RECORD_OFFSET);
  store<u32>(stateAt(map, offset), length | BUSY);
  atomic.store<u64>(map, next, RINGBUF_PRODUCER);
  atomic.store<u32>(map, 0, RINGBUF_LOCK);
  return record + RINGBUF_RECORD_BYTES;
}

function takeOrCount(map: u32, size: u64): u32 {
  const record = take(map, size);
  if (record === 0) atomic.add<u32>(map, 1, RINGBUF_LOST);
  return record;
}

/** bpf_ringbuf_reserve: memory for a record of `size` bytes, or 0 when there is no room, with flags, or in another map. */
export function reserve(_ctx: u32, map: u32, size: u64, flags: u64): u32 {
  if (flags !== 0 || load<u32>(map, MAP_KIND) !== KIND_RINGBUF) return 0;
  return takeOrCount(map, size);
}

/** The ring of the program's that the byte at `address` is in, or 0. */
function ringOf(ctx: u32, address: u32): u32 {
  let range = load<u32>(ctx, CTX_RANGES);
  for (let left = load<u32>(ctx, CTX_RANGE_COUNT); left !== 0; left--) {
    const map = load<u32>(range, RANGE_MAP);
    if (address - load<u32>(range, RANGE_ADDRESS) < load<u32>(range, RANGE_BYTES)) {
      if (load<u32>(map, MAP_KIND) === KIND_RINGBUF) return map;
    }
    range += 1 << RANGE_SHIFT;
  }
  return 0;
}

/** Ends what `reserve` began. An address that is no record's, or of one that was ended before, changes nothing. */
function commit(map: u32, address: u32, discard: u32): void {
  const offset = address - RINGBUF_RECORD_BYTES - load<u32>(map, MAP_VALUES);
  if (offset > load<u32>(map, RINGBUF_MASK) || (offset & 7) !== 0) return;
  const state = stateAt(map, offset);
  const word = atomic.load<u32>(state);
  if (!(word & BUSY)) return;
  const next = (word & RINGBUF_LENGTH_MASK) | discard;
  const header = load<u32>(map, MAP_VALUES) + offset;
  // Whoever overwrote the header shall be found out.
  if (load<u32>(header, RINGBUF_RECORD_LENGTH) === word) store<u32>(header, next, RINGBUF_RECORD_LENGTH);
  atomic.cmpxchg<u32>(state, word, next);
}

/** bpf_ringbuf_submit: the record may be read. */
export function submit(ctx: u32, record: u32, _flags: u64): i64 {
  const map = ringOf(ctx, record - RINGBUF_RECORD_BYTES);
  if (map !== 0) commit(map, record, 0);
  return 0;
}

/** bpf_ringbuf_discard: nobody shall read the record. */
export function discard(ctx: u32, record: u32, _flags: u64): i64 {
  const map = ringOf(ctx, record - RINGBUF_RECORD_BYTES);
  if (map !== 0) commit(map, record, RINGBUF_DISCARD);
  return 0;
}

/** bpf_ringbuf_output: a record with the `size` bytes at `data`. 0; -EINVAL on unknown flags, -EAGAIN when there is no room. */
export function output(_ctx: u32, map: u32, data: u32, size: u32, flags: u64): i64 {
  if (load<u32>(map, MAP_KIND) !== KIND_RINGBUF || (flags & ~(<u64>RINGBUF_WAKE_FLAGS)) !== 0) return fail(ERRNO_INVAL);
  const record = takeOrCount(map, size);
  if (record === 0) return fail(ERRNO_AGAIN);
  copyWords(record, data, size);
  commit(map, record, 0);
  return 0;
}

/** bpf_ringbuf_query: bytes not read yet, the ring's size, or a position; 0 for what is not known. */
export function query(_ctx: u32, map: u32, what: u64): i64 {
  if (load<u32>(map, MAP_KIND) !== KIND_RINGBUF) return 0;
  const consumer = atomic.load<u64>(map, RINGBUF_CONSUMER);
  const producer = atomic.load<u64>(map, RINGBUF_PRODUCER);
  if (what === RINGBUF_QUERY_AVAILABLE) return producer - consumer;
  if (what === RINGBUF_QUERY_SIZE) return load<u32>(map, RINGBUF_MASK) + 1;
  if (what === RINGBUF_QUERY_CONSUMER) return consumer;
  return what === RINGBUF_QUERY_PRODUCER ? producer : 0;
}

/**
 * The reader's next record: its address, its bytes in RINGBUF_FOUND; 0 when there is none, or its program still writes it.
 * Discarded ones are passed over, and those whose header was overwritten counted.
 */
export function peek(map: u32): u32 {
  const mask = load<u32>(map, RINGBUF_MASK);
  const producer = atomic.load<u64>(map, RINGBUF_PRODUCER);
  let position = load<u64>(map, RINGBUF_CONSUMER);
  while (position < producer) {
    const offset = <u32>position & mask;
    const record = load<u32>(map, MAP_VALUES) + offset;
    const word = atomic.load<u32>(stateAt(map, offset));
    if (word & BUSY) return 0;
    const isWhole =
      load<u32>(record, RINGBUF_RECORD_LENGTH) === word && load<u32>(record, RINGBUF_RECORD_OFFSET) === offset;
    if (!isWhole) store<u32>(map, load<u32>(map, RINGBUF_DAMAGED) + 1, RINGBUF_DAMAGED);
    if (isWhole && !(word & RINGBUF_DISCARD)) {
      store<u32>(map, word, RINGBUF_FOUND);
      return record + RINGBUF_RECORD_BYTES;
    }
    position += takenBy(word & RINGBUF_LENGTH_MASK);
    atomic.store<u64>(map, position, RINGBUF_CONSUMER);
  }
  return 0;
}

/** The reader is done with the record that `peek` gave. */
export function release(map: u32): void {
  const next = load<u64>(map, RINGBUF_CONSUMER) + takenBy(load<u32>(map, RINGBUF_FOUND));
  atomic.store<u64>(map, next, RINGBUF_CONSUMER);
}
