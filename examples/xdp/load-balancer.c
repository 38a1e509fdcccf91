/*
 * Spreads the connections to a virtual address over servers: rewrites the destination, mends the checksums with what
 * changed, and sends the frame back out. A connection stays at its server while the LRU table remembers it.
 */
#include "headers.h"

struct service {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

struct servers {
	__u32 first;
	__u32 count;
};

struct server {
	__be32 address;
	__u8 mac[6];
	__u8 zero[2];
};

struct connection {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 protocol;
};

/* Virtual addresses, and which of `servers` are behind each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct service);
	__type(value, struct servers);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct server);
} servers SEC(".maps");

/* The server of each connection: an index in `servers`. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct connection);
	__type(value, __u32);
} connections SEC(".maps");

/* Folds a sum of 16-bit words, and a checksum that it is to change, to that checksum (RFC 1624). */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void mend(__sum16 *check, __be32 from, __be32 to)
{
	__s64 sum = bpf_csum_diff(&from, sizeof(from), &to, sizeof(to), ~*check & 0xffff);
	if (sum >= 0)
		*check = fold(sum);
}

static __always_inline __u32 choose(const struct connection *key, const struct servers *group)
{
	__u32 hash = key->source * 0x9e3779b1 ^ (((__u32)key->source_port << 16) | key->destination_port);
	hash = (hash ^ (hash >> 15)) * 0x85ebca77;
	return group->first + (hash >> 8) % (group->count ? group->count : 1);
}

SEC("xdp")
int xdp_load_balancer(struct xdp_md *ctx)
{
	struct ethhdr *eth = HEADER(ctx, 0, struct ethhdr);
	struct iphdr *ip = HEADER(ctx, sizeof(*eth), struct iphdr);
	if (!eth || !ip || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	/* Ports lie at the same place in both; fragments but the first have none. */
	struct udphdr *udp = HEADER(ctx, sizeof(*eth) + sizeof(*ip), struct udphdr);
	if (!udp || (ip->frag_off & bpf_htons(0x1fff)))
		return XDP_PASS;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP)
		return XDP_PASS;

	struct service vip = { .address = ip->daddr, .port = udp->dest, .protocol = ip->protocol };
	struct servers *group = bpf_map_lookup_elem(&services, &vip);
	if (!group)
		return XDP_PASS;

	struct connection key = {
		.source = ip->saddr,
		.destination = ip->daddr,
		.source_port = udp->source,
		.destination_port = udp->dest,
		.protocol = ip->protocol,
	};
	__u32 *known = bpf_map_lookup_elem(&connections, &key);
	__u32 index = known ? *known : choose(&key, group);
	struct server *server = bpf_map_lookup_elem(&servers, &index);
	if (!server || !server->address)
		return XDP_DROP;
	if (!known)
		bpf_map_update_elem(&connections, &key, &index, BPF_ANY);

	if (ip->protocol == IPPROTO_UDP) {
		/* 0 means that there is none (RFC 768). */
		if (udp->check)
			mend(&udp->check, ip->daddr, server->address);
	} else {
		struct tcphdr *tcp = HEADER(ctx, sizeof(*eth) + sizeof(*ip), struct tcphdr);
		if (!tcp)
			return XDP_DROP;
		mend(&tcp->check, ip->daddr, server->address);
	}
	mend(&ip->check, ip->daddr, server->address);
	ip->daddr = server->address;
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, server->mac, ETH_ALEN);
	return XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
