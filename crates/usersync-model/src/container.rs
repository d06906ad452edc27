//! Things that have members at a target.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ContainerRef, PrincipalRef, text_id};
use crate::membership::Role;
use crate::selection::Selection;

text_id!(
    /// The host's own name for a kind of container.
    KindName,
    "container kind"
);

/// What a container is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// A date with participants.
    Event,
    /// A store of files shared by its members.
    Filebox,
    /// A group of the application, which may be selected in its turn.
    Group,
    /// A question to its members.
    HelpMe,
    /// A list of recipients.
    MailingList,
    /// A collection of photos.
    PhotoAlbum,
    /// A question with choices.
    Poll,
    /// A project with members.
    Project,
    /// A team.
    Team,
    /// A kind of the host's own.
    Other(KindName),
}

impl ContainerKind {
    /// The stable code of the kind; the host's own name for its own kinds.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Event => "event",
            Self::Filebox => "filebox",
            Self::Group => "group",
            Self::HelpMe => "help_me",
            Self::MailingList => "mailing_list",
            Self::PhotoAlbum => "photo_album",
            Self::Poll => "poll",
            Self::Project => "project",
            Self::Team => "team",
            Self::Other(name) => name.as_str(),
        }
    }
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A container with what was selected for it, as the host keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Which one it is.
    pub id: ContainerRef,
    /// What it is.
    pub kind: ContainerKind,
    /// The name shown to people.
    pub name: String,
    /// Its creator, who acts for it.
    pub owner: Option<PrincipalRef>,
    /// Who is to be a member.
    pub selection: Selection,
    /// The role that selected members get.
    #[serde(default)]
    pub role: Role,
}

impl Container {
    /// A container without an owner, whose selected members get [`Role::Member`].
    #[must_use]
    pub fn new(id: ContainerRef, kind: ContainerKind, name: impl Into<String>, selection: Selection) -> Self {
        Self {
            id,
            kind,
            name: name.into(),
            owner: None,
            selection,
            role: Role::Member,
        }
    }

    /// The same container owned by `owner`.
    #[must_use]
    pub fn with_owner(mut self, owner: PrincipalRef) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The same container whose selected members get `role`.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
}
