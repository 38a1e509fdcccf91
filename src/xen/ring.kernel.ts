import {
  NETRING_BROKEN,
  NETRING_BROKEN_INDEX,
  NETRING_FRONT,
  NETRING_GIVE,
  NETRING_GIVEN,
  NETRING_REQUEST,
  NETRING_RESPONSE,
  NETRING_SIZE,
  NETRING_SLOT,
  NETRING_SRING,
  NETRING_TAKE,
  SRING_REQ_EVENT,
  SRING_REQ_PROD,
  SRING_RSP_EVENT,
  SRING_RSP_PROD,
  SRING_SLOTS,
} from './layout.ts';

/** Breaks the ring: its peer did what `code` (NETRING_BROKEN_…) says. The first reason stays. */
export function latch(ring: u32, code: u32): void {
  if (load<u32>(ring, NETRING_BROKEN) === 0) store<u32>(ring, code, NETRING_BROKEN);
}

export function isBroken(ring: u32): bool {
  return load<u32>(ring, NETRING_BROKEN) !== 0;
}

/** Address of the slot that the free-running `index` stands for. */
export function slotAt(ring: u32, index: u32): u32 {
  const place = index & (load<u32>(ring, NETRING_SIZE) - 1);
  return load<u32>(ring, NETRING_SRING) + SRING_SLOTS + place * load<u32>(ring, NETRING_SLOT);
}

/** Copies a slot or a record: 4, 8, 12 or 16 bytes, each of them read once. */
export function copySlot(target: u32, source: u32, bytes: u32): void {
  if (bytes === 16) {
    v128.store(target, v128.load(source));
    return;
  }
  if (bytes !== 4) store<u64>(target, load<u64>(source));
  if (bytes !== 8) store<u32>(target + (bytes & 8), load<u32>(source + (bytes & 8)));
}

/**
 * What the peer has published and this side has not taken. The frontend waits for no more responses than it has requests out; the
 * backend for no more requests than the ring has room for beside those that are not answered. Else the ring breaks, and it is 0.
 */
export function unconsumed(ring: u32): u32 {
  if (isBroken(ring)) return 0;
  const front = load<u32>(ring, NETRING_FRONT) !== 0;
  const take = load<u32>(ring, NETRING_TAKE);
  const give = load<u32>(ring, NETRING_GIVE);
  const prod = atomic.load<u32>(load<u32>(ring, NETRING_SRING) + (front ? SRING_RSP_PROD : SRING_REQ_PROD));
  const limit = front ? give - take : load<u32>(ring, NETRING_SIZE) - (take - give);
  if (prod - take <= limit) return prod - take;
  latch(ring, NETRING_BROKEN_INDEX);
  return 0;
}

/** Makes `n` slots that were written from NETRING_GIVE on the peer's. */
export function publish(ring: u32, n: u32): void {
  if (n === 0) return;
  const give = load<u32>(ring, NETRING_GIVE) + n;
  const front = load<u32>(ring, NETRING_FRONT) !== 0;
  store<u32>(ring, give, NETRING_GIVE);
  store<u32>(ring, load<u32>(ring, NETRING_GIVEN) + n, NETRING_GIVEN);
  // The one publication of the burst: it orders the slots before it, and the look at the event behind it.
  atomic.store<u32>(load<u32>(ring, NETRING_SRING) + (front ? SRING_REQ_PROD : SRING_RSP_PROD), give);
}

function give(ring: u32, source: u32, n: u32, bytes: u32): u32 {
  const from = load<u32>(ring, NETRING_GIVE);
  for (let i: u32 = 0; i < n; i++) copySlot(slotAt(ring, from + i), source + i * bytes, bytes);
  publish(ring, n);
  return n;
}

function take(ring: u32, target: u32, max: u32, bytes: u32): u32 {
  const n = min(unconsumed(ring), max);
  const from = load<u32>(ring, NETRING_TAKE);
  for (let i: u32 = 0; i < n; i++) copySlot(target + i * bytes, slotAt(ring, from + i), bytes);
  store<u32>(ring, from + n, NETRING_TAKE);
  return n;
}

/** Requests that fit the ring. Frontend only. */
export function room(ring: u32): u32 {
  return load<u32>(ring, NETRING_SIZE) - (load<u32>(ring, NETRING_GIVE) - load<u32>(ring, NETRING_TAKE));
}

/** Publishes up to `n` requests, which lie one behind the other at `source`. Returns how many fitted. Frontend only. */
export function pushRequests(ring: u32, source: u32, n: u32): u32 {
  return isBroken(ring) ? 0 : give(ring, source, min(n, room(ring)), load<u32>(ring, NETRING_REQUEST));
}

/** Copies up to `max` requests to `target`. Returns how many. Backend only. */
export function takeRequests(ring: u32, target: u32, max: u32): u32 {
  return take(ring, target, max, load<u32>(ring, NETRING_REQUEST));
}

/** Publishes `n` responses to requests that were taken. Returns `n`; 0 when the ring is broken. Backend only. */
export function pushResponses(ring: u32, source: u32, n: u32): u32 {
  assert(n <= load<u32>(ring, NETRING_TAKE) - load<u32>(ring, NETRING_GIVE));
  return isBroken(ring) ? 0 : give(ring, source, n, load<u32>(ring, NETRING_RESPONSE));
}

/** Copies up to `max` responses to `target`. Returns how many. Frontend only. */
export function takeResponses(ring: u32, target: u32, max: u32): u32 {
  return take(ring, target, max, load<u32>(ring, NETRING_RESPONSE));
}

/** 1 when what was given since the last call calls for an event, else 0. Both sides. */
export function needsNotify(ring: u32): u32 {
  const given = load<u32>(ring, NETRING_GIVEN);
  store<u32>(ring, 0, NETRING_GIVEN);
  if (given === 0 || isBroken(ring)) return 0;
  const front = load<u32>(ring, NETRING_FRONT) !== 0;
  const event = atomic.load<u32>(load<u32>(ring, NETRING_SRING) + (front ? SRING_REQ_EVENT : SRING_RSP_EVENT));
  // io/ring.h: when the event lies among those given.
  return load<u32>(ring, NETRING_GIVE) - event < given ? 1 : 0;
}

/**
 * Asks for an event when the peer publishes more. Returns 1 when there is more already: the peer may have published before it
 * was asked. Until this is called again, no event comes for what is published. Both sides.
 */
export function finalCheck(ring: u32): u32 {
  if (unconsumed(ring) !== 0) return 1;
  if (isBroken(ring)) return 0;
  const front = load<u32>(ring, NETRING_FRONT) !== 0;
  const word = load<u32>(ring, NETRING_SRING) + (front ? SRING_RSP_EVENT : SRING_REQ_EVENT);
  // An atomic store, so that the second look comes after it.
  atomic.store<u32>(word, load<u32>(ring, NETRING_TAKE) + 1);
  return unconsumed(ring) !== 0 ? 1 : 0;
}
