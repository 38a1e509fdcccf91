import {
  CTX_LOCK,
  CTX_RANGE_COUNT,
  CTX_RANGES,
  RANGE_ADDRESS,
  RANGE_BYTES,
  RANGE_SHIFT,
  RANGE_WRITABLE,
} from './layout.ts';
import { fail } from './maps/key.kernel.ts';
import { ERRNO_BUSY, ERRNO_INVAL } from './maps/layout.ts';

/** Bytes of struct bpf_spin_lock: a word, 0 when nobody has it. */
const LOCK_BYTES: u32 = 4;
/** Looks at a lock that somebody has, before it is given up: about a millisecond. Who holds one runs on, or is broken. */
const LOOKS_MAX: u32 = 1 << 18;

/** True when `lock` is a word of a value that the program may write: never of a stack or a packet, which nobody shares. */
function isLock(ctx: u32, lock: u32): bool {
  if ((lock & (LOCK_BYTES - 1)) !== 0) return false;
  let range = load<u32>(ctx, CTX_RANGES);
  for (let left = load<u32>(ctx, CTX_RANGE_COUNT); left !== 0; left--) {
    const offset = lock - load<u32>(range, RANGE_ADDRESS);
    const bytes = load<u32>(range, RANGE_BYTES);
    if (load<u32>(range, RANGE_WRITABLE) !== 0 && offset < bytes && bytes - offset >= LOCK_BYTES) return true;
    range += 1 << RANGE_SHIFT;
  }
  return false;
}

/** bpf_spin_lock: 0; -EINVAL when it is no lock, or one is held already; -EBUSY when somebody else does not give it back. */
export function spinLock(ctx: u32, lock: u32): i64 {
  if (load<u32>(ctx, CTX_LOCK) !== 0 || !isLock(ctx, lock)) return fail(ERRNO_INVAL);
  for (let looks: u32 = 0; looks < LOOKS_MAX; looks++) {
    // A look before the exchange: waiting with exchanges would take the line from who is to give the lock back.
    if (atomic.load<u32>(lock) !== 0) continue;
    if (atomic.cmpxchg<u32>(lock, 0, 1) !== 0) continue;
    store<u32>(ctx, lock, CTX_LOCK);
    return 0;
  }
  return fail(ERRNO_BUSY);
}

/** bpf_spin_unlock: 0; -EINVAL when it is not the one that is held. */
export function spinUnlock(ctx: u32, lock: u32): i64 {
  if (lock === 0 || load<u32>(ctx, CTX_LOCK) !== lock) return fail(ERRNO_INVAL);
  store<u32>(ctx, 0, CTX_LOCK);
  atomic.store<u32>(lock, 0);
  return 0;
}

/** Gives back what a program held when it was ended: nobody else is to wait for it. */
export function releaseLock(ctx: u32): void {
  const lock = load<u32>(ctx, CTX_LOCK);
  if (lock !== 0) spinUnlock(ctx, lock);
}
