/* Lets each source send so many packets a second, with bursts: a bucket of tokens for each, on each CPU. */
#include "headers.h"

#define SECOND 1000000000ULL

/* Set before it is loaded: packets a second, and how many may come at once. */
const volatile __u32 rate = 1000;
const volatile __u32 burst = 100;

struct bucket {
	__u64 at;
	/* In 1/SECOND packets, so that a nanosecond's share is whole. */
	__u64 tokens;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, struct bucket);
} buckets SEC(".maps");

/* 0: passed, 1: dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp")
int xdp_rate_limit(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	struct iphdr *ip = HEADER(ctx, sizeof(*eth), struct iphdr);
	if (!eth || !ip || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	__be32 source = ip->saddr;
	__u64 now = bpf_ktime_get_ns();
	__u64 full = burst * SECOND;
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &source);
	if (!bucket) {
		struct bucket fresh = { .at = now, .tokens = full - SECOND };
		bpf_map_update_elem(&buckets, &source, &fresh, BPF_ANY);
		count(&packets, 0);
		return XDP_PASS;
	}
	__u64 elapsed = now - bucket->at;
	/* A bucket that is full needs no more, and the product stays in 64 bits. */
	__u64 tokens = elapsed > SECOND * 60 ? full : bucket->tokens + elapsed * rate;
	if (tokens > full)
		tokens = full;
	bucket->at = now;
	if (tokens < SECOND) {
		bucket->tokens = tokens;
		count(&packets, 1);
		return XDP_DROP;
	}
	bucket->tokens = tokens - SECOND;
	count(&packets, 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
