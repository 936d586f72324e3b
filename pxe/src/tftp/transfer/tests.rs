use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::tftp::packet::{ack_packet, data_packet, error_packet, option_ack_packet};

/// A stopped clock: these tests do not depend on time.
const NOW: Duration = Duration::from_secs(5);

fn request(options: &[(&str, &str)]) -> ReadRequest {
    let options = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    ReadRequest { name: "f".into(), options }
}

fn bytes(len: usize) -> Arc<[u8]> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn transfer(len: usize, options: &[(&str, &str)]) -> Transfer {
    Transfer::new(bytes(len), &request(options), Limits::default())
}

fn blocks(step: &Step) -> Vec<u16> {
    match &step.send {
        Send::Blocks(blocks) => blocks.clone().map(|b| b as u16).collect(),
        other => panic!("{other:?}"),
    }
}

/// What the server puts on the wire for a step.
fn packets(t: &Transfer, step: &Step) -> Vec<Vec<u8>> {
    match &step.send {
        Send::Nothing => Vec::new(),
        Send::Options => vec![t.option_ack().to_vec()],
        Send::Blocks(blocks) => blocks.clone().map(|b| [&t.header(b)[..], t.data(b)].concat()).collect(),
    }
}

fn silent(step: &Step) -> bool {
    step.send == Send::Nothing
}

#[test]
fn options_are_granted_capped_or_omitted() {
    for (options, want) in [
        (vec![("blksize", "1468")], vec![("blksize", 1468)]),
        (vec![("blksize", "1467")], vec![("blksize", 1467)]),
        (vec![("blksize", "1469")], vec![("blksize", 1468)]),
        (vec![("blksize", "65464")], vec![("blksize", 1468)]),
        (vec![("blksize", "8")], vec![("blksize", 8)]),
        (vec![("tsize", "0")], vec![("tsize", 700)]),
        (vec![("tsize", "5")], vec![("tsize", 700)]),
        (vec![("timeout", "1")], vec![("timeout", 1)]),
        (vec![("timeout", "10")], vec![("timeout", 10)]),
        (vec![("tsize", "0"), ("timeout", "11")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("timeout", "255")], vec![("tsize", 700)]),
        (vec![("windowsize", "1")], vec![("windowsize", 1)]),
        (vec![("windowsize", "64")], vec![("windowsize", 64)]),
        (vec![("windowsize", "65")], vec![("windowsize", 64)]),
        (vec![("tsize", "0"), ("blksize", "0")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("blksize", "7")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("blksize", "65465")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("timeout", "0")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("timeout", "256")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("windowsize", "0")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("windowsize", "65536")], vec![("tsize", 700)]),
        (vec![("tsize", "0"), ("blksize", "+9"), ("other", "1"), ("tsize", "1")], vec![("tsize", 700)]),
        (vec![("blksize", "512"), ("blksize", "1024")], vec![("blksize", 512)]),
    ] {
        let mut t = transfer(700, &options);
        let step = t.start(NOW);
        assert_eq!(packets(&t, &step), [option_ack_packet(&want)], "{options:?}");
    }
    // Nothing granted: no option answer, the data itself.
    for options in [vec![], vec![("blksize", "0")], vec![("tsize", "")], vec![("tsize", "99999999999999999999")]] {
        assert_eq!(blocks(&transfer(700, &options).start(NOW)), [1], "{options:?}");
    }
}

#[test]
fn lock_step_to_the_end() {
    for (len, last) in [(0, 1), (511, 1), (512, 2), (513, 2), (1024, 3)] {
        let mut t = transfer(len, &[]);
        assert_eq!(blocks(&t.start(NOW)), [1]);
        for block in 1..last {
            assert_eq!(blocks(&t.on_packet(&ack_packet(block), NOW)), [block + 1], "{len}");
        }
        assert_eq!(t.on_packet(&ack_packet(last), NOW).status, Status::Done, "{len}");
        assert_eq!(t.acked_bytes(), len as u64);
    }
}

#[test]
fn a_size_probe_ends_with_the_clients_error() {
    let mut t = transfer(700, &[("tsize", "0"), ("blksize", "1468")]);
    t.start(NOW);
    let step = t.on_packet(&error_packet(8, "User aborted the transfer"), NOW);
    assert_eq!(step.status, Status::Aborted { message: "User aborted the transfer".into() });
    assert!(silent(&step));
    assert_eq!(t.acked_bytes(), 0);
}

#[test]
fn acks_outside_the_window_change_nothing() {
    let mut t = transfer(100_000, &[("windowsize", "4")]);
    t.start(NOW);
    assert!(silent(&t.on_packet(&ack_packet(1), NOW)), "the options come first");
    assert_eq!(blocks(&t.on_packet(&ack_packet(0), NOW)), [1, 2, 3, 4]);
    for stray in [5, 6, 0x8000, 0xffff] {
        let step = t.on_packet(&ack_packet(stray), NOW);
        assert!(silent(&step) && !step.rearm && step.status == Status::Running, "{stray}");
    }
    assert!(silent(&t.on_packet(b"junk", NOW)));
    // Inside the window: what follows was lost.
    assert_eq!(blocks(&t.on_packet(&ack_packet(2), NOW)), [3, 4, 5, 6]);
    assert!(silent(&t.on_packet(&ack_packet(2), NOW)), "already repeated");
    assert_eq!(blocks(&t.on_packet(&ack_packet(6), NOW)), [7, 8, 9, 10]);
    assert_eq!(blocks(&t.on_packet(&ack_packet(6), NOW)), [7, 8, 9, 10], "the first of the window was lost");
    assert!(silent(&t.on_packet(&ack_packet(6), NOW)), "once");
}

#[test]
fn a_repeated_ack_in_lock_step_is_not_answered() {
    let mut t = transfer(5_000, &[]);
    t.start(NOW);
    assert_eq!(blocks(&t.on_packet(&ack_packet(1), NOW)), [2]);
    assert!(silent(&t.on_packet(&ack_packet(1), NOW)));
}

#[test]
fn the_retry_budget_resets_on_progress_and_is_small_before_contact() {
    let limits = Limits::default();
    let mut t = transfer(5_000, &[]);
    t.start(NOW);
    for _ in 0..limits.first_retries {
        assert_eq!(blocks(&t.on_timeout(NOW)), [1]);
    }
    assert_eq!(t.on_timeout(NOW).status, Status::TimedOut);

    let mut t = transfer(5_000, &[]);
    t.start(NOW);
    for block in 1..4 {
        t.on_packet(&ack_packet(block), NOW);
        for _ in 0..limits.retries {
            assert_eq!(blocks(&t.on_timeout(NOW)), [block + 1]);
            assert!(!t.on_packet(&ack_packet(block), NOW).rearm, "noise does not reset the timer");
        }
    }
    assert_eq!(t.on_timeout(NOW).status, Status::TimedOut);
}

#[test]
fn block_numbers_wrap_to_zero() {
    let len = 8 * 65_536 * 2 + 3;
    let mut t = transfer(len, &[("blksize", "8")]);
    t.start(NOW);
    let mut step = t.on_packet(&ack_packet(0), NOW);
    let mut sent = 0u64;
    while step.status == Status::Running {
        sent += 1;
        let block = blocks(&step)[0];
        assert_eq!(block, sent as u16);
        step = t.on_packet(&ack_packet(block), NOW);
    }
    assert_eq!((step.status, sent), (Status::Done, 65_536 * 2 + 1));
}

/// A client as RFC 1350 and 7440 describe it, on a link that loses, repeats and reorders by `fate`.
struct Client {
    got: Vec<u8>,
    next: u64,
    blksize: usize,
    window: u64,
    in_window: u64,
    done: bool,
    started: bool,
}

impl Client {
    fn receive(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        match parse(packet).unwrap() {
            Packet::OptionAck(_) if self.next == 1 => Some(ack_packet(0)),
            Packet::Data { block, data } => {
                self.started = true;
                if block != self.next as u16 {
                    // A gap or an old block: say what arrived last in order.
                    self.in_window = 0;
                    return Some(ack_packet((self.next - 1) as u16));
                }
                if self.done {
                    return None;
                }
                self.got.extend_from_slice(data);
                self.next += 1;
                self.in_window += 1;
                self.done = data.len() < self.blksize;
                if self.done || self.in_window == self.window {
                    self.in_window = 0;
                    return Some(ack_packet(block));
                }
                None
            }
            _ => None,
        }
    }
}

fn run(file: &Arc<[u8]>, blksize: u16, window: u16, fates: &[u8]) -> (Status, Client, usize) {
    let options = [("blksize", blksize.to_string()), ("windowsize", window.to_string())];
    let options: Vec<(&str, &str)> = options.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let limits = Limits { max_window: 64, ..Limits::default() };
    let mut t = Transfer::new(file.clone(), &request(&options), limits);
    let (size, window) = (usize::from(blksize), u64::from(window));
    let mut client = Client { got: Vec::new(), next: 1, blksize: size, window, in_window: 0, done: false, started: false };
    let mut fate = fates.iter().copied().cycle();
    let mut packets = 0usize;
    let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
    // 0..=9 of 64: lost; 10..=14: twice; 15..=19: behind what follows.
    let mut carry = |queue: &mut VecDeque<Vec<u8>>, packet: Vec<u8>| match fate.next().unwrap_or(63) % 64 {
        0..=9 => {}
        10..=14 => queue.extend([packet.clone(), packet]),
        15..=19 => queue.push_front(packet),
        _ => queue.push_back(packet),
    };
    let mut now = NOW;
    let mut step = t.start(now);
    loop {
        let sent = self::packets(&t, &step);
        packets += sent.len();
        sent.into_iter().for_each(|p| carry(&mut queue, p));
        if step.status != Status::Running {
            return (step.status, client, packets);
        }
        now += Duration::from_millis(1);
        let mut acks = VecDeque::new();
        while let Some(packet) = queue.pop_front() {
            if let Some(ack) = client.receive(&packet) {
                carry(&mut acks, ack);
            }
        }
        // Every answer is handled at once, like in the server.
        let mut quiet = true;
        step = Step { send: Send::Nothing, rearm: false, status: Status::Running };
        while let (Some(ack), true) = (acks.pop_front(), step.status == Status::Running) {
            step = t.on_packet(&ack, now);
            quiet &= step.send == Send::Nothing && step.status == Status::Running;
            if !acks.is_empty() && step.status == Status::Running {
                let sent = self::packets(&t, &step);
                packets += sent.len();
                sent.into_iter().for_each(|p| carry(&mut queue, p));
                step.send = Send::Nothing;
            }
        }
        if quiet && queue.is_empty() {
            now += t.wait();
            step = t.on_timeout(now);
        }
    }
}

#[test]
fn a_block_is_header_and_part_of_the_file() {
    let t = transfer(1_000, &[]);
    assert_eq!([&t.header(2)[..], t.data(2)].concat(), data_packet(2, &bytes(1_000)[512..]));
    assert_eq!((t.header(65_536), t.data(3), t.data(u64::MAX)), ([0, 3, 0, 0], &[][..], &[][..]));
    assert_eq!(t.packet_len(), 516);
}

#[test]
fn the_wait_follows_the_round_trip_unless_the_client_requested_one() {
    let limit = Limits::default().timeout;
    let mut t = transfer(50_000, &[]);
    t.start(NOW);
    assert_eq!(t.wait(), limit, "nothing measured yet");
    t.on_packet(&ack_packet(1), NOW + Duration::from_micros(300));
    assert_eq!(t.wait(), MIN_WAIT);
    for doubled in [2, 4, 8, 16, 32] {
        t.on_timeout(NOW);
        assert_eq!(t.wait(), MIN_WAIT * doubled);
    }
    t.on_timeout(NOW);
    assert_eq!(t.wait(), limit);
    // A retransmitted block does not measure the round trip; the next one does.
    t.on_packet(&ack_packet(2), NOW + Duration::from_secs(3));
    assert_eq!(t.wait(), MIN_WAIT);
    t.on_packet(&ack_packet(3), NOW + Duration::from_secs(3) + Duration::from_millis(160));
    assert!((MIN_WAIT * 2..limit).contains(&t.wait()), "{:?}", t.wait());

    let mut t = transfer(50_000, &[("timeout", "3")]);
    t.start(NOW);
    t.on_packet(&ack_packet(0), NOW);
    t.on_packet(&ack_packet(1), NOW);
    assert_eq!(t.wait(), Duration::from_secs(3));
    t.on_timeout(NOW);
    assert_eq!(t.wait(), Duration::from_secs(3));
}

/// Duration of a transfer in seconds, and its result, if the client reacts with `answer` to each packet.
fn lasts(t: &mut Transfer, mut answer: impl FnMut(&Step) -> Option<Vec<u8>>, every: Duration) -> (u64, Status) {
    let mut now = NOW;
    let mut step = t.start(now);
    while step.status == Status::Running && now < NOW + Duration::from_secs(3_600) {
        match answer(&step) {
            Some(packet) => {
                now += every;
                step = t.on_packet(&packet, now);
            }
            None => {
                now += t.wait();
                step = t.on_timeout(now);
            }
        }
    }
    ((now - NOW).as_secs(), step.status)
}

#[test]
fn a_clients_timeout_applies_only_after_its_first_answer() {
    // Four packets, a second apart, whatever was requested.
    for timeout in ["1", "10", "255"] {
        let mut t = transfer(50_000, &[("timeout", timeout), ("blksize", "1468")]);
        assert_eq!(lasts(&mut t, |_| None, NOW), (4, Status::TimedOut), "{timeout}");
    }
    // One answer, then silence: half a minute or so, and not a quarter of an hour.
    for (timeout, seconds) in [("1", 15), ("3", 33), ("9", 36), ("10", 30)] {
        let mut t = transfer(50_000, &[("timeout", timeout)]);
        let mut first = Some(ack_packet(0));
        let (lasted, status) = lasts(&mut t, |_| first.take(), Duration::ZERO);
        assert!(lasted <= seconds && matches!(status, Status::TimedOut | Status::TooSlow), "{timeout}: {lasted} {status:?}");
    }
}

#[test]
fn a_client_that_is_too_slow_loses_its_slot() {
    let ack = |step: &Step| match &step.send {
        Send::Options => Some(ack_packet(0)),
        Send::Blocks(blocks) => Some(ack_packet(*blocks.start() as u16)),
        Send::Nothing => None,
    };
    let block = |bytes: &str, timeout: &str| transfer(4_000_000, &[("blksize", bytes), ("timeout", timeout)]);
    // A block of 1468 bytes every nine seconds, and the smallest blocks at the speed of a distant machine.
    for (mut t, every) in [(block("1468", "10"), 9_000), (block("512", "2"), 1_000), (block("8", "1"), 20)] {
        let (lasted, status) = lasts(&mut t, ack, Duration::from_millis(every));
        assert!(lasted <= 48 && status == Status::TooSlow, "{every} ms: {lasted} {status:?}");
    }
    // At twice the rate it completes, however long that takes.
    let per_block = PACE_TIME.as_millis() as u64 * 1_468 / PACE_BYTES / 2;
    let mut t = transfer(400_000, &[("blksize", "1468")]);
    let (lasted, status) = lasts(&mut t, ack, Duration::from_millis(per_block));
    assert!(status == Status::Done && lasted > 300, "{lasted} {status:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn over_any_link_every_byte_arrives_or_the_transfer_ends_with_an_error(
        len in 0usize..40_000, blksize in 8u16..1469, window in 1u16..65, fates in proptest::collection::vec(any::<u8>(), 1..400)
    ) {
        let file = bytes(len);
        let (status, client, packets) = run(&file, blksize, window, &fates);
        prop_assert!(file.starts_with(&client.got));
        if status == Status::Done {
            prop_assert_eq!(&client.got[..], &file[..]);
        } else {
            prop_assert!(matches!(status, Status::TimedOut | Status::TooSlow));
        }
        // No amplification: each block at most as often as the budget and one early retransmission allow.
        let all = len / usize::from(blksize) + 2;
        let most = all * usize::from(window) * (Limits::default().retries as usize + 2);
        prop_assert!(packets <= most, "{packets} > {most}");
    }

    #[test]
    fn without_loss_each_block_is_sent_once(len in 0usize..40_000, blksize in 8u16..1469, window in 1u16..65) {
        let file = bytes(len);
        let (status, client, packets) = run(&file, blksize, window, &[63]);
        prop_assert_eq!(status, Status::Done);
        prop_assert_eq!(&client.got[..], &file[..]);
        prop_assert_eq!(packets, len / usize::from(blksize) + 2);
        prop_assert!(client.started);
    }
}
