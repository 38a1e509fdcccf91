/* What the examples share: bounds checks that the verifier follows, and headers in network order. */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* A pointer to the TYPE at OFFSET bytes of the packet; null when the packet ends before. */
#define HEADER(ctx, offset, type)                                                       \
	({                                                                              \
		type *header_ = (void *)(long)(ctx)->data + (offset);                   \
		(void *)(header_ + 1) > (void *)(long)(ctx)->data_end ? (type *)0 : header_; \
	})

/* Adds to one of a CPU's counters. */
static __always_inline void count(void *map, __u32 index)
{
	__u64 *value = bpf_map_lookup_elem(map, &index);
	if (value)
		*value += 1;
}
