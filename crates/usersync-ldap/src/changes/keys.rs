//! What servers call an entry for life.

use std::fmt::Write as _;

use usersync_connector::{Error, ErrorKind};

use crate::client::RootDse;
use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::index::EntryKey;

/// The attribute whose value is the key of an entry, in the sync protocol, too: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyAttribute {
    /// RFC 4530.
    EntryUuid,
    /// Of 389 Directory Server, whose sync protocol does not speak of `entryUUID`.
    NsUniqueId,
    /// Of Active Directory.
    ObjectGuid,
}

impl KeyAttribute {
    pub(crate) fn for_server(server: &RootDse) -> Self {
        if server.is_active_directory() {
            Self::ObjectGuid
        } else if is_389(server) {
            Self::NsUniqueId
        } else {
            Self::EntryUuid
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EntryUuid => "entryUUID",
            Self::NsUniqueId => "nsUniqueId",
            Self::ObjectGuid => "objectGUID",
        }
    }

    /// The key of an entry that was read with this attribute.
    ///
    /// # Errors
    /// `InvalidData` when it has none.
    pub(crate) fn key(self, entry: &Entry) -> Result<EntryKey, Error> {
        let mut values = entry.values(self.name());
        let bytes = match (values.next(), values.next()) {
            (Some(value), None) => self.bytes(value),
            _ => None,
        };
        bytes.map(|bytes| EntryKey::new(&bytes)).ok_or_else(|| {
            let text = format!(
                "{} has no usable `{}`; let the service account read the attribute",
                entry.dn(),
                self.name()
            );
            Error::new(ErrorKind::InvalidData, text)
        })
    }

    /// The filter for the entry with this key.
    pub(super) fn filter(self, key: &EntryKey) -> Result<Filter, FilterError> {
        let bytes = key.as_bytes();
        let groups: &[usize] = match self {
            Self::EntryUuid => &[4, 2, 2, 2, 6],
            Self::NsUniqueId => &[4, 4, 4, 4],
            Self::ObjectGuid => return Filter::equal(self.name(), bytes),
        };
        let mut text = String::with_capacity(36);
        let mut rest = bytes;
        for &length in groups {
            let group;
            (group, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            if !text.is_empty() {
                text.push('-');
            }
            for byte in group {
                write!(text, "{byte:02x}").expect("a string can be written to");
            }
        }
        Filter::equal(self.name(), text)
    }

    fn bytes(self, value: &[u8]) -> Option<[u8; 16]> {
        if self == Self::ObjectGuid {
            return value.try_into().ok();
        }
        let digits: Vec<u8> = value.iter().copied().filter(|&b| b != b'-').collect();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return None;
        };
        let digit = |b: u8| char::from(b).to_digit(16);
        let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
        pairs
            .iter()
            .map(byte)
            .collect::<Option<Vec<u8>>>()?
            .try_into()
            .ok()
    }
}

pub(super) fn is_389(server: &RootDse) -> bool {
    server.vendor.contains("389")
}
