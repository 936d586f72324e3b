/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Counts what crosses the planes and the underlay. tc sees packets; tracepoints see connections, retransmits and drops. Nothing is
 * changed, dropped or delayed, and nothing of a packet is read but its headers.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "kernel.h"
#include "maps.h"
#include "packet.h"

/* The packet goes on to the next program, or is accepted. */
#define NEXT (-1)
#define AF_INET 2
#define AF_INET6 10
/* States of TCP (include/net/tcp_states.h). */
#define ESTABLISHED 1
#define SYN_SENT 2
#define SYN_RECV 3
#define CLOSE 7
#define LISTEN 10
/* Ports from here on are those of clients (net.ipv4.ip_local_port_range). */
#define EPHEMERAL 32768

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Inode of the network namespace whose interfaces are counted. */
const volatile __u32 own_netns = 0;

static __always_inline void lose(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&lost, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* Which of two ports is the service's; `role` becomes the side of this node. */
static __always_inline __u16 service(__u8 protocol, bool own, __u16 local, __u16 remote, bool asked, __u8 *role)
{
	__u32 port = local;
	bool local_low = local < EPHEMERAL, remote_low = remote < EPHEMERAL;
	bool server;

	if (protocol == PROTOCOL_TCP && own && bpf_map_lookup_elem(&listeners, &port))
		server = true;
	else if (local_low != remote_low)
		server = local_low;
	else if (protocol == PROTOCOL_TCP && own)
		/* NFS connects from a low port; an attempt to connect from outside names the port it wants. */
		server = asked;
	else
		server = local <= remote;
	*role = server ? SERVER : CLIENT;
	return server ? local : remote;
}

static __always_inline struct flow_value *flow(const struct flow_key *key)
{
	struct flow_value *value = bpf_map_lookup_elem(&flows, key);
	struct flow_value none = {};

	if (value)
		return value;
	bpf_map_update_elem(&flows, key, &none, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&flows, key);
	if (!value)
		lose(LOST_FLOWS);
	return value;
}

static __always_inline void sample_rtt(struct __sk_buff *skb, struct flow_value *value)
{
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tcp;

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return;
	tcp = bpf_tcp_sock(sk);
	/* The kernel has it in eighths of a microsecond. */
	if (tcp && tcp->srtt_us) {
		value->rtt_sum_us += tcp->srtt_us >> 3;
		value->rtt_samples++;
	}
}

static __always_inline int count(struct __sk_buff *skb, __u8 direction)
{
	__u32 ifindex = skb->ifindex;
	__u32 *link = bpf_map_lookup_elem(&interfaces, &ifindex);
	struct origin from = {.skb = skb};
	struct flow_key key = {.ifindex = ifindex, .direction = direction};
	struct packet p = {};
	struct place *place;
	struct flow_value *value;
	__u32 payload, packets = 1;
	bool own, in = direction == INGRESS;

	if (!link || !parse(&from, *link, skb->protocol, &p))
		return NEXT;
	place = bpf_map_lookup_elem(&places, in ? &p.destination : &p.source);
	own = place && place->node == NODE_SELF;
	place = bpf_map_lookup_elem(&places, in ? &p.source : &p.destination);
	key.node = place ? place->node : NODE_OTHER;
	key.protocol = p.protocol;
	key.port = service(p.protocol, own, in ? p.destination_port : p.source_port, in ? p.source_port : p.destination_port,
			   in && p.syn, &key.role);
	/* What will be segmented has the length of the whole; otherwise the header's is without the padding of Ethernet. */
	if (skb->gso_size)
		p.total = skb->len - *link;
	payload = p.total > p.headers ? p.total - p.headers : 0;
	if (skb->gso_size && payload > skb->gso_size)
		packets = (payload + skb->gso_size - 1) / skb->gso_size;
	value = flow(&key);
	if (!value)
		return NEXT;
	value->packets += packets;
	value->bytes += p.total + (packets - 1) * p.headers;
	value->payload += payload;
	if (!in) {
		__u64 cgroup = bpf_skb_cgroup_id(skb);

		if (cgroup)
			value->cgroup = cgroup;
		if (p.protocol == PROTOCOL_TCP)
			sample_rtt(skb, value);
	}
	return NEXT;
}

SEC("classifier")
int flow_ingress(struct __sk_buff *skb)
{
	return count(skb, INGRESS);
}

SEC("classifier")
int flow_egress(struct __sk_buff *skb)
{
	return count(skb, EGRESS);
}

struct ends {
	struct prefix local;
	struct prefix remote;
	__u16 local_port;
	__u16 remote_port;
};

static __always_inline bool ends_of(struct sock *sk, struct ends *ends)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__be32 local, remote;

	ends->local.bits = 128;
	ends->remote.bits = 128;
	if (family == AF_INET) {
		local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		mapped(&ends->local, &local);
		mapped(&ends->remote, &remote);
	} else if (family == AF_INET6) {
		bpf_core_read(ends->local.address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(ends->remote.address, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		return false;
	}
	/* skc_num is 0 once the port is given back, which is before the last change of state. */
	ends->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	ends->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	return true;
}

/* The entry of a TCP socket of this node; none for connections inside the node, and for sockets of other hosts' namespaces. */
static __always_inline struct conn_value *conn(struct sock *sk, __u8 role)
{
	struct conn_key key = {};
	struct conn_value none = {}, *value;
	struct ends ends = {};
	struct place *local, *remote;

	if (BPF_CORE_READ(sk, sk_protocol) != PROTOCOL_TCP || !ends_of(sk, &ends))
		return NULL;
	local = bpf_map_lookup_elem(&places, &ends.local);
	if (!local || local->node != NODE_SELF)
		return NULL;
	remote = bpf_map_lookup_elem(&places, &ends.remote);
	key.node = remote ? remote->node : NODE_OTHER;
	if (key.node == NODE_SELF)
		return NULL;
	key.plane = local->plane;
	key.role = role;
	if (role)
		key.port = role == SERVER ? ends.local_port : ends.remote_port;
	else
		key.port = service(PROTOCOL_TCP, true, ends.local_port, ends.remote_port, false, &key.role);
	key.cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	value = bpf_map_lookup_elem(&conns, &key);
	if (value)
		return value;
	bpf_map_update_elem(&conns, &key, &none, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&conns, &key);
	if (!value)
		lose(LOST_CONNS);
	return value;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(flow_state, struct sock *sk, int old, int new)
{
	struct conn_value *value;
	__u32 srtt, port;

	if (new == LISTEN) {
		port = BPF_CORE_READ(sk, __sk_common.skc_num);
		if (BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) == own_netns)
			bpf_map_update_elem(&listeners, &port, &port, BPF_ANY);
		return 0;
	}
	if (old == SYN_SENT || (old == SYN_RECV && new == ESTABLISHED)) {
		value = conn(sk, old == SYN_SENT ? CLIENT : SERVER);
		if (value && new == ESTABLISHED)
			__sync_fetch_and_add(&value->opened, 1);
		else if (value && new == CLOSE)
			__sync_fetch_and_add(&value->failed, 1);
		return 0;
	}
	if (old != ESTABLISHED)
		return 0;
	/* Once for each connection; those of pods are not seen by sample_rtt(). */
	if (bpf_core_read(&srtt, sizeof(srtt), &((struct tcp_sock *)sk)->srtt_us) || !srtt)
		return 0;
	value = conn(sk, 0);
	if (value) {
		__sync_fetch_and_add(&value->rtt_sum_us, srtt >> 3);
		__sync_fetch_and_add(&value->rtt_samples, 1);
	}
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(flow_retransmit, struct sock *sk)
{
	struct conn_value *value = conn(sk, 0);

	if (value)
		__sync_fetch_and_add(&value->retransmits, 1);
	return 0;
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(flow_drop, struct sk_buff *skb, void *location, int reason)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);
	struct drop_key key = {.reason = reason};
	struct drop_value none = {}, *value;
	struct packet p = {};
	struct origin from = {};
	struct place *source, *remote;
	bool out;

	if (!dev) {
		/* What this node sends has no interface before it is routed; the lowest bit is a flag (include/linux/skbuff.h). */
		struct dst_entry *dst = (void *)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);

		dev = dst ? BPF_CORE_READ(dst, dev) : NULL;
		if (!dev)
			return 0;
	}
	key.ifindex = BPF_CORE_READ(dev, ifindex);
	if (!bpf_map_lookup_elem(&interfaces, &key.ifindex) || BPF_CORE_READ(dev, nd_net.net, ns.inum) != own_netns)
		return 0;
	from.base = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	if (!parse(&from, 0, BPF_CORE_READ(skb, protocol), &p))
		return 0;
	source = bpf_map_lookup_elem(&places, &p.source);
	out = source && source->node == NODE_SELF;
	remote = out ? bpf_map_lookup_elem(&places, &p.destination) : source;
	key.node = remote ? remote->node : NODE_OTHER;
	key.direction = out ? EGRESS : INGRESS;
	key.protocol = p.protocol;
	{
		__u8 role;

		key.port = service(p.protocol, true, out ? p.source_port : p.destination_port,
				   out ? p.destination_port : p.source_port, !out && p.syn, &role);
	}
	value = bpf_map_lookup_elem(&drops, &key);
	if (!value) {
		bpf_map_update_elem(&drops, &key, &none, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&drops, &key);
	}
	if (!value) {
		lose(LOST_DROPS);
		return 0;
	}
	__sync_fetch_and_add(&value->packets, 1);
	__sync_fetch_and_add(&value->bytes, p.total);
	return 0;
}
