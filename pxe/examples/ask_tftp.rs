//! Sends TFTP packets from a file and prints the first answer to each: `ask_tftp FILE SERVER`, in the network namespace of a client.
//!
//! Each line is `NAME PACKET-IN-HEX`. It prints one line per packet: `NAME data`, `NAME options`, `NAME error CODE` or
//! `NAME silence`.

use std::net::UdpSocket;
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, server] = &args[..] else { return Err("usage: ask_tftp FILE SERVER".into()) };
    for line in std::fs::read_to_string(file)?.lines() {
        let (name, hex) = line.split_once(' ').ok_or("NAME HEX")?;
        let byte = |at: usize| Ok::<u8, Failure>(u8::from_str_radix(hex.get(at..at + 2).ok_or("odd")?, 16)?);
        let packet = (0..hex.len()).step_by(2).map(byte).collect::<Result<Vec<u8>, Failure>>()?;
        // A port of its own for each, so that no answer is taken for another's.
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(700)))?;
        socket.send_to(&packet, (server.as_str(), 69))?;
        println!("{name} {}", answer(&socket));
    }
    Ok(())
}

fn answer(socket: &UdpSocket) -> String {
    let mut buffer = [0u8; 1600];
    let Ok((len, from)) = socket.recv_from(&mut buffer) else { return "silence".into() };
    match buffer[..len] {
        [0, kind @ (3 | 6), ..] => {
            // It is served: end the transfer.
            let _ = socket.send_to(b"\0\x05\0\0enough\0", from);
            if kind == 3 { "data".into() } else { "options".into() }
        }
        [0, 5, a, b, ..] => format!("error {}", u16::from_be_bytes([a, b])),
        _ => "?".into(),
    }
}
