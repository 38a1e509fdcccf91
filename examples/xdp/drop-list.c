/* Drops what comes from addresses on a list, by longest prefix: the first line against a flood. */
#include "headers.h"

struct prefix4 {
	__u32 prefixlen;
	__u8 addr[4];
};

struct prefix6 {
	__u32 prefixlen;
	__u8 addr[16];
};

/* Sources to drop, with how many packets each entry has dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct prefix4);
	__type(value, __u64);
} denied SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct prefix6);
	__type(value, __u64);
} denied6 SEC(".maps");

/* 0: passed, 1: dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

static __always_inline __u64 *find4(struct iphdr *ip)
{
	struct prefix4 key = { .prefixlen = 32 };
	__builtin_memcpy(key.addr, &ip->saddr, 4);
	return bpf_map_lookup_elem(&denied, &key);
}

static __always_inline __u64 *find6(struct ipv6hdr *ip)
{
	struct prefix6 key = { .prefixlen = 128 };
	__builtin_memcpy(key.addr, &ip->saddr, 16);
	return bpf_map_lookup_elem(&denied6, &key);
}

SEC("xdp")
int xdp_drop_list(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	if (!eth)
		return XDP_DROP;
	__u64 *hits = 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = HEADER(ctx, sizeof(*eth), struct iphdr);
		if (ip)
			hits = find4(ip);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = HEADER(ctx, sizeof(*eth), struct ipv6hdr);
		if (ip)
			hits = find6(ip);
	}
	if (!hits) {
		count(&packets, 0);
		return XDP_PASS;
	}
	__sync_fetch_and_add(hits, 1);
	count(&packets, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
