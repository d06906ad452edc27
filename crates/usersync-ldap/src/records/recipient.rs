//! What Exchange takes an entry for.

use std::fmt;

use crate::entry::Entry;

/// The types of recipients that Exchange keeps in Active Directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecipientType {
    /// An address elsewhere that is in the address book.
    Contact,
    /// A list whose members are found by a filter.
    DynamicList,
    /// The mailbox of a device or a vehicle.
    EquipmentMailbox,
    /// A mailbox made by Exchange 2003 or before.
    LegacyMailbox,
    /// A mailbox whose user is in another forest.
    LinkedMailbox,
    /// A user with an address elsewhere and no mailbox.
    MailUser,
    /// A user, shared mailbox, room or device whose mailbox is in Exchange Online.
    RemoteMailbox,
    /// A list of rooms.
    RoomList,
    /// The mailbox of a room.
    RoomMailbox,
    /// A list that grants access, too.
    SecurityList,
    /// A mailbox that several users open.
    SharedMailbox,
    /// A list whose members are listed.
    SimpleList,
    /// The mailbox of a user.
    UserMailbox,
}

/// The bit of `groupType` that tells a group that grants access.
const SECURITY_ENABLED: i64 = 0x8000_0000;

impl RecipientType {
    /// The stable code: within its kind of record, what the attribute `type` of the facet `general` says.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::DynamicList => "dynamic",
            Self::EquipmentMailbox => "equipment",
            Self::LegacyMailbox => "legacy",
            Self::LinkedMailbox => "linked",
            Self::MailUser => "mail_user",
            Self::RemoteMailbox => "remote",
            Self::RoomList | Self::RoomMailbox => "room",
            Self::SecurityList => "security",
            Self::SharedMailbox => "shared",
            Self::SimpleList => "simple",
            Self::UserMailbox => "user",
        }
    }

    /// What an entry is; none for one that is no recipient, and for the mailboxes that Exchange makes for itself.
    ///
    /// Exchange says so by `msExchRecipientTypeDetails`. Entries of versions that did not are told by their class and by
    /// where their mail goes. Without an alias (`mailNickname`) nothing is a recipient.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        entry.texts("mailNickname").find(|alias| !alias.is_empty())?;
        let integer = |name| entry.texts(name).find_map(|text| text.trim().parse::<i64>().ok());
        let is_security = || integer("groupType").is_some_and(|bits| bits & SECURITY_ENABLED != 0);
        // RecipientTypeDetails of Exchange.
        match integer("msExchRecipientTypeDetails") {
            None | Some(0) => Self::by_class(entry, is_security()),
            Some(0x1) => Some(Self::UserMailbox),
            Some(0x2) => Some(Self::LinkedMailbox),
            Some(0x4) => Some(Self::SharedMailbox),
            Some(0x8) => Some(Self::LegacyMailbox),
            Some(0x10 | 0x200_0000_0000) => Some(Self::RoomMailbox),
            Some(0x20) => Some(Self::EquipmentMailbox),
            Some(0x40 | 0x8000) => Some(Self::Contact),
            Some(0x80 | 0x2000_0000_0000) => Some(Self::MailUser),
            Some(0x100) => Some(Self::SimpleList),
            Some(0x200) if is_security() => Some(Self::SecurityList),
            Some(0x200) => Some(Self::SimpleList),
            Some(0x400) => Some(Self::SecurityList),
            Some(0x800) => Some(Self::DynamicList),
            Some(0x1000_0000) => Some(Self::RoomList),
            Some(0x8000_0000 | 0x2_0000_0000 | 0x4_0000_0000 | 0x8_0000_0000 | 0x40_0000_0000) => {
                Some(Self::RemoteMailbox)
            }
            Some(_) => None,
        }
    }

    fn by_class(entry: &Entry, is_security: bool) -> Option<Self> {
        let is = |class: &str| {
            entry
                .texts("objectClass")
                .any(|known| known.eq_ignore_ascii_case(class))
        };
        let has = |name| entry.values(name).next().is_some();
        if is("msExchDynamicDistributionList") {
            Some(Self::DynamicList)
        } else if is("group") {
            Some(if is_security {
                Self::SecurityList
            } else {
                Self::SimpleList
            })
        } else if is("contact") {
            Some(Self::Contact)
        } else if !is("user") {
            None
        } else if has("homeMDB") || has("msExchHomeServerName") {
            Some(Self::LegacyMailbox)
        } else if has("targetAddress") {
            Some(Self::MailUser)
        } else {
            None
        }
    }
}

/// What [`RecipientType::of`] goes by.
pub(super) const ATTRIBUTES: [&str; 7] = [
    "groupType",
    "homeMDB",
    "mailNickname",
    "msExchHomeServerName",
    "msExchRecipientTypeDetails",
    "objectClass",
    "targetAddress",
];

impl fmt::Display for RecipientType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contact => "contact",
            Self::DynamicList => "dynamic list",
            Self::EquipmentMailbox => "equipment mailbox",
            Self::LegacyMailbox => "legacy mailbox",
            Self::LinkedMailbox => "linked mailbox",
            Self::MailUser => "mail user",
            Self::RemoteMailbox => "remote mailbox",
            Self::RoomList => "room list",
            Self::RoomMailbox => "room mailbox",
            Self::SecurityList => "security list",
            Self::SharedMailbox => "shared mailbox",
            Self::SimpleList => "simple list",
            Self::UserMailbox => "user mailbox",
        })
    }
}
