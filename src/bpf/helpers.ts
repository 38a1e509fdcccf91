/**
 * What a helper takes, in the order of r1 to r5. Each is a parameter of its kernel behind the context's address: numbers of
 * 64 bits as i64, all else as i32.
 *
 * `map key`, `map value` belong to the `map` before them; `readable` and `writable` memory has the `size` behind it;
 * `or null` may be 0 (with a size of 0 or not). `record` is memory that ringbuf_reserve gave, `lock` a spin lock in
 * a map's value.
 */
export type HelperArgument =
  | 'context'
  | 'map'
  | 'map key'
  | 'map value'
  | 'readable'
  | 'readable or null'
  | 'writable'
  | 'size'
  | 'record'
  | 'lock'
  | 'u32'
  | 'u64';

/** A function of the kernel's that programs may call. */
export interface Helper {
  /** BPF_FUNC_… (Linux include/uapi/linux/bpf.h). */
  readonly id: number;
  /** Without `bpf_`. */
  readonly name: string;
  readonly args: readonly HelperArgument[];
  /** `address`: of memory, or 0; an i32. `u32`: an i32, never negative. `i64`: a number, or a negative errno. */
  readonly returns: 'address' | 'u32' | 'i64';
  /** A result other than 0 ends the program, which can do nothing about it. */
  readonly mayEnd?: boolean;
  /** It may move the packet: addresses in it are worth nothing afterwards. */
  readonly movesPacket?: boolean;
  /** Name of the kernel that does it; none for tail_call, which engines do themselves. */
  readonly kernel?: string;
}

export const HELPER_LOOKUP = 1;
export const HELPER_TAIL_CALL = 12;
export const HELPER_REDIRECT = 23;
export const HELPER_REDIRECT_MAP = 51;
export const HELPER_SPIN_LOCK = 93;
export const HELPER_SPIN_UNLOCK = 94;

const LIST: readonly Helper[] = [
  { id: 1, name: 'map_lookup_elem', args: ['map', 'map key'], returns: 'address', kernel: 'bpfMapLookup' },
  {
    id: 2,
    name: 'map_update_elem',
    args: ['map', 'map key', 'map value', 'u64'],
    returns: 'i64',
    kernel: 'bpfMapUpdate',
  },
  { id: 3, name: 'map_delete_elem', args: ['map', 'map key'], returns: 'i64', kernel: 'bpfMapDelete' },
  { id: 5, name: 'ktime_get_ns', args: [], returns: 'i64', kernel: 'bpfKtime' },
  {
    id: 6,
    name: 'trace_printk',
    args: ['readable', 'size', 'u64', 'u64', 'u64'],
    returns: 'i64',
    kernel: 'bpfTracePrintk',
  },
  { id: 7, name: 'get_prandom_u32', args: [], returns: 'u32', kernel: 'bpfPrandom' },
  { id: 8, name: 'get_smp_processor_id', args: [], returns: 'u32', kernel: 'bpfProcessorId' },
  { id: 12, name: 'tail_call', args: ['context', 'map', 'u32'], returns: 'i64' },
  { id: 23, name: 'redirect', args: ['u32', 'u64'], returns: 'i64', kernel: 'bpfRedirect' },
  {
    id: 25,
    name: 'perf_event_output',
    args: ['context', 'map', 'u64', 'readable', 'size'],
    returns: 'i64',
    kernel: 'bpfPerfEventOutput',
  },
  {
    id: 28,
    name: 'csum_diff',
    args: ['readable or null', 'size', 'readable or null', 'size', 'u32'],
    returns: 'i64',
    kernel: 'bpfCsumDiff',
  },
  { id: 42, name: 'get_numa_node_id', args: [], returns: 'u32', kernel: 'bpfNumaNode' },
  {
    id: 44,
    name: 'xdp_adjust_head',
    args: ['context', 'u32'],
    returns: 'i64',
    movesPacket: true,
    kernel: 'bpfAdjustHead',
  },
  { id: 51, name: 'redirect_map', args: ['map', 'u64', 'u64'], returns: 'i64', kernel: 'bpfRedirectMap' },
  {
    id: 54,
    name: 'xdp_adjust_meta',
    args: ['context', 'u32'],
    returns: 'i64',
    movesPacket: true,
    kernel: 'bpfAdjustMeta',
  },
  {
    id: 65,
    name: 'xdp_adjust_tail',
    args: ['context', 'u32'],
    returns: 'i64',
    movesPacket: true,
    kernel: 'bpfAdjustTail',
  },
  { id: 69, name: 'fib_lookup', args: ['context', 'writable', 'size', 'u32'], returns: 'i64', kernel: 'bpfFibLookup' },
  { id: 93, name: 'spin_lock', args: ['lock'], returns: 'i64', mayEnd: true, kernel: 'bpfSpinLock' },
  { id: 94, name: 'spin_unlock', args: ['lock'], returns: 'i64', mayEnd: true, kernel: 'bpfSpinUnlock' },
  { id: 118, name: 'jiffies64', args: [], returns: 'i64', kernel: 'bpfJiffies' },
  { id: 125, name: 'ktime_get_boot_ns', args: [], returns: 'i64', kernel: 'bpfKtime' },
  {
    id: 130,
    name: 'ringbuf_output',
    args: ['map', 'readable', 'size', 'u64'],
    returns: 'i64',
    kernel: 'bpfRingbufOutput',
  },
  { id: 131, name: 'ringbuf_reserve', args: ['map', 'u64', 'u64'], returns: 'address', kernel: 'bpfRingbufReserve' },
  { id: 132, name: 'ringbuf_submit', args: ['record', 'u64'], returns: 'i64', kernel: 'bpfRingbufSubmit' },
  { id: 133, name: 'ringbuf_discard', args: ['record', 'u64'], returns: 'i64', kernel: 'bpfRingbufDiscard' },
  { id: 134, name: 'ringbuf_query', args: ['map', 'u64'], returns: 'i64', kernel: 'bpfRingbufQuery' },
  { id: 160, name: 'ktime_get_coarse_ns', args: [], returns: 'i64', kernel: 'bpfKtime' },
  {
    id: 177,
    name: 'trace_vprintk',
    args: ['readable', 'size', 'readable or null', 'size'],
    returns: 'i64',
    kernel: 'bpfTraceVprintk',
  },
  { id: 188, name: 'xdp_get_buff_len', args: ['context'], returns: 'i64', kernel: 'bpfBuffLen' },
  {
    id: 189,
    name: 'xdp_load_bytes',
    args: ['context', 'u32', 'writable', 'size'],
    returns: 'i64',
    kernel: 'bpfLoadBytes',
  },
  {
    id: 190,
    name: 'xdp_store_bytes',
    args: ['context', 'u32', 'readable', 'size'],
    returns: 'i64',
    kernel: 'bpfStoreBytes',
  },
  {
    id: 195,
    name: 'map_lookup_percpu_elem',
    args: ['map', 'map key', 'u32'],
    returns: 'address',
    kernel: 'bpfMapLookupPercpu',
  },
  { id: 208, name: 'ktime_get_tai_ns', args: [], returns: 'i64', kernel: 'bpfKtime' },
];

/**
 * What bpf_for_each_map_elem asks for the next entry (`loops.ts`, `maps/each.kernel.ts`). No kernel has it, and programs call it only
 * by that.
 */
export const HELPER_NEXT = 0x10000;
const NEXT: Helper = {
  id: HELPER_NEXT,
  name: 'next_elem',
  args: ['map', 'writable', 'size'],
  returns: 'address',
  kernel: 'bpfNextElement',
};

/** The helpers that there are, by number. */
export const HELPERS: ReadonlyMap<number, Helper> = new Map([...LIST, NEXT].map((helper) => [helper.id, helper]));
