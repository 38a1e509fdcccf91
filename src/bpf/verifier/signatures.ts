import { HELPER_LOOKUP, HELPER_REDIRECT_MAP, HELPER_TAIL_CALL } from '../helpers.ts';
import {
  KIND_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH,
  KIND_HASH_OF_MAPS,
  KIND_LPM_TRIE,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERCPU_HASH,
  KIND_PERF_EVENT_ARRAY,
  KIND_PROG_ARRAY,
  KIND_RINGBUF,
  KIND_XSKMAP,
} from '../layout.ts';

/** What the verifier knows of a helper, beside its arguments (`../helpers.ts`). */
export interface Signature {
  /** Kinds of maps that it takes (Linux check_map_func_compatibility). */
  readonly kinds?: readonly number[];
  /** Arguments that it takes in any case; those behind them need not be written. All of them by default. */
  readonly required?: number;
  /** It takes memory of the packet (Linux bpf_func_proto.pkt_access). */
  readonly takesPacket?: boolean;
  /** Registers of memory whose size may be 0 (Linux ARG_CONST_SIZE_OR_ZERO). */
  readonly mayBeEmpty?: readonly number[];
  /** The register of an argument that must be one known number. */
  readonly constant?: number;
  /** What it gives: an element of the map, or a record that must be given back. */
  readonly gives?: 'element' | 'record';
  /** It takes a record back. */
  readonly releases?: boolean;
}

const VALUES = [
  KIND_HASH,
  KIND_ARRAY,
  KIND_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_LPM_TRIE,
];
const RING = [KIND_RINGBUF];
const WRITTEN: Signature = { kinds: VALUES, takesPacket: true };

/** By BPF_FUNC_… number; of helpers that are not here there is nothing more to know. */
export const SIGNATURES: ReadonlyMap<number, Signature> = new Map<number, Signature>([
  [
    HELPER_LOOKUP,
    {
      kinds: [...VALUES, KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS, KIND_DEVMAP, KIND_DEVMAP_HASH, KIND_XSKMAP],
      takesPacket: true,
      gives: 'element',
    },
  ],
  // trace_printk: a text says how many numbers follow.
  [6, { required: 2 }],
  // map_update_elem, map_delete_elem
  [2, WRITTEN],
  [3, WRITTEN],
  [HELPER_TAIL_CALL, { kinds: [KIND_PROG_ARRAY] }],
  // perf_event_output
  [25, { kinds: [KIND_PERF_EVENT_ARRAY], mayBeEmpty: [4] }],
  // csum_diff
  [28, { takesPacket: true, mayBeEmpty: [1, 3] }],
  [HELPER_REDIRECT_MAP, { kinds: [KIND_DEVMAP, KIND_DEVMAP_HASH, KIND_CPUMAP, KIND_XSKMAP] }],
  // ringbuf_output, reserve, submit, discard, query
  [130, { kinds: RING, mayBeEmpty: [2] }],
  [131, { kinds: RING, constant: 2, gives: 'record' }],
  [132, { releases: true }],
  [133, { releases: true }],
  [134, { kinds: RING }],
  // trace_vprintk: what is printed may be nothing, the text may not.
  [177, { mayBeEmpty: [3] }],
  // map_lookup_percpu_elem
  [195, { kinds: [KIND_PERCPU_ARRAY, KIND_PERCPU_HASH, KIND_LRU_PERCPU_HASH], takesPacket: true, gives: 'element' }],
]);
