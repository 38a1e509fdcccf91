import {
  CTX_CPU,
  KIND_ARRAY,
  KIND_PERCPU_ARRAY,
  MAP_CPU_SPAN,
  MAP_CPUS,
  MAP_KEY_BYTES,
  MAP_KIND,
  MAP_MAX_ENTRIES,
} from '../layout.ts';
import { elementAt, valueAt } from './hash.kernel.ts';
import { copyWords } from './key.kernel.ts';
import {
  BUCKET_FIRST,
  BUCKET_SHIFT,
  EACH_AGAIN,
  EACH_BUCKET,
  EACH_DONE,
  EACH_HASH,
  EACH_KEY,
  EACH_NEXT,
  EACH_STEPS,
  EACH_TOLD,
  ELEMENT_HASH,
  ELEMENT_KEY,
  ELEMENT_NEXT,
  HASH_BUCKETS,
  HASH_SHIFT,
  HASH_TOTAL,
} from './layout.ts';
import { isPlainHash } from './map.kernel.ts';

/** Address of the value of element or place `index` for the CPU that runs. */
function ownValue(ctx: u32, map: u32, index: u32): u32 {
  const cpu = load<u32>(ctx, CTX_CPU);
  return valueAt(map, index) + (cpu < load<u32>(map, MAP_CPUS) ? cpu : 0) * load<u32>(map, MAP_CPU_SPAN);
}

function nextPlace(ctx: u32, map: u32, place: u32): u32 {
  const index = load<u32>(place, EACH_NEXT);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return 0;
  store<u32>(place, index + 1, EACH_NEXT);
  store<u32>(place, index, EACH_KEY);
  return ownValue(ctx, map, index);
}

/**
 * The link behind the entry that was told, and 1; 0 to begin the bucket. An element that was removed since, or replaced, still
 * leads on. One that has another key by now leads elsewhere: then it is what was behind it when it was told.
 */
function linkBehind(map: u32, place: u32): u32 {
  const told = load<u32>(place, EACH_TOLD);
  const next = load<u32>(place, EACH_NEXT);
  // Where this is kept is a stack, and whatever has been written there is not believed.
  if (told === 0 || told > load<u32>(map, HASH_TOTAL)) return next;
  const element = elementAt(map, told - 1);
  const hash = atomic.load<u32>(element, ELEMENT_HASH);
  return hash === 0 || hash === load<u32>(place, EACH_HASH) ? atomic.load<u32>(element, ELEMENT_NEXT) + 1 : next;
}

/**
 * An entry that was removed and put in again leads back to where this has been: so no more elements are looked at than twice what
 * there is, or it might never end.
 */
function nextEntry(ctx: u32, map: u32, place: u32): u32 {
  const shift = load<u32>(map, HASH_SHIFT);
  const buckets = (<u32>1) << (32 - shift);
  const total = load<u32>(map, HASH_TOTAL);
  let number = load<u32>(place, EACH_BUCKET);
  let link = linkBehind(map, place);
  let done = load<u32>(place, EACH_DONE);
  let found: u32 = EACH_AGAIN;
  store<u32>(place, 0, EACH_TOLD);
  for (let left = EACH_STEPS; left !== 0; left--) {
    if (number >= buckets || done > total * 2) return 0;
    if (link === 0) {
      link = atomic.load<u32>(load<u32>(map, HASH_BUCKETS) + (number << BUCKET_SHIFT), BUCKET_FIRST) + 1;
    }
    const index = link - 1;
    if (index >= total) {
      number++;
      link = 0;
      continue;
    }
    done++;
    const element = elementAt(map, index);
    const hash = atomic.load<u32>(element, ELEMENT_HASH);
    const next = atomic.load<u32>(element, ELEMENT_NEXT) + 1;
    if (hash !== 0 && hash >>> shift !== number) {
      number++;
      link = 0;
      continue;
    }
    link = next;
    if (hash === 0) continue;
    copyWords(place + EACH_KEY, element + ELEMENT_KEY, load<u32>(map, MAP_KEY_BYTES));
    if (atomic.load<u32>(element, ELEMENT_HASH) !== hash) continue;
    store<u32>(place, index + 1, EACH_TOLD);
    store<u32>(place, hash, EACH_HASH);
    found = ownValue(ctx, map, index);
    break;
  }
  store<u32>(place, number, EACH_BUCKET);
  store<u32>(place, link, EACH_NEXT);
  store<u32>(place, done, EACH_DONE);
  return found;
}

/**
 * The next entry of an array or a hash, for bpf_for_each_map_elem (`../loops.ts`): copies its key to `place` + EACH_KEY, and
 * returns the address of its value; 0 behind the last one, and in a map of another kind; EACH_AGAIN when it has looked at
 * EACH_STEPS places and there are more.
 * @param place `size` bytes: where it stands, all zeroes at first, then room for a key.
 */
export function nextElement(ctx: u32, map: u32, place: u32, size: u32): u32 {
  if (size < EACH_KEY || load<u32>(map, MAP_KEY_BYTES) > size - EACH_KEY) return 0;
  const kind = load<u32>(map, MAP_KIND);
  if (kind === KIND_ARRAY || kind === KIND_PERCPU_ARRAY) return nextPlace(ctx, map, place);
  return isPlainHash(kind) ? nextEntry(ctx, map, place) : 0;
}
