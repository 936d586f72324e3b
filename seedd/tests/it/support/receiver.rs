//! A server that takes requests of the seed: webhooks, and questions to an inventory.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

pub struct Received {
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// Answers each request with the next of `answers` (status and body), then with the last one, and hands over what came. The URL has this
/// path.
pub fn receiver(path: &str, answers: Vec<(u16, String)>) -> (String, Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{path}", listener.local_addr().unwrap());
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut bytes = [0; 4096];
            loop {
                let got = stream.read(&mut bytes).unwrap();
                assert_ne!(got, 0, "the request ended early");
                text.push_str(std::str::from_utf8(&bytes[..got]).unwrap());
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let headers: BTreeMap<String, String> = head
                    .lines()
                    .filter_map(|l| l.split_once(": "))
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                    .collect();
                if body.len() == headers["content-length"].parse::<usize>().unwrap() {
                    let _ = send.send(Received { headers, body: body.to_owned() });
                    break;
                }
            }
            let (status, body) = answers.get(n).or(answers.last()).unwrap();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // In one piece: the sender may be gone once it has read the status, or as much as it takes of the body.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (url, receive)
}
