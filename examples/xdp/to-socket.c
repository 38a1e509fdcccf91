/* Gives UDP datagrams to one port number to the socket of their receive queue; all else goes on as usual. */
#include "headers.h"

/* Set before it is loaded. */
const volatile __u16 port = 9;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int xdp_to_socket(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	struct iphdr *ip = HEADER(ctx, sizeof(*eth), struct iphdr);
	if (!eth || !ip || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	struct udphdr *udp = HEADER(ctx, sizeof(*eth) + sizeof(*ip), struct udphdr);
	if (!udp || udp->dest != bpf_htons(port))
		return XDP_PASS;
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
