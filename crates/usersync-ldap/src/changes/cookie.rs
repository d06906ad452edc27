//! Where a read goes on, as bytes.

use crate::client::ber::{Elements, INTEGER, Malformed, OCTETS, SEQUENCE, push, push_number};

use super::expired;
use usersync_connector::Error;

/// The longest cookie taken from a server.
pub(super) const MAX_SERVER_COOKIE: usize = 64 << 10;
const VERSION: i64 = 1;

/// Where a read goes on. What it is read with is not in here: whoever keeps cookies binds them to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The server's own.
    ContentSync(Vec<u8>),
    /// The server's own.
    DirSync(Vec<u8>),
    Time(TimeCookie),
    Usn(UsnCookie),
}

/// By the time of the last modification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeCookie {
    /// The latest that was seen, as the server wrote it.
    pub(super) seen: String,
    /// When everything was read, in seconds since 1970.
    pub(super) full: u64,
}

/// By the change numbers of one domain controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsnCookie {
    /// The controller, and its database since it was last restored.
    pub(super) controller: String,
    pub(super) invocation: Vec<u8>,
    /// The latest that counts as seen.
    pub(super) seen: u64,
    /// When everything was read, in seconds since 1970.
    pub(super) full: u64,
}

impl Cookie {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        push_number(&mut fields, INTEGER, VERSION);
        let mut number = |kind: i64| push_number(&mut fields, INTEGER, kind);
        match self {
            Self::ContentSync(cookie) => {
                number(1);
                push(&mut fields, OCTETS, cookie);
            }
            Self::DirSync(cookie) => {
                number(2);
                push(&mut fields, OCTETS, cookie);
            }
            Self::Time(TimeCookie { seen, full }) => {
                number(3);
                push(&mut fields, OCTETS, seen.as_bytes());
                push(&mut fields, OCTETS, &full.to_be_bytes());
            }
            Self::Usn(UsnCookie {
                controller,
                invocation,
                seen,
                full,
            }) => {
                number(4);
                push(&mut fields, OCTETS, controller.as_bytes());
                push(&mut fields, OCTETS, invocation);
                push(&mut fields, OCTETS, &seen.to_be_bytes());
                push(&mut fields, OCTETS, &full.to_be_bytes());
            }
        }
        let mut out = Vec::new();
        push(&mut out, SEQUENCE, &fields);
        out
    }

    /// # Errors
    /// `CursorExpired` for anything but what [`to_bytes`](Self::to_bytes) makes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes)
            .ok()
            .filter(|cookie| cookie.to_bytes() == bytes)
            .ok_or_else(|| expired("the cursor is of another version, or damaged"))
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Elements::new(bytes);
        let mut fields = outer.expect(SEQUENCE)?.elements();
        outer.end()?;
        if fields.expect(INTEGER)?.integer()? != VERSION {
            return Err(Malformed("another version"));
        }
        let kind = fields.expect(INTEGER)?.integer()?;
        let mut octets = || fields.expect(OCTETS).map(|element| element.content);
        let number = |octets: &[u8]| {
            let octets = octets.try_into().map_err(|_| Malformed("not eight octets"))?;
            Ok(u64::from_be_bytes(octets))
        };
        let text =
            |octets: &[u8]| String::from_utf8(octets.to_vec()).map_err(|_| Malformed("a text is not UTF-8"));
        let cookie = match kind {
            1 => Self::ContentSync(octets()?.to_vec()),
            2 => Self::DirSync(octets()?.to_vec()),
            3 => Self::Time(TimeCookie {
                seen: text(octets()?)?,
                full: number(octets()?)?,
            }),
            4 => Self::Usn(UsnCookie {
                controller: text(octets()?)?,
                invocation: octets()?.to_vec(),
                seen: number(octets()?)?,
                full: number(octets()?)?,
            }),
            _ => return Err(Malformed("another kind")),
        };
        fields.end()?;
        Ok(cookie)
    }
}
