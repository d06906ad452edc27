//! What there is in few worlds only.

use std::num::NonZeroUsize;

use usersync_connector::Directory;
use usersync_model::{GroupKind, Principal, PrincipalKind};

use crate::choice::Stream;
use crate::core::Core;
use crate::occurrence::Occurrence;
use crate::tenant::Tenant;
use crate::world::{World, object, principal};

/// What there is in few worlds only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rarities {
    /// How much of what there is a run has in memory at once.
    pub(crate) portion: Option<NonZeroUsize>,
    /// Whoever has a job adopt what is there approves that.
    pub(crate) agrees: bool,
    /// Somebody cancels runs.
    pub(crate) cancels: bool,
    /// Directories tell what is different since they were asked, and nothing of what came and went meanwhile.
    pub(crate) differences: bool,
    /// Groups name members of other directories, who may be gone; jobs take such names for nobody.
    pub(crate) foreigners: bool,
    /// Whole groups go and come back.
    groups: bool,
    /// Systems of records forget their cursors.
    forgets: bool,
}

impl Rarities {
    pub(crate) fn choose(core: &Core) -> Self {
        let below = |bound: usize| core.lock().choices.below(Stream::Rarities, bound);
        let portion = match below(3) {
            2 => NonZeroUsize::new(1 + below(600)),
            _ => None,
        };
        Self {
            portion,
            cancels: below(3) == 2,
            differences: below(3) == 2,
            foreigners: below(3) == 2,
            groups: below(3) == 2,
            forgets: below(3) == 2,
            agrees: below(3) == 2,
        }
    }

    fn has_edits(&self) -> bool {
        self.foreigners || self.groups || self.forgets
    }
}

impl World {
    /// Somebody may do what is done in few worlds only.
    pub(crate) fn edit_rarely(&self) {
        let chance = || self.core.lock().choices.chance(Stream::Rarities, 120);
        if !self.rarities.has_edits() || !chance() {
            return;
        }
        let tenant = &self.tenants[self.rarely(self.tenants.len())];
        let told = match self.rarely(4) {
            0 | 1 if self.rarities.foreigners => self.join_elsewhere(tenant),
            2 if self.rarities.groups => self.end_or_begin_group(tenant),
            3 if self.rarities.forgets => {
                for records in [&tenant.book, &tenant.books, &tenant.backend, &tenant.panel] {
                    records.expire_cursors();
                }
                "records are to be read anew".to_owned()
            }
            _ => return,
        };
        self.core.say(format_args!("in {}: {told}", tenant.id));
        tenant.note(&self.core);
    }

    /// Somebody of any directory joins a group of any.
    fn join_elsewhere(&self, tenant: &Tenant) -> String {
        let [of, to] = [(); 2].map(|()| &tenant.directories[self.rarely(tenant.directories.len())]);
        let group = object(&format!("g{}", self.rarely(tenant.groups)));
        let member = match self.rarely(tenant.users + tenant.groups) {
            which if which < tenant.users => format!("u{which}"),
            which => format!("g{}", which - tenant.users),
        };
        let member = principal(of.system(), &member);
        let is_there = of.principal(&member.object).is_some() && to.principal(&group).is_some();
        if is_there && to.add_member(&group, &member) && of.system() != to.system() {
            self.core.lock().history.occur(Occurrence::ForeignerJoined);
        }
        format!("{member} joins {group} of {}", to.system())
    }

    fn end_or_begin_group(&self, tenant: &Tenant) -> String {
        let directory = &tenant.directories[self.rarely(tenant.directories.len())];
        let group = object(&format!("g{}", self.rarely(tenant.groups)));
        let was_there = directory.remove(&group);
        if was_there {
            self.core.lock().history.occur(Occurrence::GroupEnded);
        } else {
            let kind = PrincipalKind::Group(GroupKind::UserGroup);
            directory.put(Principal::new(group.clone(), kind, "group"));
        }
        format!("{group} of {} was there: {was_there}", directory.system())
    }

    pub(crate) fn rarely(&self, bound: usize) -> usize {
        self.core.lock().choices.below(Stream::Rarities, bound)
    }
}
