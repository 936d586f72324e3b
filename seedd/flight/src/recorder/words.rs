//! The text of an event, for the timeline. Each is a whole sentence or half of one, whatever the packet leaves out.

use cluster_seed::events::EventKind;
use pxe::dhcp::watch::Owner;
use pxe::policy::TransferError;
use pxe::{BootEvent, BootEventKind};

use super::reasons;

/// Who answers for the address of another DHCP server.
fn owns(owner: Owner) -> String {
    match owner {
        Owner::Machine(mac) => format!("its address is at {mac}"),
        Owner::Nobody | Owner::Unknown => "no machine has its address".to_owned(),
        Owner::NotAsked => "the network could not be asked for its address".to_owned(),
    }
}

/// The event's kind and text.
pub fn words(event: &BootEvent) -> (EventKind, String) {
    match &event.kind {
        BootEventKind::TftpStarted | BootEventKind::TftpDone | BootEventKind::TftpAborted(_) | BootEventKind::TftpError(_) => {
            of_transfer(event)
        }
        BootEventKind::OtherServer { .. }
        | BootEventKind::OtherServerDoubted { .. }
        | BootEventKind::OtherServerGone { .. }
        | BootEventKind::Serving { .. } => of_others(&event.kind),
        _ => of_dhcp(event),
    }
}

fn of_dhcp(event: &BootEvent) -> (EventKind, String) {
    let who = if event.ipxe { "iPXE" } else { "firmware or system" };
    let arch = event.arch.map(|a| format!(", {}", a.name())).unwrap_or_default();
    let ip = |none: &str| event.ip.map_or_else(|| none.to_owned(), |ip| ip.to_string());
    let (an_address, no_address) = (ip("an address"), ip("no particular address"));
    let file = event.file.as_ref().filter(|f| !f.is_empty());
    let then = file.map(|f| format!(", boot file {f}")).unwrap_or_default();
    match &event.kind {
        BootEventKind::Discover => (EventKind::DhcpDiscover, format!("{who} asks for an address{arch}")),
        // Beside another server, only that one offers addresses.
        BootEventKind::Offer if event.ip.is_none() => (EventKind::DhcpOffer, format!("offered no address{then}")),
        BootEventKind::Offer => (EventKind::DhcpOffer, format!("offered {an_address}{then}")),
        BootEventKind::Request => (EventKind::DhcpRequest, format!("{who} asks for {no_address}")),
        BootEventKind::Ack => (EventKind::DhcpAck, format!("has {an_address}{then}")),
        BootEventKind::Nak { why } => (EventKind::DhcpNak, format!("was refused {an_address}: {}", reasons::words(*why))),
        BootEventKind::Release => (EventKind::DhcpRelease, format!("released {an_address}")),
        BootEventKind::Decline => (EventKind::DhcpDecline, format!("declined {an_address}: another machine uses it")),
        BootEventKind::Inform => (EventKind::DhcpInform, format!("{who} at {} asked for options", ip("an unknown address"))),
        BootEventKind::AddressInUse { by } => (EventKind::DhcpInUse, format!("not offered {an_address}: {by} uses it")),
        BootEventKind::Ignored { why, detail, .. } => {
            let from = event.ip.filter(|_| event.mac.is_none()).map(|ip| format!("a packet from {ip} was ")).unwrap_or_default();
            let detail = detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default();
            (EventKind::DhcpIgnored, format!("{from}not answered: {}{detail}", reasons::words(*why)))
        }
        other => of_others(other),
    }
}

fn of_others(kind: &BootEventKind) -> (EventKind, String) {
    match kind {
        BootEventKind::OtherServer { server, answers, owner } => {
            let seen = format!("{answers} answers in a row, {}", owns(*owner));
            (EventKind::DhcpOther, format!("another DHCP server answers on this network: {server} ({seen})"))
        }
        BootEventKind::OtherServerDoubted { server, answers, owner } => {
            let times = if *answers == 1 { "once".to_owned() } else { format!("{answers} times") };
            let text = format!("a host answered {times} as DHCP server {server} ({}); this seed keeps serving", owns(*owner));
            (EventKind::DhcpOther, text)
        }
        BootEventKind::OtherServerGone { server } => {
            (EventKind::DhcpOther, format!("the DHCP server {server} no longer answers"))
        }
        BootEventKind::Serving { proxy: true } => {
            (EventKind::DhcpMode, "another DHCP server answers: this seed only serves boot files".to_owned())
        }
        _ => (EventKind::DhcpMode, "no other DHCP server answers: this seed assigns addresses".to_owned()),
    }
}

fn of_transfer(event: &BootEvent) -> (EventKind, String) {
    let ip = event.ip.map_or_else(|| "a machine".to_owned(), |ip| ip.to_string());
    let file = event.file.as_ref().filter(|f| !f.is_empty()).map_or("a file without a name", String::as_str);
    match &event.kind {
        BootEventKind::TftpStarted => (EventKind::TftpStarted, format!("{ip} is fetching {file}")),
        BootEventKind::TftpAborted(why) => (EventKind::TftpAborted, format!("{ip} aborted the transfer of {file}: {why}")),
        BootEventKind::TftpError(why @ (TransferError::NotARequest | TransferError::OffLink)) => {
            (EventKind::TftpError, format!("{ip} sent a packet to the TFTP port that is not answered: {why}"))
        }
        BootEventKind::TftpError(why @ TransferError::ReadOnly) => {
            (EventKind::TftpError, format!("{ip} may not write {file}: {why}"))
        }
        BootEventKind::TftpError(why @ (TransferError::NoSuchFile | TransferError::Mode)) => {
            (EventKind::TftpError, format!("{ip} did not get {file}: {why}"))
        }
        BootEventKind::TftpError(why) => (EventKind::TftpError, format!("the transfer of {file} to {ip} failed: {why}")),
        _ => (EventKind::TftpDone, format!("{ip} fetched {file}, {} bytes", event.bytes.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pxe::policy::Abort;
    use pxe::{ClientArch, Why};

    use super::*;

    fn all_kinds() -> Vec<BootEventKind> {
        let (server, owner, why) = ([10, 44, 0, 9].into(), Owner::Nobody, Why::WrongNetwork);
        let by = "52:54:00:ab:00:01".parse().unwrap();
        let ignored = Why::ALL.iter().map(|why| BootEventKind::Ignored { why: *why, cause: None, detail: None });
        let errors = [
            TransferError::NoSuchFile,
            TransferError::ReadOnly,
            TransferError::Mode,
            TransferError::NotARequest,
            TransferError::OffLink,
            TransferError::ClientSilent,
            TransferError::TooSlow(Duration::from_secs(1)),
            TransferError::BelowRate,
            TransferError::Socket("refused".into()),
        ];
        [
            BootEventKind::Discover,
            BootEventKind::Offer,
            BootEventKind::Request,
            BootEventKind::Ack,
            BootEventKind::Nak { why },
            BootEventKind::Inform,
            BootEventKind::Release,
            BootEventKind::Decline,
            BootEventKind::Ignored { why, cause: None, detail: Some("type 32, 0 bytes".into()) },
            BootEventKind::OtherServer { server, answers: 2, owner },
            BootEventKind::OtherServerDoubted { server, answers: 1, owner },
            BootEventKind::OtherServerGone { server },
            BootEventKind::Serving { proxy: true },
            BootEventKind::Serving { proxy: false },
            BootEventKind::AddressInUse { by },
            BootEventKind::TftpStarted,
            BootEventKind::TftpDone,
            BootEventKind::TftpAborted(Abort::Error("enough".into())),
            BootEventKind::TftpAborted(Abort::Replaced),
        ]
        .into_iter()
        .chain(ignored)
        .chain(errors.map(BootEventKind::TftpError))
        .collect()
    }

    #[test]
    fn no_text_has_a_gap_whatever_the_packet_leaves_out() {
        for kind in all_kinds() {
            for bits in 0..32u8 {
                let given = |bit: u8| bits & (1 << bit) != 0;
                let event = BootEvent {
                    mac: given(0).then(|| "52:54:00:ab:00:01".parse().unwrap()),
                    ip: given(1).then(|| [10, 44, 0, 100].into()),
                    file: if given(2) { Some("shimx64.efi".into()) } else { given(3).then(String::new) },
                    arch: given(4).then_some(ClientArch::EfiX64),
                    ..BootEvent::new(kind.clone(), "br0".into())
                };
                let (_, text) = words(&event);
                let gaps = ["  ", " ,", " :", "( ", " )", " ;", "()"];
                let ends = [" ", ":", ",", "for", "at", "of", "to", "from"];
                assert!(!gaps.iter().any(|g| text.contains(g)), "{text:?}");
                assert!(!text.is_empty() && !text.starts_with(' ') && !ends.iter().any(|e| text.ends_with(e)), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_refused_says_why_with_and_without_its_machine() {
        let detail = Some("type 32, InfiniBand, 0 bytes".to_owned());
        let kind = BootEventKind::Ignored { why: Why::NotEthernet, cause: None, detail };
        let mut event = BootEvent::new(kind, "br0".into());
        let text = "not answered: its hardware address is not Ethernet (type 32, InfiniBand, 0 bytes)";
        assert_eq!(words(&event), (EventKind::DhcpIgnored, text.to_owned()));
        event.ip = Some([10, 44, 0, 9].into());
        assert_eq!(words(&event).1, format!("a packet from 10.44.0.9 was {text}"));
        event.mac = Some("52:54:00:ab:00:01".parse().unwrap());
        assert_eq!(words(&event).1, text);
    }
}
