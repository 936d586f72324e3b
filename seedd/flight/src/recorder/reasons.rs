//! Reasons of the DHCP server in words, for the timeline; the fact beside it keeps the stable name.

use pxe::Why;

/// Why a packet was not answered. Fits after "not answered: ".
pub fn words(why: Why) -> &'static str {
    match why {
        Why::TooShort => "the packet is too short",
        Why::TooLong => "the packet is too long",
        Why::NotARequest => "it is no request",
        Why::NotEthernet => "its hardware addresses are not Ethernet's",
        Why::BadMac => "its hardware address is none of one machine",
        Why::BadCookie => "it is not DHCP",
        Why::BrokenOptions => "its options are broken",
        Why::NoMessageType => "it does not say what it asks",
        Why::BadMessageType => "what it asks is unknown",
        Why::ServerMessage => "it says what only servers say",
        Why::TooManyHops => "it came through too many relays",
        Why::UnknownRelay => "it came by a relay of no network in cluster.yaml",
        Why::OtherServer => "it takes another server's offer",
        Why::PolicySilent => "nothing for it to boot",
        Why::PoolExhausted => "no address is free",
        Why::NoAddressAsked => "it names no address",
        Why::UnknownClient => "nobody here gave it an address",
        Why::WrongNetwork => "its address is of another network",
        Why::AddressTaken => "the address belongs to another machine",
        Why::WrongAddress => "it has another address here",
        Why::NotTheHolder => "the address is not its own",
        Why::JournalFailed => "the lease could not be written to the disk",
        Why::JournalFull => "too many leases wait for the disk",
        Why::NotReserved => "no address is reserved for it",
        Why::ProxyPlain => "it does not want to boot, and another server gives addresses",
        Why::StillProbing => "the seed is still finding out who else serves here",
        Why::NotPxe => "it does not want to boot",
        Why::SendFailed => "the answer could not be sent",
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
