//! A server that says what nobody expects, behind a whole connection: the guard, and the client that takes messages apart.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use usersync_connector::Error;

use super::root_dse::RootDse;
use super::{Base, Change, ClientLimits, Item, PageLimits, Pages, Search, Session};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::fuzzing::is_fit_to_show;
use crate::url::Scope;

/// The largest message taken.
const MESSAGE_BYTES: usize = 1 << 12;
/// How often everybody else gets a turn while the server waits.
const PATIENCE: u32 = 2000;
/// Between what is said after one request and after the next.
const BETWEEN: &[u8] = b"\n%%\n";

/// What a server says: the first byte is how many bytes it sends at once, the second what it is asked.
pub fn ldap_session(data: &[u8]) {
    let Some((&[piece, asked], said)) = data.split_first_chunk::<2>() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let limits = ClientLimits {
            message_bytes: MESSAGE_BYTES,
            silence: Duration::from_secs(5),
            ..ClientLimits::default()
        };
        let (ours, theirs) = duplex(1 << 16);
        let server = serve(theirs, said, usize::from(piece) + 1);
        let client = async {
            let mut session = Session::over(ours, limits, &Arc::default()).await?;
            match asked % 4 {
                0 => search(&mut session, said).await,
                1 => pages(&mut session).await,
                2 => modify(&mut session).await,
                _ => RootDse::read(&mut session).await.map(drop),
            }
        };
        let ((), asked) = tokio::join!(server, client);
        if let Err(error) = asked {
            is_fit_to_show(&error);
        }
    });
}

/// Waits for a request and says the next part, until there is none, or no request comes any more.
async fn serve(mut stream: DuplexStream, said: &[u8], piece: usize) {
    let mut rest = Some(said);
    let mut request = [0; 1 << 12];
    while let Some(part) = rest {
        tokio::select! {
            biased;
            read = stream.read(&mut request) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
            () = patience() => return,
        }
        let at = part.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        rest = at.map(|at| &part[at + BETWEEN.len()..]);
        for piece in part[..at.unwrap_or(part.len())].chunks(piece) {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Lets everybody else go on until nobody has anything to do, and does not look at a clock for that.
async fn patience() {
    for _ in 0..PATIENCE {
        tokio::task::yield_now().await;
    }
}

fn everything() -> Search {
    Search {
        base: Base::Dn(Dn::parse("dc=x").expect("a name")),
        scope: Scope::Subtree,
        filter: Filter::present("objectClass").expect("an attribute"),
        attributes: Vec::new(),
        controls: Vec::new(),
    }
}

/// A search that ends shows the entries that a simple reader of the same bytes finds, and the result that it finds.
async fn search(session: &mut Session, said: &[u8]) -> Result<(), Error> {
    let mut found = session.search(&everything()).await?;
    let mut names = Vec::new();
    while let Some(item) = found.next().await? {
        if let Item::Entry(found) = item {
            assert!(found.entry.bytes() <= MESSAGE_BYTES);
            names.push(found.entry.dn().to_string());
        }
    }
    let (code, _) = found.end().await;
    if !code.is_success() {
        is_fit_to_show(&code.error());
    }
    let first = said.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    assert_eq!(
        Some((names, code.number)),
        simple(&said[..first.unwrap_or(said.len())])
    );
    Ok(())
}

async fn pages(session: &mut Session) -> Result<(), Error> {
    const LIMITS: PageLimits = PageLimits {
        size: 10,
        entries: 20,
        pages: 5,
    };
    let mut pages = Pages::new(everything(), LIMITS);
    let mut entries = 0;
    while let Some(item) = pages.next(session).await? {
        entries += u64::from(matches!(item, Item::Entry(_)));
        assert!(entries <= LIMITS.entries);
    }
    Ok(())
}

async fn modify(session: &mut Session) -> Result<(), Error> {
    let change = Change::Add {
        attribute: "member".to_owned(),
        values: vec![b"cn=a".to_vec()],
    };
    let code = session.modify("cn=g", vec![change], Vec::new()).await?;
    if !code.is_success() {
        is_fit_to_show(&code.error());
    }
    Ok(())
}

/// The names of the entries before the result of the first request, and its code.
fn simple(mut said: &[u8]) -> Option<(Vec<String>, u32)> {
    let mut names = Vec::new();
    loop {
        let (0x30, message, rest) = element(said)? else {
            return None;
        };
        said = rest;
        let (0x02, id, rest) = element(message)? else {
            return None;
        };
        let (tag, operation, _) = element(rest)?;
        if number(id) != 1 {
            continue;
        }
        match tag {
            0x64 => {
                let (_, name, _) = element(operation)?;
                let name = std::str::from_utf8(name).ok()?;
                let shown = name
                    .strip_prefix('<')
                    .map_or(Some(name), |name| name.rsplit(">;").next());
                names.push(shown?.to_owned());
            }
            0x65 => {
                let (_, code, _) = element(operation)?;
                return Some((names, u32::try_from(number(code)).ok()?));
            }
            _ => {}
        }
    }
}

/// The tag and the content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ => {
            let (octets, rest) = rest.split_at_checked(usize::from(length) - 0x80)?;
            (
                octets.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet)),
                rest,
            )
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A number with its sign.
fn number(octets: &[u8]) -> i64 {
    let sign = if octets.first().is_some_and(|first| first & 0x80 != 0) {
        -1
    } else {
        0
    };
    octets
        .iter()
        .fold(sign, |number, &octet| number << 8 | i64::from(octet))
}
