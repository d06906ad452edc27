//! Groups whose members are managed: [`LdapGroups`].

mod apply;
mod changes;
mod deref;
mod find;
mod former;
mod ids;
mod members;
mod presence;
mod primary;
mod read;
mod settings;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{
    Applied, CallContext, Error, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, Result, TargetCapabilities,
};
use usersync_model::{ObjectId, PrincipalRef, SystemId};

use crate::client::{LdapClient, Session};
use find::Features;
pub use settings::{GroupSettings, LastMember, MembersBy};

/// The groups of a directory as containers whose members are managed. Needs a tokio runtime.
///
/// A container is a group by its id, a member is an entry by its id; DNs are looked up at every call and kept by nobody. Which
/// attribute names the members follows from the classes of a group, as the [`GroupSettings`] say.
///
/// # Reading
/// A group is missing only where its base is shown, so that the service account has to see the entry that is the base, and where nothing
/// was found by its id. Members are shown by their ids. A member that cannot be told makes its group partial: one that names no entry, shows no id, or,
/// where the id has to be looked up, is outside of the base for members or stands for an entry of another domain. In Active
/// Directory, members by `objectGUID` need no look-up, wherever they are. A group that shows no members, and not that it has none, is
/// partial, too. The empty DN, the placeholder for last members, and the well-known identities of Windows
/// ([MS-DTYP] 2.4.2.4) are nobody.
///
/// Where values bring no ids with them, as they do in Active Directory and where a server offers the control for dereferencing,
/// members are looked up one by one, up to 64 at a time.
///
/// # Writing
/// Operations go into one modify request, which happens whole or not at all, and adds and deletes single values, so that what
/// others change meanwhile stays. Whether an operation changed anything is what the server says: it refuses to add what is there
/// and to delete what is not. Then what is as wished already is left out, and the rest is tried again; what it refuses otherwise is
/// halved, until each operation has its own result. The control for permissive modifications is not used, since with it the server
/// would not tell. Once the server denied eight single operations without carrying out another one in between, what it denies
/// together is not tried one by one.
///
/// A change is bound to the group with its id, not to who has its name: by GUID in Active Directory, by an assertion (RFC 4528)
/// where the server offers that. Memberships have no versions, so that preconditions are ignored, as those without
/// `conditional_write` do; adding who is there answers `changed: false`, never a second success.
///
/// Somebody who was renamed may stand in his groups by his former name for a moment, until the server mends that. So whoever seems to be
/// gone, and changed within the last hour, or a unit above him, is gone only where everybody whom the group names is known; and so is
/// whoever leaves the base for members during the call: [`Conflict`] otherwise, also for the question whether he is a member. The service account has to read `modifyTimestamp` for that, or
/// everybody may have changed.
///
/// Somebody whose primary group in Active Directory the group is cannot be removed: [`Unsupported`]. A principal that the directory
/// does not have is [`NotFound`]; it can be removed only from a group all of whose members are known, where it is not. What becomes
/// of a last member says [`LastMember`].
///
/// [`Conflict`]: usersync_connector::ErrorKind::Conflict
/// [`NotFound`]: usersync_connector::ErrorKind::NotFound
/// [`Unsupported`]: usersync_connector::ErrorKind::Unsupported
#[derive(Clone)]
pub struct LdapGroups(Arc<Inner>);

struct Inner {
    system: SystemId,
    /// Whose principals the members are.
    directory: SystemId,
    client: LdapClient,
    settings: GroupSettings,
}

impl LdapGroups {
    /// The groups at the server of `client` as the system `system`.
    #[must_use]
    pub fn new(system: SystemId, client: LdapClient, settings: GroupSettings) -> Self {
        Self(Arc::new(Inner {
            directory: settings.directory.clone().unwrap_or_else(|| system.clone()),
            system,
            client,
            settings,
        }))
    }
}

impl Inner {
    async fn connect(&self) -> Result<(Session, Features), Error> {
        let mut session = self.client.session().await?;
        let features = Features::of(&self.client, &mut session).await?;
        Ok((session, features))
    }
}

impl fmt::Debug for LdapGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapGroups")
            .field("system", &self.0.system)
            .field("client", &self.0.client)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl MembershipRead for LdapGroups {
    fn system(&self) -> &SystemId {
        &self.0.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            max_batch: self.0.settings.max_batch,
            point_read: true,
            ..TargetCapabilities::default()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, _context: &CallContext) -> ReadStream<MembersEntry> {
        read::read(Arc::clone(&self.0), containers)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let member = presence::member(&self.0, container, principal).await;
        member.map_err(|error| error.at(&self.0.system, "member"))
    }
}

#[async_trait]
impl MembershipTarget for LdapGroups {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        apply::apply(&self.0, container, operations).await
    }
}
