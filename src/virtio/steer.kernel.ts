import { BURST_MAX, SLOT_EVENT, SLOT_FLOW, SLOT_SHIFT } from '../memory/layout.ts';
import { flowHash } from '../packet/flow.kernel.ts';
import { RSS_RESULT_HASH, RSS_RESULT_QUEUE, RSS_RESULT_REPORT, RSS_RESULT_SHIFT, RSS_TYPES } from '../packet/layout.ts';
import { rssHash } from '../packet/rss.kernel.ts';
import {
  NET_CONTROL_F_RSS,
  NET_CONTROL_FLAGS,
  NET_CONTROL_PAIRS,
  NET_CONTROL_RSS,
  STEER_COUNTS,
  STEER_QUEUES_MAX,
  STEER_RESULTS,
  STEER_SLOTS,
} from './layout.ts';

/** Says of each packet its receive queue, at STEER_RESULTS; its hash and the hash's report go into the slot. */
function classify(state: u32, slots: u32, n: u32, queues: u32, work: u32): void {
  const results = work + STEER_RESULTS;
  const hashes = load<u32>(state + NET_CONTROL_RSS, RSS_TYPES) !== 0;
  const steers = (load<u32>(state, NET_CONTROL_FLAGS) & NET_CONTROL_F_RSS) !== 0;
  const pairs = min(max(load<u32>(state, NET_CONTROL_PAIRS), 1), queues);
  // Without RSS the device chooses: a flow stays on its queue (5.1.6.5.5).
  if (!steers) flowHash(slots, n);
  if (hashes || steers) rssHash(slots, n, state + NET_CONTROL_RSS, results);
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const result = results + (i << RSS_RESULT_SHIFT);
    if (!steers) store<u16>(result, <u16>(load<u32>(slot, SLOT_FLOW) % pairs), RSS_RESULT_QUEUE);
    // The driver may name a queue that it did not set up, and change the table at any time.
    else if (load<u16>(result, RSS_RESULT_QUEUE) >= <u16>queues) store<u16>(result, 0, RSS_RESULT_QUEUE);
    store<u32>(slot, hashes ? load<u32>(result, RSS_RESULT_HASH) : 0, SLOT_FLOW);
    store<u16>(slot, hashes ? load<u16>(result, RSS_RESULT_REPORT) : 0, SLOT_EVENT);
  }
}

/**
 * Sorts `n` (up to 32) packets at `slots` by the receive queue that what the driver set at `state` (NET_CONTROL_…) gives
 * them, of `queues` (up to 8) queues; packets of one queue keep their order. How many each queue has is at STEER_COUNTS
 * of `work`. The hash of each, and what it is of, are in its slot for VIRTIO_NET_F_HASH_REPORT.
 */
export function steer(state: u32, slots: u32, n: u32, queues: u32, work: u32): void {
  assert(n <= BURST_MAX && queues <= STEER_QUEUES_MAX);
  classify(state, slots, n, queues, work);
  const results = work + STEER_RESULTS;
  let done: u32 = 0;
  for (let queue: u32 = 0; queue < queues; queue++) {
    const before = done;
    for (let i: u32 = 0; i < n; i++) {
      if (load<u16>(results + (i << RSS_RESULT_SHIFT), RSS_RESULT_QUEUE) !== <u16>queue) continue;
      v128.store(work + STEER_SLOTS + (done << SLOT_SHIFT), v128.load(slots + (i << SLOT_SHIFT)));
      done++;
    }
    store<u32>(work + STEER_COUNTS + (queue << 2), done - before);
  }
  memory.copy(slots, work + STEER_SLOTS, n << SLOT_SHIFT);
}
