/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What flow.bpf.c and user space share. src/kernel/layout.rs reads these structures byte by byte; change both. */
#pragma once

/* Limits. An entry that does not fit is counted in `lost`. */
#define MAX_INTERFACES 16
#define MAX_PREFIXES 16384
#define MAX_LISTENERS 4096
#define MAX_FLOWS 8192
#define MAX_CONNS 4096
#define MAX_DROPS 4096

#define INGRESS 0
#define EGRESS 1

/* Which side of a flow has the service port. */
#define SERVER 1
#define CLIENT 2

/* Identifiers of nodes: others start at 2. */
#define NODE_OTHER 0
#define NODE_SELF 1

/* Index of `lost`. */
#define LOST_FLOWS 0
#define LOST_CONNS 1
#define LOST_DROPS 2

/* IPv4 addresses are in the form ::ffff:a.b.c.d. */
struct prefix {
	__u32 bits;
	__u8 address[16];
};

struct place {
	__u32 node;
	__u32 plane;
};

struct flow_key {
	__u32 ifindex;
	__u32 node;
	__u16 port; /* of the service, in host order; 0 for protocols without ports */
	__u8 protocol;
	__u8 direction;
	__u8 role;
	__u8 pad[3];
};

struct flow_value {
	__u64 packets;
	__u64 bytes;   /* from the IP header on, as on the wire: after segmentation */
	__u64 payload; /* without the headers of IP, TCP and UDP */
	__u64 rtt_sum_us;
	__u64 rtt_samples;
	__u64 cgroup; /* of the newest packet that had one; 0: none */
};

struct conn_key {
	__u64 cgroup;
	__u32 node;
	__u32 plane;
	__u16 port;
	__u8 role;
	__u8 pad[5];
};

struct conn_value {
	__u64 opened;
	__u64 failed; /* attempts of this node that were refused or timed out */
	__u64 retransmits;
	__u64 rtt_sum_us;
	__u64 rtt_samples;
};

struct drop_key {
	__u32 ifindex;
	__u32 node;
	__u32 reason; /* enum skb_drop_reason of the running kernel */
	__u16 port;
	__u8 protocol;
	__u8 direction;
};

struct drop_value {
	__u64 packets;
	__u64 bytes;
};

#define MAP(name, kind, k, v, entries, options)     \
	struct {                                    \
		__uint(type, kind);                 \
		__type(key, k);                     \
		__type(value, v);                   \
		__uint(max_entries, entries);       \
		__uint(map_flags, options);         \
	} name SEC(".maps")

/* Interface to the length of its link layer's header: 14, or 0 for WireGuard. */
MAP(interfaces, BPF_MAP_TYPE_HASH, __u32, __u32, MAX_INTERFACES, 0);
MAP(places, BPF_MAP_TYPE_LPM_TRIE, struct prefix, struct place, MAX_PREFIXES, BPF_F_NO_PREALLOC);
/* TCP ports that this node listens on. */
MAP(listeners, BPF_MAP_TYPE_HASH, __u32, __u32, MAX_LISTENERS, 0);
MAP(flows, BPF_MAP_TYPE_PERCPU_HASH, struct flow_key, struct flow_value, MAX_FLOWS, 0);
MAP(conns, BPF_MAP_TYPE_HASH, struct conn_key, struct conn_value, MAX_CONNS, 0);
MAP(drops, BPF_MAP_TYPE_HASH, struct drop_key, struct drop_value, MAX_DROPS, 0);
MAP(lost, BPF_MAP_TYPE_ARRAY, __u32, __u64, 3, 0);
