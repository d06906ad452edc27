//! Stands between the protocol client and the server: what arrives is untrusted until it has passed here.
//!
//! The client keeps no limits, takes nested elements apart by recursion, and panics where a message is not formed as it
//! expects. So each answer is checked first: its size, its nesting, its form, whether anybody asked for it, and how much is
//! on its way already. TLS ends here, too, so that nothing is sent before it stands.

mod dial;
mod message;
mod window;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use usersync_model::visible;

use super::ber::{self, Malformed};
use super::server::ClientLimits;
use super::traffic::Counters;
pub(crate) use dial::{Dialled, dial};
use message::Message;
pub(crate) use message::operation;
pub(crate) use window::Window;

const BUFFER_BYTES: usize = 64 << 10;
/// What an element takes at least of the limit of a message: taken apart, the smallest takes more than twenty times as much
/// as on the wire.
const ELEMENT_BYTES: usize = 16;
/// The largest text of a server that an error repeats.
const TEXT_CHARACTERS: usize = 200;

/// Why a connection ended. The first reason stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the server closed the connection")]
    Closed,
    #[error("the server ended the connection with result {code}: {text}")]
    Disconnected { code: u32, text: String },
    #[error(
        "the server sent a message of {elements} values and other elements; the limit is {limit}, one for each 16 of `ClientLimits::message_bytes`; raise that if they are real"
    )]
    Elements { elements: usize, limit: usize },
    #[error("the connection broke")]
    Io(#[source] io::Error),
    #[error("the server sent something that is not LDAP: {0}")]
    Malformed(Malformed),
    #[error(
        "the server sent a message of {bytes} bytes, more than {limit}; raise `ClientLimits::message_bytes` if that is right"
    )]
    MessageBytes { bytes: usize, limit: usize },
    #[error("the server sent an answer of type {0:#x} that nobody asked for")]
    Unasked(u8),
}

/// What both sides of a connection know of it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) window: Window,
    counters: Arc<Counters>,
    limits: ClientLimits,
    /// For look-ups only.
    requests: Mutex<HashMap<i32, u8>>,
    fault: Mutex<Option<Arc<Fault>>>,
    ended: AtomicBool,
}

impl Shared {
    /// Why the connection ended, if it did by itself.
    pub(crate) fn fault(&self) -> Option<Arc<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing can be asked any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Lets nobody ask anything more, since an answer is still on its way that nobody takes.
    pub(crate) fn spoil(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn end(&self, fault: Fault) {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| Arc::new(fault));
        self.ended.store(true, Ordering::Release);
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, HashMap<i32, u8>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to carry messages between `server` and `client` until one of them is closed.
pub(crate) fn start<S, C>(server: S, client: C, limits: ClientLimits, counters: Arc<Counters>) -> Arc<Shared>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let shared = Arc::new(Shared {
        window: Window::new(limits.message_bytes),
        counters,
        limits,
        requests: Mutex::default(),
        fault: Mutex::default(),
        ended: AtomicBool::new(false),
    });
    let carried = Arc::clone(&shared);
    tokio::spawn(async move {
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let fault = tokio::select! {
            fault = requests(&mut from_client, &mut to_server, &carried) => fault,
            fault = answers(&mut from_server, &mut to_client, &carried) => fault,
        };
        // Before the streams are dropped, so that whoever finds them closed finds the reason, too.
        carried.end(fault);
    });
    shared
}

async fn requests<C, S>(client: &mut ReadHalf<C>, server: &mut WriteHalf<S>, shared: &Shared) -> Fault
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let mut messages = Messages::default();
    loop {
        match messages.next(client, usize::MAX).await {
            Ok(Some(bytes)) => {
                let sent = Message::parse(bytes).map_err(Fault::Malformed);
                let sent = sent.map(|message| (message.id, message.operation.tag));
                match sent {
                    Ok((id, tag)) => {
                        if message::is_answered(tag) {
                            shared.requests().insert(id, tag);
                        }
                        shared.counters.sent(tag, bytes.len());
                    }
                    Err(fault) => return fault,
                }
                if let Err(error) = server.write_all(bytes).await {
                    return Fault::Io(error);
                }
            }
            Ok(None) => {
                // The client is done; that the server hears of it is a courtesy.
                let _ = server.shutdown().await;
                return Fault::Closed;
            }
            Err(fault) => return fault,
        }
        if messages.is_drained()
            && let Err(error) = server.flush().await
        {
            return Fault::Io(error);
        }
    }
}

async fn answers<S, C>(server: &mut ReadHalf<S>, client: &mut WriteHalf<C>, shared: &Shared) -> Fault
where
    S: AsyncRead + AsyncWrite,
    C: AsyncRead + AsyncWrite,
{
    let mut messages = Messages::default();
    loop {
        let bytes = match messages.next(server, shared.limits.message_bytes).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Fault::Closed,
            Err(fault) => return fault,
        };
        let tag = match admit(bytes, shared) {
            Ok(Some(tag)) => tag,
            Ok(None) => continue,
            Err(fault) => return fault,
        };
        shared.counters.received(tag, bytes.len());
        if matches!(
            tag,
            operation::ENTRY | operation::INTERMEDIATE | operation::REFERENCE
        ) {
            shared.window.pass(bytes.len()).await;
        }
        if let Err(error) = client.write_all(bytes).await {
            return Fault::Io(error);
        }
    }
}

/// What the operation of an answer is, if somebody asked for it.
fn admit(bytes: &[u8], shared: &Shared) -> Result<Option<u8>, Fault> {
    let message = Message::parse(bytes).map_err(Fault::Malformed)?;
    let elements = message.check(bytes).map_err(Fault::Malformed)?;
    let limit = shared.limits.message_bytes / ELEMENT_BYTES;
    if elements > limit {
        return Err(Fault::Elements { elements, limit });
    }
    let tag = message.operation.tag;
    if message.id == 0 {
        let outcome = message.outcome().map_err(Fault::Malformed)?;
        return Err(Fault::Disconnected {
            code: outcome.code,
            text: printable(outcome.text),
        });
    }
    let mut requests = shared.requests();
    // An operation that was given up may still be answered.
    let Some(&request) = requests.get(&message.id) else {
        return Ok(None);
    };
    let last = message::answers(request, tag).ok_or(Fault::Unasked(tag))?;
    if last {
        requests.remove(&message.id);
    }
    Ok(Some(tag))
}

/// A text of the server, fit to be repeated.
pub(crate) fn printable(text: &str) -> String {
    let end = text.char_indices().nth(TEXT_CHARACTERS).map(|(end, _)| end);
    visible(text[..end.unwrap_or(text.len())].trim_end()).into_owned()
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
struct Messages {
    buffer: Vec<u8>,
    /// Where the first message that was not given yet begins.
    start: usize,
}

impl Messages {
    /// The next message; none at the end of the stream.
    async fn next<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        limit: usize,
    ) -> Result<Option<&[u8]>, Fault> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(header) = ber::header(rest).map_err(Fault::Malformed)? {
                // Found out now, what is no message is not waited for.
                if header.tag != ber::SEQUENCE {
                    return Err(Fault::Malformed(Malformed("a message is no sequence")));
                }
                let bytes = header.whole();
                if bytes > limit {
                    return Err(Fault::MessageBytes { bytes, limit });
                }
                if rest.len() >= bytes {
                    let start = self.start;
                    self.start += bytes;
                    return Ok(Some(&self.buffer[start..self.start]));
                }
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.reserve(BUFFER_BYTES);
            if from.read_buf(&mut self.buffer).await.map_err(Fault::Io)? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Fault::Malformed(Malformed("a message is cut off")))
                };
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.start == self.buffer.len()
    }
}
