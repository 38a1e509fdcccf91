import { MAP_KEY_BYTES, MAP_VALUE_BYTES } from '../layout.ts';
import { valueAt } from './hash.kernel.ts';
import { copyWords, fail } from './key.kernel.ts';
import {
  CURSOR_BUCKET,
  ERRNO_NOENT,
  LPM_NODE_FRESH,
  LPM_VERSION,
  NODE_DATA,
  NODE_PREFIX,
  NODE_VALUE,
  PREFIX_BITS,
  PREFIX_DATA,
  RETRIES_MAX,
} from './layout.ts';
import { dataBytes, findPrefix, lockTrie, nodeAt, unlockTrie } from './lpm.kernel.ts';

/** Copies the value of the longest prefix that covers the key to `target`. 0 or -ENOENT. */
export function readPrefix(map: u32, key: u32, target: u32): i64 {
  for (let tries: u32 = 0; tries < RETRIES_MAX; tries++) {
    const version = atomic.load<u32>(map, LPM_VERSION);
    const found = findPrefix(map, key);
    if (found === 0) return fail(ERRNO_NOENT);
    copyWords(target, valueAt(map, found - 1), load<u32>(map, MAP_VALUE_BYTES));
    // A value that was replaced meanwhile may hold another's bytes.
    if (atomic.load<u32>(map, LPM_VERSION) === version) break;
  }
  return 0;
}

/** The next keys of an iteration, as `keys` of a hash; the cursor counts nodes. They keep their places while they are there. */
export function listPrefixes(map: u32, cursor: u32, target: u32, room: u32): u32 {
  const bytes = load<u32>(map, MAP_KEY_BYTES);
  let link = load<u32>(cursor, CURSOR_BUCKET);
  let done: u32 = 0;
  if (!lockTrie(map)) return 0;
  const last = load<u32>(map, LPM_NODE_FRESH);
  while (link < last && done < room) {
    const node = nodeAt(map, ++link);
    if (load<u32>(node, NODE_VALUE) === 0) continue;
    const key = target + done * bytes;
    store<u32>(key, load<u32>(node, NODE_PREFIX), PREFIX_BITS);
    copyWords(key + PREFIX_DATA, node + NODE_DATA, dataBytes(map));
    done++;
  }
  unlockTrie(map);
  store<u32>(cursor, link, CURSOR_BUCKET);
  return done;
}
