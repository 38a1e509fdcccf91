/* Forwards frames by their destination MAC address: to ports, which may be guests. What it does not know goes on as usual. */
#include "headers.h"

struct mac {
	__u8 bytes[6];
};

/* Where addresses are: an index in `ports`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct mac);
	__type(value, __u32);
} stations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

SEC("xdp")
int xdp_l2_forward(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	if (!eth)
		return XDP_DROP;
	struct mac key;
	__builtin_memcpy(key.bytes, eth->h_dest, sizeof(key.bytes));
	__u32 *port = bpf_map_lookup_elem(&stations, &key);
	return port ? bpf_redirect_map(&ports, *port, XDP_PASS) : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
