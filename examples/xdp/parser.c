/* A parser of tail calls: each layer is a program of its own, which hands the packet on with where the next header begins. */
#include "headers.h"

enum { LAYER_IPV4, LAYER_IPV6, LAYER_UDP, LAYER_TCP, LAYERS };

int xdp_ipv4(struct xdp_md *ctx);
int xdp_ipv6(struct xdp_md *ctx);
int xdp_udp(struct xdp_md *ctx);
int xdp_tcp(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, LAYERS);
	__type(key, __u32);
	__array(values, int(void *));
} layers SEC(".maps") = {
	.values = {
		[LAYER_IPV4] = (void *)&xdp_ipv4,
		[LAYER_IPV6] = (void *)&xdp_ipv6,
		[LAYER_UDP] = (void *)&xdp_udp,
		[LAYER_TCP] = (void *)&xdp_tcp,
	},
};

/* Where the next header begins. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} offset SEC(".maps");

/* Packets by what the last layer was: 0 other, 1 IPv4, 2 IPv6, 3 UDP, 4 TCP. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static __always_inline __u32 *position(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&offset, &zero);
}

SEC("xdp")
int xdp_parser(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	__u32 *at = position();
	if (!eth || !at)
		return XDP_ABORTED;
	*at = sizeof(*eth);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		bpf_tail_call(ctx, &layers, LAYER_IPV4);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		bpf_tail_call(ctx, &layers, LAYER_IPV6);
	count(&seen, 0);
	return XDP_PASS;
}

/* What a packet of this protocol goes to. */
static __always_inline void next(struct xdp_md *ctx, __u8 protocol)
{
	if (protocol == IPPROTO_UDP)
		bpf_tail_call(ctx, &layers, LAYER_UDP);
	else if (protocol == IPPROTO_TCP)
		bpf_tail_call(ctx, &layers, LAYER_TCP);
}

SEC("xdp")
int xdp_ipv4(struct xdp_md *ctx)
{
	__u32 *at = position();
	if (!at || *at != sizeof(struct ethhdr))
		return XDP_ABORTED;
	struct iphdr *ip = HEADER(ctx, sizeof(struct ethhdr), struct iphdr);
	if (!ip || ip->ihl < 5)
		return XDP_DROP;
	*at += ip->ihl * 4;
	next(ctx, ip->protocol);
	count(&seen, 1);
	return XDP_PASS;
}

SEC("xdp")
int xdp_ipv6(struct xdp_md *ctx)
{
	__u32 *at = position();
	if (!at)
		return XDP_ABORTED;
	struct ipv6hdr *ip = HEADER(ctx, sizeof(struct ethhdr), struct ipv6hdr);
	if (!ip)
		return XDP_DROP;
	*at += sizeof(*ip);
	next(ctx, ip->nexthdr);
	count(&seen, 2);
	return XDP_PASS;
}

/* Where the packet goes on, within what an Ethernet header and the longest of the others can take. */
static __always_inline __u32 here(void)
{
	__u32 *at = position();
	return at ? *at & 127 : 0;
}

SEC("xdp")
int xdp_udp(struct xdp_md *ctx)
{
	struct udphdr *udp = HEADER(ctx, here(), struct udphdr);
	if (!udp || bpf_ntohs(udp->len) < sizeof(*udp))
		return XDP_DROP;
	count(&seen, 3);
	return XDP_PASS;
}

SEC("xdp")
int xdp_tcp(struct xdp_md *ctx)
{
	struct tcphdr *tcp = HEADER(ctx, here(), struct tcphdr);
	if (!tcp || tcp->doff < 5)
		return XDP_DROP;
	count(&seen, 4);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
