//! Which entries are records, and which attribute goes to which facet.

use std::collections::BTreeMap;

use usersync_model::{AttributeName, FacetName, RecordKind};

use super::recipient::{self, RecipientType};
use super::value::ValueForm;
use crate::accounts::PROXIES;
use crate::rules::{IdAttribute, IdEncoding};

/// Which entries are records, and which attribute goes to which facet.
///
/// [`exchange`](Self::exchange) is a good default; [`with`](Self::with), [`without`](Self::without) and
/// [`without_facet`](Self::without_facet) change single lines of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordProfile {
    /// Attributes that hold the immutable id of an entry, whether it is a record or named by one; the first that an entry
    /// has counts. By default `objectGUID`. Changing the list changes the ids.
    pub ids: Vec<IdAttribute>,
    /// What the records are, by the type of recipient. What is not there is no record.
    pub kinds: BTreeMap<RecipientType, RecordKind>,
    /// The facets of each kind and what is in them.
    pub facets: BTreeMap<RecordKind, BTreeMap<FacetName, BTreeMap<AttributeName, FacetSource>>>,
}

/// Where an attribute of a facet comes from. What an entry does not have is not in the facet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FacetSource {
    /// The mail addresses (`proxyAddresses` with the scheme `SMTP`, or else `mail`), as a set.
    Addresses,
    /// The values of an attribute.
    Attribute(String, ValueForm),
    /// An attribute that holds an address, perhaps with its scheme before it, which is left out: text.
    MailTo(String),
    /// An attribute that holds the DNs of other entries: the first component of each without its type, as text; of several
    /// the least. For entries that are known by their name, such as databases and policies.
    Name(String),
    /// The addresses of `proxyAddresses` with another scheme than `SMTP`, and with that scheme, as a set.
    OtherAddresses,
    /// The primary mail address: text.
    PrimaryAddress,
    /// An attribute that holds the DNs of other entries: their ids, as a set.
    References(String),
    /// The [code](RecipientType::code) of the type of recipient: text.
    Type,
}

impl RecordProfile {
    /// No records, with this id attribute.
    #[must_use]
    pub fn new(id: IdAttribute) -> Self {
        Self {
            ids: vec![id],
            kinds: BTreeMap::new(),
            facets: BTreeMap::new(),
        }
    }

    /// The mailboxes, lists and contacts of Exchange on premises, as kinds `mailbox`, `list` and `contact`. Users without a mailbox
    /// here (`MailUser`, `RemoteMailbox`) are no records.
    ///
    /// | facet | of | attributes |
    /// |---|---|---|
    /// | `general` | all | `name`, `alias`, `type`, `hidden`; of mailboxes and contacts, too: `first_name`, `last_name`, `company`, `department`, `title`, `office`, `phone`; `login` and `language` of mailboxes, `notes` of lists, `address` of contacts |
    /// | `addresses` | all | `primary`, `mail`, `other`, `legacy_dn` |
    /// | `mail_flow` | all | `send_limit_kb`, `receive_limit_kb`, `recipient_limit`, `accept_from`, `accept_from_members`, `reject_from`, `reject_from_members`, `authenticated_only`; `forward_to`, `forward_address` and `deliver_and_forward` of mailboxes; `report_to_owner`, `report_to_sender` and `automatic_replies` of lists; `mapi_recipient` and `encoding` of contacts |
    /// | `permissions` | mailboxes, lists | `send_on_behalf`; of mailboxes `opened_by`, to whom Outlook shows them |
    /// | `advanced` | all | `moderated`, `moderators`, `unmoderated_from`; of mailboxes `protocols`, `mobile_flags`, of lists `expansion_server`, `join`, `leave` |
    /// | `database` | mailboxes | `name`, `use_defaults`, `warning_kb`, `send_quota_kb`, `quota_kb` |
    /// | `archive` | mailboxes | `id`, `name`, `database`, `warning_kb`, `quota_kb` |
    /// | `retention` | mailboxes | `policy`, `flags` |
    /// | `unified_messaging` | mailboxes | `flags`, `policy` |
    /// | `members` | lists | `list`, `rule`, `rule_base` |
    /// | `managers` | lists | `list`, `deputies` |
    /// | `custom` | all | `1` to `15` (`extensionAttribute1` and so on) |
    ///
    /// Left out is what is no attribute of the entry: full access and the right to send as somebody (access control lists in
    /// `msExchMailboxSecurityDescriptor` and `nTSecurityDescriptor`), and automatic replies, which are in the mailbox.
    #[must_use]
    pub fn exchange() -> Self {
        use RecipientType::{
            Contact, DynamicList, EquipmentMailbox, LegacyMailbox, LinkedMailbox, RoomList, RoomMailbox,
            SecurityList, SharedMailbox, SimpleList, UserMailbox,
        };
        let mut profile = Self::new(IdAttribute::new("objectGUID", IdEncoding::Guid));
        for (name, types, tables) in [
            (
                "mailbox",
                &[
                    EquipmentMailbox,
                    LegacyMailbox,
                    LinkedMailbox,
                    RoomMailbox,
                    SharedMailbox,
                    UserMailbox,
                ][..],
                [EVERYBODY, PEOPLE, MAILBOXES],
            ),
            (
                "list",
                &[DynamicList, RoomList, SecurityList, SimpleList],
                [EVERYBODY, LISTS, &[]],
            ),
            ("contact", &[Contact], [EVERYBODY, PEOPLE, CONTACTS]),
        ] {
            let kind = RecordKind::new(name).expect(LITERAL);
            for &recipient in types {
                profile = profile.with_kind(recipient, kind.clone());
            }
            for &(facet, attribute, source) in tables.into_iter().flatten() {
                let (facet, attribute) = (named(facet), AttributeName::new(attribute).expect(LITERAL));
                profile = profile.with(&kind, facet, attribute, source.into());
            }
            for number in 1..=15 {
                let attribute = AttributeName::new(number.to_string()).expect(LITERAL);
                let source = FacetSource::Attribute(format!("extensionAttribute{number}"), ValueForm::Text);
                profile = profile.with(&kind, named("custom"), attribute, source);
            }
        }
        profile
    }

    /// The same profile with other id attributes.
    #[must_use]
    pub fn with_ids(mut self, ids: impl IntoIterator<Item = IdAttribute>) -> Self {
        self.ids = ids.into_iter().collect();
        self
    }

    /// The same profile, in which recipients of a type are records of `kind`.
    #[must_use]
    pub fn with_kind(mut self, recipient: RecipientType, kind: RecordKind) -> Self {
        self.kinds.insert(recipient, kind);
        self
    }

    /// The same profile, in which recipients of a type are no records.
    #[must_use]
    pub fn without_kind(mut self, recipient: RecipientType) -> Self {
        self.kinds.remove(&recipient);
        self
    }

    /// The same profile, in which an attribute of a facet comes from `source`.
    #[must_use]
    pub fn with(
        mut self,
        kind: &RecordKind,
        facet: FacetName,
        attribute: AttributeName,
        source: FacetSource,
    ) -> Self {
        let facets = self.facets.entry(kind.clone()).or_default();
        facets.entry(facet).or_default().insert(attribute, source);
        self
    }

    /// The same profile without an attribute of a facet.
    #[must_use]
    pub fn without(mut self, kind: &RecordKind, facet: &FacetName, attribute: &AttributeName) -> Self {
        if let Some(attributes) = self.facets.get_mut(kind).and_then(|facets| facets.get_mut(facet)) {
            attributes.remove(attribute);
        }
        self
    }

    /// The same profile without a facet: it is neither read nor shown.
    #[must_use]
    pub fn without_facet(mut self, kind: &RecordKind, facet: &FacetName) -> Self {
        if let Some(facets) = self.facets.get_mut(kind) {
            facets.remove(facet);
        }
        self
    }

    /// The attributes that records are understood by: what a server has to be asked for, and all of it. Sorted and without
    /// duplicates, both without regard to ASCII case.
    #[must_use]
    pub fn attributes(&self) -> Vec<String> {
        let ids = self.ids.iter().map(|id| &*id.name);
        let shown: std::collections::BTreeSet<&RecordKind> = self.kinds.values().collect();
        let sources = shown
            .into_iter()
            .filter_map(|kind| self.facets.get(kind))
            .flat_map(BTreeMap::values)
            .flat_map(BTreeMap::values);
        let all = ids
            .chain(recipient::ATTRIBUTES)
            .chain(sources.flat_map(FacetSource::attributes));
        let by_key: BTreeMap<String, &str> = all.map(|name| (name.to_ascii_lowercase(), name)).collect();
        by_key.into_values().map(str::to_owned).collect()
    }
}

impl FacetSource {
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Addresses | Self::PrimaryAddress => (Some(PROXIES), Some("mail")),
            Self::Attribute(name, _) | Self::MailTo(name) | Self::Name(name) | Self::References(name) => {
                (Some(&**name), None)
            }
            Self::OtherAddresses => (Some(PROXIES), None),
            Self::Type => (None, None),
        };
        first.into_iter().chain(second)
    }
}

const LITERAL: &str = "the tables have names without control characters";

fn named(facet: &str) -> FacetName {
    FacetName::new(facet).expect(LITERAL)
}

/// A source with the name of an attribute that lives as long as the tables.
#[derive(Clone, Copy)]
enum From {
    Addresses,
    Bytes(&'static str),
    Flag(&'static str),
    Integer(&'static str),
    MailTo(&'static str),
    Name(&'static str),
    OtherAddresses,
    PrimaryAddress,
    References(&'static str),
    Text(&'static str),
    Texts(&'static str),
    Type,
}

impl std::convert::From<From> for FacetSource {
    fn from(from: From) -> Self {
        let attribute = |name: &str, form| Self::Attribute(name.to_owned(), form);
        match from {
            From::Addresses => Self::Addresses,
            From::Bytes(name) => attribute(name, ValueForm::Bytes),
            From::Flag(name) => attribute(name, ValueForm::Flag),
            From::Integer(name) => attribute(name, ValueForm::Integer),
            From::MailTo(name) => Self::MailTo(name.to_owned()),
            From::Name(name) => Self::Name(name.to_owned()),
            From::OtherAddresses => Self::OtherAddresses,
            From::PrimaryAddress => Self::PrimaryAddress,
            From::References(name) => Self::References(name.to_owned()),
            From::Text(name) => attribute(name, ValueForm::Text),
            From::Texts(name) => attribute(name, ValueForm::Texts),
            From::Type => Self::Type,
        }
    }
}

/// Facet, attribute, and where it comes from.
type Table = &'static [(&'static str, &'static str, From)];

const EVERYBODY: Table = &[
    ("addresses", "legacy_dn", From::Text("legacyExchangeDN")),
    ("addresses", "mail", From::Addresses),
    ("addresses", "other", From::OtherAddresses),
    ("addresses", "primary", From::PrimaryAddress),
    ("advanced", "moderated", From::Flag("msExchEnableModeration")),
    (
        "advanced",
        "moderators",
        From::References("msExchModeratedByLink"),
    ),
    (
        "advanced",
        "unmoderated_from",
        From::References("msExchBypassModerationLink"),
    ),
    ("general", "alias", From::Text("mailNickname")),
    ("general", "hidden", From::Flag("msExchHideFromAddressLists")),
    ("general", "name", From::Text("displayName")),
    ("general", "type", From::Type),
    ("mail_flow", "accept_from", From::References("authOrig")),
    (
        "mail_flow",
        "accept_from_members",
        From::References("dLMemSubmitPerms"),
    ),
    (
        "mail_flow",
        "authenticated_only",
        From::Flag("msExchRequireAuthToSendTo"),
    ),
    ("mail_flow", "receive_limit_kb", From::Integer("delivContLength")),
    ("mail_flow", "recipient_limit", From::Integer("msExchRecipLimit")),
    ("mail_flow", "reject_from", From::References("unauthOrig")),
    (
        "mail_flow",
        "reject_from_members",
        From::References("dLMemRejectPerms"),
    ),
    (
        "mail_flow",
        "send_limit_kb",
        From::Integer("submissionContLength"),
    ),
];

const PEOPLE: Table = &[
    ("general", "company", From::Text("company")),
    ("general", "department", From::Text("department")),
    ("general", "first_name", From::Text("givenName")),
    ("general", "last_name", From::Text("sn")),
    ("general", "office", From::Text("physicalDeliveryOfficeName")),
    ("general", "phone", From::Text("telephoneNumber")),
    ("general", "title", From::Text("title")),
];

const MAILBOXES: Table = &[
    (
        "advanced",
        "mobile_flags",
        From::Integer("msExchOmaAdminWirelessEnable"),
    ),
    ("advanced", "protocols", From::Texts("protocolSettings")),
    ("archive", "database", From::Name("msExchArchiveDatabaseLink")),
    ("archive", "id", From::Bytes("msExchArchiveGUID")),
    ("archive", "name", From::Text("msExchArchiveName")),
    ("archive", "quota_kb", From::Integer("msExchArchiveQuota")),
    ("archive", "warning_kb", From::Integer("msExchArchiveWarnQuota")),
    ("database", "name", From::Name("homeMDB")),
    ("database", "quota_kb", From::Integer("mDBOverHardQuotaLimit")),
    ("database", "send_quota_kb", From::Integer("mDBOverQuotaLimit")),
    ("database", "use_defaults", From::Flag("mDBUseDefaults")),
    ("database", "warning_kb", From::Integer("mDBStorageQuota")),
    ("general", "language", From::Text("msExchUserCulture")),
    ("general", "login", From::Text("userPrincipalName")),
    (
        "mail_flow",
        "deliver_and_forward",
        From::Flag("deliverAndRedirect"),
    ),
    (
        "mail_flow",
        "forward_address",
        From::MailTo("msExchGenericForwardingAddress"),
    ),
    ("mail_flow", "forward_to", From::References("altRecipient")),
    (
        "permissions",
        "opened_by",
        From::References("msExchDelegateListLink"),
    ),
    (
        "permissions",
        "send_on_behalf",
        From::References("publicDelegates"),
    ),
    ("retention", "flags", From::Integer("msExchELCMailboxFlags")),
    ("retention", "policy", From::Name("msExchMailboxTemplateLink")),
    (
        "unified_messaging",
        "flags",
        From::Integer("msExchUMEnabledFlags"),
    ),
    ("unified_messaging", "policy", From::Name("msExchUMTemplateLink")),
];

const LISTS: Table = &[
    (
        "advanced",
        "expansion_server",
        From::Text("msExchExpansionServerName"),
    ),
    ("advanced", "join", From::Integer("msExchGroupJoinRestriction")),
    ("advanced", "leave", From::Integer("msExchGroupDepartRestriction")),
    ("general", "notes", From::Text("info")),
    (
        "mail_flow",
        "automatic_replies",
        From::Flag("oOFReplyToOriginator"),
    ),
    ("mail_flow", "report_to_owner", From::Flag("reportToOwner")),
    ("mail_flow", "report_to_sender", From::Flag("reportToOriginator")),
    ("managers", "deputies", From::References("msExchCoManagedByLink")),
    ("managers", "list", From::References("managedBy")),
    ("members", "list", From::References("member")),
    ("members", "rule", From::Text("msExchDynamicDLFilter")),
    ("members", "rule_base", From::References("msExchDynamicDLBaseDN")),
    (
        "permissions",
        "send_on_behalf",
        From::References("publicDelegates"),
    ),
];

const CONTACTS: Table = &[
    ("general", "address", From::MailTo("targetAddress")),
    ("mail_flow", "encoding", From::Integer("internetEncoding")),
    ("mail_flow", "mapi_recipient", From::Flag("mAPIRecipient")),
];
