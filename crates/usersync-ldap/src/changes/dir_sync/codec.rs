//! The control of [MS-ADTS] 3.1.1.3.4.1.3.

use super::super::cookie::MAX_SERVER_COOKIE;
use crate::client::ber::{Elements, INTEGER, Malformed, OCTETS, SEQUENCE, push, push_number};
use crate::client::{Control, oid};

/// LDAP_DIRSYNC_INCREMENTAL_VALUES: of linked attributes only the values that came and went.
const INCREMENTAL_VALUES: i32 = i32::MIN;
/// How many bytes of attributes an answer has, about. The server has limits of its own.
const ANSWER_BYTES: i64 = 1 << 20;

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// Whether the server has more to say at once.
    pub(crate) more: bool,
    pub(crate) cookie: &'a [u8],
}

/// The control of a request; an empty cookie stands for the beginning of time.
pub(crate) fn request(cookie: &[u8]) -> Control {
    let mut fields = Vec::new();
    push_number(&mut fields, INTEGER, i64::from(INCREMENTAL_VALUES));
    push_number(&mut fields, INTEGER, ANSWER_BYTES);
    push(&mut fields, OCTETS, cookie);
    let mut value = Vec::new();
    push(&mut value, SEQUENCE, &fields);
    Control::new(oid::DIRSYNC).critical().with_value(value)
}

impl<'a> Answer<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Elements::new(value);
        let mut fields = outer.expect(SEQUENCE)?.elements();
        outer.end()?;
        let more = fields.expect(INTEGER)?.integer()? != 0;
        fields.expect(INTEGER)?.integer()?;
        let cookie = fields.expect(OCTETS)?.content;
        fields.end()?;
        if cookie.len() > MAX_SERVER_COOKIE {
            return Err(Malformed("a cookie is too long"));
        }
        Ok(Self { more, cookie })
    }
}
