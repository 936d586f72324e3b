//! Reasons for no answer or a negative one. Each has a stable name for metrics.

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of their counters.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The stable name (lower case, underscores), used as a metric label.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// The reason a DHCP packet was ignored or refused.
    Why {
        /// Shorter than the fixed BOOTP header and the magic cookie (240 bytes, RFC 2131 section 2).
        TooShort => "too_short",
        /// Longer than [`crate::dhcp::wire::MAX_PACKET`].
        TooLong => "too_long",
        /// `op` is not BOOTREQUEST: another server's reply, or noise.
        NotARequest => "not_a_request",
        /// Hardware type or length is not that of Ethernet.
        NotEthernet => "not_ethernet",
        /// The hardware address is zero, broadcast or a multicast group.
        BadMac => "bad_mac",
        /// The four bytes after the header are not 99.130.83.99: plain BOOTP or noise.
        BadCookie => "bad_cookie",
        /// An option runs past the end of the packet, or an option overload is malformed.
        BrokenOptions => "broken_options",
        /// Option 53 is absent.
        NoMessageType => "no_message_type",
        /// Option 53 is of the wrong length or unknown.
        BadMessageType => "bad_message_type",
        /// Option 53 is one that only a server sends.
        ServerMessage => "server_message",
        /// More relay hops than RFC 1542 section 4.1.1 allows.
        TooManyHops => "too_many_hops",
        /// No configured network has the relay (`giaddr`) or the link that it names.
        UnknownRelay => "unknown_relay",
        /// A REQUEST that selects another server.
        OtherServer => "other_server",
        /// The boot policy chose not to answer.
        PolicySilent => "policy_silent",
        /// Every address is bound or quarantined.
        PoolExhausted => "pool_exhausted",
        /// A REQUEST with neither `ciaddr` nor option 50.
        NoAddressAsked => "no_address_asked",
        /// A client asks to confirm its old address but is unknown here (RFC 2131 section 4.3.2).
        UnknownClient => "unknown_client",
        /// The address is not in the subnet, or cannot be leased from here.
        WrongNetwork => "wrong_network",
        /// The address belongs to another client.
        AddressTaken => "address_taken",
        /// The client's address is a different one.
        WrongAddress => "wrong_address",
        /// A RELEASE or DECLINE for an address that does not belong to this client.
        NotTheHolder => "not_the_holder",
        /// The lease could not be stored.
        JournalFailed => "journal_failed",
        /// More leases are waiting for the disk than [`crate::server::dhcp::limits::MAX_PENDING`].
        JournalFull => "journal_full",
        /// The machine has no reservation, and only machines with a reservation are served.
        NotReserved => "not_reserved",
        /// Another DHCP server is active: it serves clients that do not boot from the network.
        ProxyPlain => "proxy_plain",
        /// Still probing for another server.
        StillProbing => "still_probing",
        /// On the boot server's port 4011, from a client that does not boot from the network.
        NotPxe => "not_pxe",
        /// Rate limit exceeded.
        TooMany => "too_many",
        /// The reply could not be encoded or sent.
        SendFailed => "send_failed",
    }
}
