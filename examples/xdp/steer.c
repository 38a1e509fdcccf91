/* Deals flows to CPUs: a flow's packets all go to one, which takes them on from there. */
#include "headers.h"

/* Set before it is loaded: how many CPUs, from 0 on, take part. */
const volatile __u32 cpus = 2;

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} targets SEC(".maps");

/* Packets by the CPU that they were sent to. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} steered SEC(".maps");

SEC("xdp")
int xdp_steer(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	struct iphdr *ip = HEADER(ctx, sizeof(*eth), struct iphdr);
	struct udphdr *ports = HEADER(ctx, sizeof(*eth) + sizeof(*ip), struct udphdr);
	if (!eth || !ip || !ports || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	__u32 hash = ip->saddr ^ ip->daddr ^ ((__u32)ports->source << 16 | ports->dest);
	/* All bits of addresses and ports must tell: addresses in network order differ in their upper ones. */
	hash = (hash ^ (hash >> 16)) * 0x7feb352d;
	hash = (hash ^ (hash >> 15)) * 0x846ca68b;
	__u32 cpu = (hash >> 16) % (cpus ? cpus : 1);
	count(&steered, cpu);
	return bpf_redirect_map(&targets, cpu, XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
