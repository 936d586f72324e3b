/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Headers of IPv4, IPv6, TCP and UDP, read from a packet at tc or from one that the kernel frees. */
#pragma once

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
/* Most extension headers of IPv6 that are skipped; behind more of them the ports are not found. */
#define MAX_EXTENSIONS 4
#define TCP_SYN 0x02
#define TCP_ACK 0x10

struct ipv4_header {
	__u8 version_length;
	__u8 tos;
	__be16 total;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__u8 source[4];
	__u8 destination[4];
};

struct ipv6_header {
	__be32 version_flow;
	__be16 payload;
	__u8 next;
	__u8 hops;
	__u8 source[16];
	__u8 destination[16];
};

struct tcp_start {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledged;
	__u8 offset;
	__u8 flags;
};

/* Either a packet at tc, or the address of a network header. */
struct origin {
	struct __sk_buff *skb;
	const unsigned char *base;
};

struct packet {
	struct prefix source;
	struct prefix destination;
	__u32 headers; /* bytes of the headers of IP, TCP and UDP */
	__u32 total;   /* bytes, as the IP header says */
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 syn; /* the first packet of a TCP connection */
};

/* Inlined, so that a program of one kind has no helper of the other. */
static __always_inline long load(const struct origin *from, __u32 at, void *to, __u32 bytes)
{
	if (from->skb)
		return bpf_skb_load_bytes(from->skb, at, to, bytes);
	return bpf_probe_read_kernel(to, bytes, from->base + at);
}

static __always_inline void mapped(struct prefix *prefix, const void *ipv4)
{
	prefix->address[10] = 0xff;
	prefix->address[11] = 0xff;
	__builtin_memcpy(prefix->address + 12, ipv4, 4);
}

static __always_inline void transport(const struct origin *from, __u32 at, struct packet *p)
{
	struct tcp_start tcp = {};

	if (p->protocol == PROTOCOL_TCP) {
		if (load(from, at, &tcp, sizeof(tcp)))
			return;
		p->headers += (tcp.offset >> 4) * 4;
		p->syn = (tcp.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	} else if (p->protocol == PROTOCOL_UDP) {
		if (load(from, at, &tcp, 4))
			return;
		p->headers += 8;
	} else {
		return;
	}
	p->source_port = bpf_ntohs(tcp.source);
	p->destination_port = bpf_ntohs(tcp.destination);
}

static __always_inline bool ipv4(const struct origin *from, __u32 at, struct packet *p)
{
	struct ipv4_header ip;

	if (load(from, at, &ip, sizeof(ip)) || ip.version_length >> 4 != 4)
		return false;
	mapped(&p->source, ip.source);
	mapped(&p->destination, ip.destination);
	p->protocol = ip.protocol;
	p->headers = (ip.version_length & 15) * 4;
	p->total = bpf_ntohs(ip.total);
	/* Only the first fragment has ports. */
	if (!(bpf_ntohs(ip.fragment) & 0x1fff))
		transport(from, at + p->headers, p);
	return true;
}

static __always_inline bool ipv6(const struct origin *from, __u32 at, struct packet *p)
{
	struct ipv6_header ip;
	__u8 extension[4];
	__u8 next;

	if (load(from, at, &ip, sizeof(ip)))
		return false;
	__builtin_memcpy(p->source.address, ip.source, 16);
	__builtin_memcpy(p->destination.address, ip.destination, 16);
	next = ip.next;
	p->headers = sizeof(ip);
	p->total = sizeof(ip) + bpf_ntohs(ip.payload);
#pragma unroll
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		/* Hop-by-hop, routing and destination options; 44 is a fragment (RFC 8200). */
		if (next != 0 && next != 43 && next != 60 && next != 44)
			break;
		if (load(from, at + p->headers, extension, sizeof(extension)))
			return false;
		if (next == 44) {
			p->headers += 8;
			if ((extension[2] << 8 | extension[3]) & 0xfff8) {
				p->protocol = extension[0];
				return true;
			}
		} else {
			p->headers += (extension[1] + 1) * 8;
		}
		next = extension[0];
	}
	p->protocol = next;
	transport(from, at + p->headers, p);
	return true;
}

/* `at` is where the IP header starts; `ethertype` in network order. False for what is not IP. */
static __always_inline bool parse(const struct origin *from, __u32 at, __u32 ethertype, struct packet *p)
{
	p->source.bits = 128;
	p->destination.bits = 128;
	if (ethertype == bpf_htons(ETH_P_IP))
		return ipv4(from, at, p);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return ipv6(from, at, p);
	return false;
}
