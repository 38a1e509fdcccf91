/* Two programs: one puts an 802.1Q tag into each frame, the other takes the outer tag away. */
#include "headers.h"

struct vlan {
	__be16 tci;
	__be16 type;
};

/* Set before it is loaded. */
const volatile __u16 vid = 100;

SEC("xdp")
int xdp_vlan_push(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct vlan)))
		return XDP_ABORTED;
	/* All that was known of the packet is void now. */
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	struct ethhdr *old = HEADER(ctx, sizeof(struct vlan), struct ethhdr);
	struct vlan *tag = HEADER(ctx, sizeof(*eth), struct vlan);
	if (!eth || !old || !tag)
		return XDP_ABORTED;
	__builtin_memmove(eth, old, 2 * ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_8021Q);
	tag->tci = bpf_htons(vid);
	return XDP_PASS;
}

SEC("xdp")
int xdp_vlan_pop(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	struct vlan *tag = HEADER(ctx, sizeof(*eth), struct vlan);
	if (!eth || !tag || (eth->h_proto != bpf_htons(ETH_P_8021Q) && eth->h_proto != bpf_htons(ETH_P_8021AD)))
		return XDP_PASS;
	struct ethhdr copy;
	__builtin_memcpy(&copy, eth, sizeof(copy));
	copy.h_proto = tag->type;
	if (bpf_xdp_adjust_head(ctx, sizeof(struct vlan)))
		return XDP_ABORTED;
	eth = HEADER(ctx, 0, struct ethhdr);
	if (!eth)
		return XDP_ABORTED;
	__builtin_memcpy(eth, &copy, sizeof(copy));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
