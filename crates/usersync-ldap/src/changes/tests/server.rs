//! A server that answers searches, and changes of entries, as a test says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::ber::{self, BOOLEAN, ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, SET};
use crate::client::{LdapClient, LdapServer, Session, oid};

const MODIFY: u8 = 0x66;
const MODIFIED: u8 = 0x67;
const SEARCH: u8 = 0x63;
const SEARCHED: u8 = 0x65;

/// A search as it arrived; or a change of an entry, with what is to change for a filter.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) is_modify: bool,
    pub(crate) base: String,
    pub(crate) scope: i64,
    pub(crate) filter: Vec<u8>,
    pub(crate) attributes: Vec<String>,
    pub(crate) controls: Vec<(String, Vec<u8>)>,
}

impl Asked {
    pub(crate) fn control(&self, oid: &str) -> Option<&[u8]> {
        self.controls
            .iter()
            .find(|(name, _)| name == oid)
            .map(|(_, value)| value.as_slice())
    }

    /// Whether the filter has these octets anywhere.
    pub(crate) fn filters_by(&self, octets: &[u8]) -> bool {
        self.filter.windows(octets.len()).any(|window| window == octets)
    }
}

/// One message of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    Close,
    /// The end; of a page, the last one.
    Done(u8, Vec<(&'static str, Vec<u8>)>),
    Entry {
        dn: String,
        attributes: Vec<(String, Vec<Vec<u8>>)>,
        controls: Vec<(&'static str, Vec<u8>)>,
    },
    Info(&'static str, Vec<u8>),
    Reference,
    /// The end, whether pages were asked for or not.
    Unpaged,
}

pub(crate) fn entry(dn: &str, attributes: &[(&str, &[&[u8]])]) -> Say {
    let owned =
        |(name, values): &(&str, &[&[u8]])| ((*name).to_owned(), values.iter().map(|v| v.to_vec()).collect());
    Say::Entry {
        dn: dn.to_owned(),
        attributes: attributes.iter().map(owned).collect(),
        controls: Vec::new(),
    }
}

pub(crate) fn success() -> Say {
    Say::Done(0, Vec::new())
}

/// What was asked so far.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// Runs `test` with a session on a server that answers by `script`.
pub(crate) fn with_server<T, F: Future<Output = T>>(
    script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static,
    test: impl FnOnce(Session, Log) -> F,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("ldap://{}", listener.local_addr().expect("an address"));
        let log = Log::default();
        let noted = Arc::clone(&log);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            stream.set_nodelay(true).expect("a TCP stream");
            serve(stream, script, noted).await;
        });
        let client = LdapClient::new(LdapServer::new(&url).expect("a URL").without_tls());
        let session = client.session().await.expect("a session");
        test(session, log).await
    })
}

/// A client of a server that answers by `script`, whatever the connection.
pub(crate) async fn client_of(script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static) -> (LdapClient, Log) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("ldap://{}", listener.local_addr().expect("an address"));
    let log = Log::default();
    let (noted, script) = (Arc::clone(&log), Arc::new(Mutex::new(script)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            let answer = move |asked: &Asked| (script.lock().expect("nobody panicked"))(asked);
            tokio::spawn(serve(stream, answer, Arc::clone(&noted)));
        }
    });
    let client = LdapClient::new(LdapServer::new(&url).expect("a URL").without_tls());
    (client, log)
}

async fn serve(mut stream: TcpStream, mut script: impl FnMut(&Asked) -> Vec<Say>, log: Log) {
    let mut buffer = Vec::new();
    loop {
        let whole = ber::header(&buffer)
            .expect("the client speaks BER")
            .map(ber::Header::whole);
        let Some(whole) = whole.filter(|&whole| whole <= buffer.len()) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let message: Vec<u8> = buffer.drain(..whole).collect();
        let Some((id, asked)) = read(&message) else {
            continue;
        };
        log.lock().expect("nobody panicked").push(asked.clone());
        for say in script(&asked) {
            let end = if asked.is_modify { MODIFIED } else { SEARCHED };
            let Some(bytes) = write(id, paged(say, &asked), end) else {
                return;
            };
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// What ends a page says where the next one begins, here nowhere.
fn paged(say: Say, asked: &Asked) -> Say {
    match say {
        Say::Done(0, mut controls)
            if asked.control(oid::PAGED_RESULTS).is_some()
                && controls.iter().all(|(name, _)| *name != oid::PAGED_RESULTS) =>
        {
            controls.push((oid::PAGED_RESULTS, page(b"")));
            Say::Done(0, controls)
        }
        say => say,
    }
}

/// The control that says where the next page begins.
pub(crate) fn page(cookie: &[u8]) -> Vec<u8> {
    let (mut fields, mut value) = (Vec::new(), Vec::new());
    ber::push_number(&mut fields, INTEGER, 0);
    ber::push(&mut fields, OCTETS, cookie);
    ber::push(&mut value, SEQUENCE, &fields);
    value
}

fn read(message: &[u8]) -> Option<(i64, Asked)> {
    let mut parts = Elements::new(message).expect(SEQUENCE).ok()?.elements();
    let id = parts.expect(INTEGER).ok()?.integer().ok()?;
    let operation = parts.next().ok()??;
    let mut fields = operation.elements();
    if operation.tag == MODIFY {
        let base = fields.expect(OCTETS).ok()?.text().ok()?.to_owned();
        let asked = Asked {
            is_modify: true,
            base,
            scope: 0,
            filter: fields.next().ok()??.content.to_vec(),
            attributes: Vec::new(),
            controls: Vec::new(),
        };
        return Some((id, asked));
    }
    if operation.tag != SEARCH {
        return None;
    }
    let base = fields.expect(OCTETS).ok()?.text().ok()?.to_owned();
    let scope = fields.expect(ENUMERATED).ok()?.integer().ok()?;
    fields.expect(ENUMERATED).ok()?;
    fields.expect(INTEGER).ok()?;
    fields.expect(INTEGER).ok()?;
    fields.expect(BOOLEAN).ok()?;
    let filter = fields.next().ok()??.content.to_vec();
    let mut names = fields.expect(SEQUENCE).ok()?.elements();
    let mut attributes = Vec::new();
    while let Some(name) = names.next().ok()? {
        attributes.push(name.text().ok()?.to_owned());
    }
    let mut controls = Vec::new();
    if let Some(list) = parts.optional(0xa0).ok()? {
        let mut list = list.elements();
        while let Some(control) = list.next().ok()? {
            let mut control = control.elements();
            let oid = control.expect(OCTETS).ok()?.text().ok()?.to_owned();
            control.optional(BOOLEAN).ok()?;
            let value = control
                .optional(OCTETS)
                .ok()?
                .map_or(Vec::new(), |value| value.content.to_vec());
            controls.push((oid, value));
        }
    }
    Some((
        id,
        Asked {
            is_modify: false,
            base,
            scope,
            filter,
            attributes,
            controls,
        },
    ))
}

fn write(id: i64, say: Say, end: u8) -> Option<Vec<u8>> {
    let element = |tag: u8, content: &[u8]| {
        let mut out = Vec::new();
        ber::push(&mut out, tag, content);
        out
    };
    let (tag, content, controls) = match say {
        Say::Close => return None,
        Say::Reference => (0x73, element(OCTETS, b"ldap://elsewhere.example/"), Vec::new()),
        Say::Unpaged => return write(id, success(), end),
        Say::Done(code, controls) => {
            let content = [
                element(ENUMERATED, &[code]),
                element(OCTETS, b""),
                element(OCTETS, b""),
            ]
            .concat();
            (end, content, controls)
        }
        Say::Entry {
            dn,
            attributes,
            controls,
        } => {
            let attribute = |(name, values): (String, Vec<Vec<u8>>)| {
                let values: Vec<u8> = values.iter().flat_map(|value| element(OCTETS, value)).collect();
                element(
                    SEQUENCE,
                    &[element(OCTETS, name.as_bytes()), element(SET, &values)].concat(),
                )
            };
            let attributes: Vec<u8> = attributes.into_iter().flat_map(attribute).collect();
            let content = [element(OCTETS, dn.as_bytes()), element(SEQUENCE, &attributes)].concat();
            (0x64, content, controls)
        }
        Say::Info(name, value) => {
            let content = [element(0x80, name.as_bytes()), element(0x81, &value)].concat();
            (0x79, content, Vec::new())
        }
    };
    let mut message = Vec::new();
    ber::push_number(&mut message, INTEGER, id);
    ber::push(&mut message, tag, &content);
    if !controls.is_empty() {
        let control = |(oid, value): &(&str, Vec<u8>)| {
            element(
                SEQUENCE,
                &[element(OCTETS, oid.as_bytes()), element(OCTETS, value)].concat(),
            )
        };
        let controls: Vec<u8> = controls.iter().flat_map(control).collect();
        ber::push(&mut message, 0xa0, &controls);
    }
    Some(element(SEQUENCE, &message))
}
