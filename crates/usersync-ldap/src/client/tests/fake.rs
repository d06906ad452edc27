//! A server that says what a test wants it to say, byte by byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::ber::{self, ENUMERATED, INTEGER, OCTETS, SEQUENCE, SET};
use super::super::guard::operation;

/// What it answers to a request of this operation and message number; `None` closes the connection.
type Script = Box<dyn FnMut(u8, i64) -> Option<Vec<u8>> + Send>;

pub(super) struct Fake {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Fake {
    pub(super) async fn start(script: impl FnMut(u8, i64) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut script: Script = Box::new(script);
        let log = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &mut script, &log).await;
            }
        });
        Self { port, received }
    }

    pub(super) fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Everything that was said to it so far.
    pub(super) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, script: &mut Script, log: &Mutex<Vec<u8>>) {
    let mut buffer = Vec::new();
    loop {
        while let Some(header) = ber::header(&buffer).unwrap() {
            if buffer.len() < header.whole() {
                break;
            }
            let rest = buffer.split_off(header.whole());
            let message = std::mem::replace(&mut buffer, rest);
            let mut inner = ber::Elements::new(&message).expect(SEQUENCE).unwrap().elements();
            let id = inner.expect(INTEGER).unwrap().integer().unwrap();
            let tag = inner.next().unwrap().unwrap().tag;
            match script(tag, id) {
                Some(answer) => {
                    // The client may have hung up on what came before.
                    let _ = stream.write_all(&answer).await;
                }
                None => return,
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => log
                .lock()
                .unwrap()
                .extend_from_slice(&buffer[buffer.len() - count..]),
        }
    }
}

/// A whole message.
pub(super) fn message(id: i64, tag: u8, content: &[u8], controls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut inner = Vec::new();
    ber::push_number(&mut inner, INTEGER, id);
    ber::push(&mut inner, tag, content);
    if !controls.is_empty() {
        let mut all = Vec::new();
        for (oid, value) in controls {
            let mut control = Vec::new();
            ber::push(&mut control, OCTETS, oid.as_bytes());
            ber::push(&mut control, OCTETS, value);
            ber::push(&mut all, SEQUENCE, &control);
        }
        ber::push(&mut inner, 0xa0, &all);
    }
    let mut out = Vec::new();
    ber::push(&mut out, SEQUENCE, &inner);
    out
}

/// A result with a code and a text.
pub(super) fn result(id: i64, tag: u8, code: i64, text: &str) -> Vec<u8> {
    message(id, tag, &outcome(code, text), &[])
}

pub(super) fn outcome(code: i64, text: &str) -> Vec<u8> {
    let mut content = Vec::new();
    ber::push_number(&mut content, ENUMERATED, code);
    ber::push(&mut content, OCTETS, b"");
    ber::push(&mut content, OCTETS, text.as_bytes());
    content
}

/// The end of a page, with where the next one begins.
pub(super) fn page_end(id: i64, cookie: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    ber::push_number(&mut inner, INTEGER, 0);
    ber::push(&mut inner, OCTETS, cookie);
    let mut value = Vec::new();
    ber::push(&mut value, SEQUENCE, &inner);
    message(
        id,
        operation::SEARCH_DONE,
        &outcome(0, ""),
        &[("1.2.840.113556.1.4.319", value)],
    )
}

/// An entry with one attribute.
pub(super) fn entry(id: i64, dn: &str, attribute: &str, values: &[&[u8]]) -> Vec<u8> {
    let mut set = Vec::new();
    for value in values {
        ber::push(&mut set, OCTETS, value);
    }
    let mut pair = Vec::new();
    ber::push(&mut pair, OCTETS, attribute.as_bytes());
    ber::push(&mut pair, SET, &set);
    let mut attributes = Vec::new();
    ber::push(&mut attributes, SEQUENCE, &pair);
    let mut content = Vec::new();
    ber::push(&mut content, OCTETS, dn.as_bytes());
    ber::push(&mut content, SEQUENCE, &attributes);
    message(id, operation::ENTRY, &content, &[])
}
