//! One attribute of a GiB, in an export and from a server.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use usersync::connector::{Error, ErrorKind};
use usersync::ldap::{
    DirectoryContents, Dn, LdapClient, LdapDirectory, LdapProfile, LdapServer, LdifDirectory, LdifErrorKind,
    LdifLimits, LdifReader,
};
use usersync::model::{Completeness, PartialKind, SystemId};
use usersync_tests::Folder;

use crate::child::alone;

const GIB: u64 = 1 << 30;

fn system() -> SystemId {
    SystemId::new("ldap").unwrap()
}

/// An export that goes on for ever: these lines, and then this one again and again.
struct Export {
    rest: io::Cursor<Vec<u8>>,
    line: &'static [u8],
    read: Arc<AtomicU64>,
}

impl Export {
    fn new(begin: &str, line: &'static [u8]) -> (BufReader<Self>, Arc<AtomicU64>) {
        let read: Arc<AtomicU64> = Arc::default();
        let export = Self {
            rest: io::Cursor::new(begin.as_bytes().to_vec()),
            line,
            read: Arc::clone(&read),
        };
        (BufReader::with_capacity(1 << 16, export), read)
    }
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.position() == self.rest.get_ref().len() as u64 {
            if self.read.load(Ordering::Relaxed) > GIB {
                return Ok(0);
            }
            self.rest = io::Cursor::new(self.line.repeat(1024));
        }
        let count = self.rest.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The file is sparse: a hole of a GiB where the value is. A line of 16 MiB is held once, in a buffer that doubles as it grows: 48.
#[test]
fn promise_09_a_value_of_a_gib_in_an_export_makes_the_read_partial() {
    alone(
        "values::promise_09_a_value_of_a_gib_in_an_export_makes_the_read_partial",
        64,
        |memory| {
            let folder = Folder::default();
            let path = folder.database().with_extension("ldif");
            let ada = "dn: uid=ada,dc=example\nobjectClass: inetOrgPerson\ncn: Ada\nentryUUID: 5d2c5c8e-0000-4000-8000-000000000001\n\n";
            fs::write(&path, format!("{ada}dn: uid=bob,dc=example\njpegPhoto: ")).unwrap();
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_len(GIB)
                .unwrap();
            memory.begin();
            let contents = LdifDirectory::from_file(system(), path).contents().unwrap();
            let Completeness::Partial(reason) = contents.verdict else {
                unreachable!("a value was not read: {contents:?}");
            };
            assert_eq!(reason.kind, PartialKind::Limit);
            assert!(reason.detail.contains("raise `line_bytes`"), "{reason}");
            assert_eq!(
                (contents.entries, contents.changes.len()),
                (1, 1),
                "what was before it is seen"
            );
        },
    );
}

/// A value in folded lines is held once with the line that it comes in; many values are held with the entry.
#[test]
fn a_gib_in_lines_of_any_length_is_not_read_to_its_end() {
    alone(
        "values::a_gib_in_lines_of_any_length_is_not_read_to_its_end",
        64,
        |memory| {
            let limits = LdifLimits {
                line_bytes: 8 << 20,
                entry_bytes: 16 << 20,
                values: 100_000,
                entries: 1000,
            };
            let cases: [(&str, &'static [u8], &str); 5] = [
                (
                    "dn: uid=bob,dc=example\njpegPhoto:: \n",
                    b" QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\n",
                    "raise `line_bytes`",
                ),
                (
                    "dn: uid=bob,dc=example\n",
                    b"description: 0123456789012345678901234567890123456789\n",
                    "raise `values`",
                ),
                ("dn: uid=bob,dc=example\n", LONG.as_bytes(), "raise `entry_bytes`"),
                ("", b"dn: uid=bob,dc=example\n\n", "raise `entries`"),
                ("# ", b"no end of a comment ", "raise `line_bytes`"),
            ];
            memory.begin();
            for (begin, line, want) in cases {
                let (export, read) = Export::new(begin, line);
                let last = LdifReader::with_limits(export, limits).last();
                let error = last.unwrap().unwrap_err();
                assert!(error.to_string().contains(want), "{error}");
                assert!(error.kind.is_limit() && !matches!(error.kind, LdifErrorKind::Truncated));
                let read = read.load(Ordering::Relaxed);
                assert!(read < 64 << 20, "{want}: {read} bytes were read");
            }
        },
    );
}

/// A line with a value of a kibibyte.
const LONG: &str = concat!(
    "description: ",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "\n"
);

const ADA: &str = "5d2c5c8e-0000-4000-8000-000000000001";
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const SET: u8 = 0x31;
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;

/// An element whose content is `bytes` long, of which this is the beginning (X.690, 8.1).
fn begun(tag: u8, bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    begun(tag, content.len(), content)
}

fn message(id: u8, operation: &[u8], controls: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&[2, 1, id], operation, controls].concat())
}

fn entry(id: u8, name: &str, attribute: &str, value: &str) -> Vec<u8> {
    let values = element(SET, &element(OCTETS, value.as_bytes()));
    let pair = element(
        SEQUENCE,
        &[element(OCTETS, attribute.as_bytes()), values].concat(),
    );
    let content = [element(OCTETS, name.as_bytes()), element(SEQUENCE, &pair)].concat();
    message(id, &element(ENTRY, &content), &[])
}

/// The end of a search; of a page, if it has a cookie.
fn done(id: u8, cookie: Option<&[u8]>) -> Vec<u8> {
    let result = element(
        DONE,
        &[&[0x0a, 1, 0][..], &element(OCTETS, b""), &element(OCTETS, b"")].concat(),
    );
    let controls = cookie.map_or_else(Vec::new, |cookie| {
        let value = element(SEQUENCE, &[&[2, 1, 0][..], &element(OCTETS, cookie)].concat());
        let oid = element(OCTETS, b"1.2.840.113556.1.4.319");
        element(0xa0, &element(SEQUENCE, &[oid, element(OCTETS, &value)].concat()))
    });
    message(id, &result, &controls)
}

/// A server that shows its root DSE, and answers every other search with what `answer` writes; and how many bytes went out.
fn server(
    answer: impl Fn(u8, &mut dyn Write) -> io::Result<()> + Send + 'static,
) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    let sent: Arc<AtomicU64> = Arc::default();
    let count = Arc::clone(&sent);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // The client hangs up when it has had enough.
            let _ = serve(stream, &answer, &count);
        }
    });
    (url, sent)
}

struct Counted<'a>(&'a TcpStream, &'a AtomicU64);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn serve(
    stream: TcpStream,
    answer: &impl Fn(u8, &mut dyn Write) -> io::Result<()>,
    sent: &AtomicU64,
) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut out = Counted(&stream, sent);
    loop {
        let mut head = [0; 2];
        requests.read_exact(&mut head)?;
        let mut length = usize::from(head[1]);
        if length > 127 {
            let mut octets = vec![0; length - 128];
            requests.read_exact(&mut octets)?;
            length = octets
                .iter()
                .fold(0, |length, octet| length << 8 | usize::from(*octet));
        }
        let mut request = vec![0; length];
        requests.read_exact(&mut request)?;
        // Requests are few, so that their numbers have one octet each.
        let (id, tag) = (request[2], request[3]);
        if tag != SEARCH {
            return Ok(());
        }
        if request.windows(16).any(|text| text == b"supportedControl") {
            out.write_all(&entry(id, "", "supportedControl", "1.2.840.113556.1.4.319"))?;
            out.write_all(&done(id, None))?;
        } else {
            answer(id, &mut out)?;
        }
    }
}

fn contents(url: &str, limit: impl FnOnce(&mut LdapProfile)) -> Result<DirectoryContents, Error> {
    let server = LdapServer::new(url).unwrap().without_tls();
    let mut profile = LdapProfile::openldap(Dn::parse("dc=example").unwrap());
    limit(&mut profile);
    let directory = LdapDirectory::new(system(), LdapClient::new(server), profile);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(directory.contents())
}

/// The limit that ended a read, before it had shown anything or later.
fn limit_of(contents: Result<DirectoryContents, Error>) -> String {
    match contents {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
            error.message().to_owned()
        }
        Ok(contents) => match contents.verdict {
            Completeness::Partial(reason) => {
                assert_eq!(reason.kind, PartialKind::Limit, "{reason}");
                reason.detail
            }
            Completeness::Complete => unreachable!("something was not read: {contents:?}"),
        },
    }
}

/// The message says at its beginning how long it is, and is refused there; what the server sends on is not taken. The client begins with
/// some MiB of its own: its buffers, and its runtime.
#[test]
fn promise_09_a_value_of_a_gib_from_a_server_makes_the_read_partial() {
    alone(
        "values::promise_09_a_value_of_a_gib_from_a_server_makes_the_read_partial",
        32,
        |memory| {
            let (url, sent) = server(|id, out| {
                out.write_all(&entry(id, "uid=ada,dc=example", "entryUUID", ADA))?;
                let value = GIB as usize;
                let values = begun(SET, value + 6, &begun(OCTETS, value, &[]));
                let pair = [&element(OCTETS, b"jpegPhoto")[..], &values].concat();
                let pairs = begun(SEQUENCE, pair.len() + value, &pair);
                let content = [
                    &element(OCTETS, b"uid=bob,dc=example")[..],
                    &begun(SEQUENCE, pairs.len() + value, &pairs),
                ]
                .concat();
                let operation = begun(ENTRY, content.len() + value, &content);
                out.write_all(&begun(
                    SEQUENCE,
                    3 + operation.len() + value,
                    &[&[2, 1, id][..], &operation].concat(),
                ))?;
                let zeros = vec![0; 1 << 16];
                (0..value / zeros.len()).try_for_each(|_| out.write_all(&zeros))
            });
            memory.begin();
            let contents = contents(&url, |_| ());
            let reason = limit_of(contents);
            assert!(reason.contains("raise `ClientLimits::message_bytes`"), "{reason}");
            let sent = sent.load(Ordering::Relaxed);
            assert!(sent < 64 << 20, "{sent} bytes went out before the client hung up");
        },
    );
}

#[test]
fn promise_09_pages_of_a_server_that_never_end_make_the_read_partial() {
    type Page = fn(u8, &mut dyn Write) -> io::Result<()>;
    let pages: [(&str, Page, &str); 3] = [
        (
            "nothing, with the same cookie",
            |id, out| out.write_all(&done(id, Some(b"again"))),
            "empty",
        ),
        (
            "the same page with the same cookie",
            |id, out| {
                for _ in 0..100 {
                    out.write_all(&entry(id, "uid=ada,dc=example", "entryUUID", ADA))?;
                }
                out.write_all(&done(id, Some(b"again")))
            },
            "repeats a page",
        ),
        (
            "always somebody new with a new cookie",
            |id, out| {
                for number in 0..100 {
                    let name = format!("uid={id}-{number},dc=example");
                    let uuid = format!("5d2c5c8e-0000-4000-8000-0000{id:04}{number:04}");
                    out.write_all(&entry(id, &name, "entryUUID", &uuid))?;
                }
                out.write_all(&done(id, Some(&[id])))
            },
            "1000 entries",
        ),
    ];
    for (what, page, want) in pages {
        let (url, _) = server(page);
        let contents = contents(&url, |profile| profile.limits.entries = 1000);
        let reason = limit_of(contents);
        assert!(reason.contains(want), "{what}: {reason}");
    }
}
