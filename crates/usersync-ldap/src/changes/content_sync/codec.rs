//! Controls and messages of RFC 4533, section 2.

use super::super::cookie::MAX_SERVER_COOKIE;
use crate::client::ber::{
    BOOLEAN, ENUMERATED, Element, Elements, Malformed, OCTETS, SEQUENCE, SET, push, push_number,
};
use crate::client::{Control, oid};

/// The name of the Sync Info Message.
pub(crate) const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";

const NEW_COOKIE: u8 = 0x80;
const REFRESH_DELETE: u8 = 0xa1;
const REFRESH_PRESENT: u8 = 0xa2;
const ID_SET: u8 = 0xa3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    RefreshAndPersist,
    RefreshOnly,
}

/// What an entry means that comes with it (section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Add,
    Delete,
    Modify,
    Present,
}

pub(crate) type Uuid = [u8; 16];

/// A Sync State Control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyncState<'a> {
    pub(crate) state: State,
    pub(crate) uuid: Uuid,
    pub(crate) cookie: Option<&'a [u8]>,
}

/// A Sync Done Control (section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyncDone<'a> {
    pub(crate) cookie: Option<&'a [u8]>,
    pub(crate) refresh_deletes: bool,
}

/// A Sync Info Message (section 2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyncInfo<'a> {
    IdSet {
        cookie: Option<&'a [u8]>,
        refresh_deletes: bool,
        uuids: Vec<Uuid>,
    },
    NewCookie(&'a [u8]),
    RefreshDelete {
        cookie: Option<&'a [u8]>,
        done: bool,
    },
    RefreshPresent {
        cookie: Option<&'a [u8]>,
        done: bool,
    },
}

/// A Sync Request Control (section 2.2), without which the search means nothing.
pub(crate) fn request(mode: Mode, cookie: Option<&[u8]>) -> Control {
    let mode = match mode {
        Mode::RefreshOnly => 1,
        Mode::RefreshAndPersist => 3,
    };
    let mut fields = Vec::new();
    push_number(&mut fields, ENUMERATED, mode);
    if let Some(cookie) = cookie {
        push(&mut fields, OCTETS, cookie);
    }
    let mut value = Vec::new();
    push(&mut value, SEQUENCE, &fields);
    Control::new(oid::SYNC_REQUEST).critical().with_value(value)
}

impl<'a> SyncState<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = whole(value, SEQUENCE)?.elements();
        let state = match fields.expect(ENUMERATED)?.integer()? {
            0 => State::Present,
            1 => State::Add,
            2 => State::Modify,
            3 => State::Delete,
            _ => return Err(Malformed("a sync state is unknown")),
        };
        let uuid = uuid(fields.expect(OCTETS)?)?;
        let cookie = cookie(&mut fields)?;
        fields.end()?;
        Ok(Self { state, uuid, cookie })
    }
}

impl<'a> SyncDone<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = whole(value, SEQUENCE)?.elements();
        let cookie = cookie(&mut fields)?;
        let refresh_deletes = flag(&mut fields, false)?;
        fields.end()?;
        Ok(Self {
            cookie,
            refresh_deletes,
        })
    }
}

impl<'a> SyncInfo<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Elements::new(value);
        let choice = outer.next()?.ok_or(Malformed("a sync message is empty"))?;
        outer.end()?;
        let mut fields = choice.elements();
        let info = match choice.tag {
            NEW_COOKIE => return Ok(Self::NewCookie(short(choice.content)?)),
            REFRESH_DELETE => Self::RefreshDelete {
                cookie: cookie(&mut fields)?,
                done: flag(&mut fields, true)?,
            },
            REFRESH_PRESENT => Self::RefreshPresent {
                cookie: cookie(&mut fields)?,
                done: flag(&mut fields, true)?,
            },
            ID_SET => {
                let cookie = cookie(&mut fields)?;
                let refresh_deletes = flag(&mut fields, false)?;
                let mut set = fields.expect(SET)?.elements();
                let mut uuids = Vec::new();
                while let Some(element) = set.next()? {
                    if element.tag != OCTETS {
                        return Err(Malformed("an id is no octets"));
                    }
                    uuids.push(uuid(element)?);
                }
                Self::IdSet {
                    cookie,
                    refresh_deletes,
                    uuids,
                }
            }
            _ => return Err(Malformed("a sync message is of an unknown kind")),
        };
        fields.end()?;
        Ok(info)
    }
}

fn whole(value: &[u8], tag: u8) -> Result<Element<'_>, Malformed> {
    let mut outer = Elements::new(value);
    let element = outer.expect(tag)?;
    outer.end()?;
    Ok(element)
}

fn cookie<'a>(fields: &mut Elements<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let cookie = fields.optional(OCTETS)?;
    cookie.map(|cookie| short(cookie.content)).transpose()
}

fn short(cookie: &[u8]) -> Result<&[u8], Malformed> {
    if cookie.len() > MAX_SERVER_COOKIE {
        return Err(Malformed("a cookie is too long"));
    }
    Ok(cookie)
}

fn flag(fields: &mut Elements<'_>, default: bool) -> Result<bool, Malformed> {
    fields.optional(BOOLEAN)?.map_or(Ok(default), Element::boolean)
}

fn uuid(element: Element<'_>) -> Result<Uuid, Malformed> {
    element
        .content
        .try_into()
        .map_err(|_| Malformed("an id does not have 16 octets"))
}
