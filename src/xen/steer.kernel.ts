import { BURST_MAX, SLOT_BUFFER, SLOT_EVENT, SLOT_FLOW, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import { flowHash } from '../packet/flow.kernel.ts';
import { RSS_RESULT_HASH, RSS_RESULT_QUEUE, RSS_RESULT_REPORT, RSS_RESULT_SHIFT, RSS_TYPES } from '../packet/layout.ts';
import { rssHash } from '../packet/rss.kernel.ts';
import {
  CTRL_HASH_TOEPLITZ,
  VIFHASH_ALGORITHM,
  VIFHASH_MAPPING,
  VIFHASH_RSS,
  VIFHASH_SIZE,
  VIFSTEER_COUNTS,
  VIFSTEER_PORT,
  VIFSTEER_QUEUE,
  VIFSTEER_QUEUES_MAX,
  VIFSTEER_RECENT,
  VIFSTEER_RESULTS,
  VIFSTEER_SLOTS,
} from './control-layout.ts';
import { findRecent } from './staging.kernel.ts';

/**
 * True when the packet at `slot` is one of the burst that the port received last, and so sends back: all of them go on the queue that they came on,
 * so that flows keep their order. What comes from other ports may lie in a buffer that was theirs.
 */
function isBack(slot: u32, work: u32): bool {
  const recent = load<u32>(work, VIFSTEER_RECENT);
  if (recent === 0 || <u32>load<u8>(slot, SLOT_PORT) !== load<u32>(work, VIFSTEER_PORT)) return false;
  return findRecent(recent, load<u32>(slot, SLOT_BUFFER)) !== 0;
}

/** Says of each packet its queue, at VIFSTEER_RESULTS; and in its slot its hash, and what that is of (HASH_REPORT_…, 0 without one). */
function classify(state: u32, slots: u32, n: u32, queues: u32, work: u32): void {
  const results = work + VIFSTEER_RESULTS;
  const isHashed =
    load<u32>(state, VIFHASH_ALGORITHM) === CTRL_HASH_TOEPLITZ && load<u32>(state + VIFHASH_RSS, RSS_TYPES) !== 0;
  if (isHashed) rssHash(slots, n, state + VIFHASH_RSS, results);
  // A frontend that asked for nothing has flows that stay on their queue.
  else flowHash(slots, n);
  const size: u32 = isHashed ? load<u32>(state, VIFHASH_SIZE) : 0;
  for (let i: u32 = 0; i < n; i++) {
    const result = results + (i << RSS_RESULT_SHIFT);
    const slot = slots + (i << SLOT_SHIFT);
    if (isHashed) store<u32>(slot, load<u32>(result, RSS_RESULT_HASH), SLOT_FLOW);
    store<u16>(slot, isHashed ? load<u16>(result, RSS_RESULT_REPORT) : 0, SLOT_EVENT);
    const hash = load<u32>(slot, SLOT_FLOW);
    let queue = size === 0 ? hash % queues : load<u32>(state + VIFHASH_MAPPING + ((hash % size) << 2));
    if (isBack(slot, work)) queue = load<u32>(work, VIFSTEER_QUEUE);
    // The mapping is of the queues that the frontend has said, and may be changed at any time.
    store<u16>(result, <u16>(queue < queues ? queue : 0), RSS_RESULT_QUEUE);
  }
}

/**
 * Sorts `n` (up to 32) packets at `slots` by the queue that they came on, when they go back, or else that what the frontend set at `state`
 * (VIFHASH_…) gives them, of `queues` (up to 16) queues; packets of one queue keep their order. How many each queue has is at VIFSTEER_COUNTS
 * of `work`.
 */
export function vifSteer(state: u32, slots: u32, n: u32, queues: u32, work: u32): void {
  assert(n <= BURST_MAX && queues <= VIFSTEER_QUEUES_MAX);
  classify(state, slots, n, queues, work);
  const results = work + VIFSTEER_RESULTS;
  let done: u32 = 0;
  for (let queue: u32 = 0; queue < queues; queue++) {
    const before = done;
    for (let i: u32 = 0; i < n; i++) {
      if (load<u16>(results + (i << RSS_RESULT_SHIFT), RSS_RESULT_QUEUE) !== <u16>queue) continue;
      v128.store(work + VIFSTEER_SLOTS + (done << SLOT_SHIFT), v128.load(slots + (i << SLOT_SHIFT)));
      done++;
    }
    store<u32>(work + VIFSTEER_COUNTS + (queue << 2), done - before);
  }
  memory.copy(slots, work + VIFSTEER_SLOTS, n << SLOT_SHIFT);
}
