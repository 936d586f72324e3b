//! The DHCP server's reasons as text, for the timeline; the event's facts contain the stable name.

use pxe::Why;

/// Why a packet was not answered. Fits after "not answered: ".
pub fn words(why: Why) -> &'static str {
    match why {
        Why::TooShort => "the packet is too short",
        Why::TooLong => "the packet is too long",
        Why::NotARequest => "it is not a request",
        Why::NotEthernet => "its hardware address is not Ethernet",
        Why::BadMac => "its hardware address is not a single machine's",
        Why::BadCookie => "it is not DHCP",
        Why::BrokenOptions => "its options are malformed",
        Why::NoMessageType => "it has no message type",
        Why::BadMessageType => "its message type is unknown",
        Why::ServerMessage => "it is a message that only servers send",
        Why::TooManyHops => "it passed too many relays",
        Why::UnknownRelay => "its relay is in none of the networks in cluster.yaml",
        Why::OtherServer => "it accepted another server's offer",
        Why::PolicySilent => "there is nothing for it to boot",
        Why::PoolExhausted => "no address is free",
        Why::NoAddressAsked => "it requests no address",
        Why::UnknownClient => "it has no lease here",
        Why::WrongNetwork => "its address is in none of this network's pools",
        Why::AddressTaken => "the address belongs to another machine",
        Why::WrongAddress => "its lease is for another address",
        Why::NotTheHolder => "the address is not leased to it",
        Why::JournalFailed => "the lease could not be written to disk",
        Why::JournalFull => "too many leases are waiting for the disk",
        Why::NotReserved => "no address is reserved for it",
        Why::ProxyPlain => "no network boot; another server assigns the addresses",
        Why::StillProbing => "the seed is still probing for other DHCP servers",
        Why::NotPxe => "it does not boot from the network",
        Why::TooMany => "too many such requests arrive",
        Why::SendFailed => "the reply could not be sent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own() {
        let all: std::collections::BTreeSet<_> = Why::ALL.iter().map(|w| words(*w)).collect();
        assert_eq!(all.len(), Why::ALL.len());
        assert!(all.iter().all(|w| !w.contains('_') && w.len() <= 64));
    }
}
