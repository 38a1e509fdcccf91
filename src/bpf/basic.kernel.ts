import { CTX_CLOCK, CTX_CPU, CTX_RANDOM } from './layout.ts';

/** Jiffies of a second: CONFIG_HZ of most distributions' kernels. */
const HZ: u64 = 250;
const NS_PER_S: u64 = 1_000_000_000;

function now(ctx: u32): u64 {
  const clock = load<u32>(ctx, CTX_CLOCK);
  return <u64>load<u32>(clock) * NS_PER_S + load<u32>(clock, 4);
}

/** bpf_ktime_get_ns and its kin: the lcore's time in ns. */
export function ktime(ctx: u32): i64 {
  return now(ctx);
}

/** bpf_jiffies64: the lcore's time in 1/250 s. */
export function jiffies(ctx: u32): i64 {
  return now(ctx) / (NS_PER_S / HZ);
}

/** bpf_get_prandom_u32: xorshift64*, its upper half. */
export function prandom(ctx: u32): u32 {
  let x = load<u64>(ctx, CTX_RANDOM);
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  store<u64>(ctx, x, CTX_RANDOM);
  return <u32>((x * (((<u64>0x2545f491) << 32) | 0x4f6cdd1d)) >> 32);
}

/** bpf_get_smp_processor_id: the lcore's number. */
export function processorId(ctx: u32): u32 {
  return load<u32>(ctx, CTX_CPU);
}

/** bpf_get_numa_node_id: there is one memory. */
export function numaNode(_ctx: u32): u32 {
  return 0;
}
