//! What administrators and users do meanwhile.

use std::sync::PoisonError;

use usersync_connector::{ActorState, Directory};
use usersync_license::Entitlement;
use usersync_model::{
    Activity, ContainerRef, Member, MemberFacets, Principal, PrincipalKind, PrincipalRef, RecordRef, Role,
    Selection, Subject,
};
use usersync_store::LedgerKey;

use crate::choice::Stream;
use crate::core::Core;
use crate::tenant::Tenant;
use crate::world::{GROUP, ORGANISATIONS, World, account, contact, object, panel_system, principal, system};

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Join,
    Leave,
    Select,
    AddByHand,
    RemoveByHand,
    Depart,
    Return,
    Disable,
    Enable,
    Rename,
    Role,
    Owner,
    Entitle,
    Account,
    ExpireCursors,
    Contact,
    DropContact,
    Copy,
    Own,
    List,
    Mailbox,
    DropMailbox,
    InPanel,
}

const EDITS: [(Edit, u32); 23] = [
    (Edit::Join, 14),
    (Edit::Leave, 8),
    (Edit::Select, 4),
    (Edit::AddByHand, 5),
    (Edit::RemoveByHand, 5),
    (Edit::Depart, 1),
    (Edit::Return, 2),
    (Edit::Disable, 1),
    (Edit::Enable, 2),
    (Edit::Rename, 1),
    (Edit::Role, 1),
    (Edit::Owner, 1),
    (Edit::Entitle, 2),
    (Edit::Account, 1),
    (Edit::ExpireCursors, 1),
    (Edit::Contact, 4),
    (Edit::DropContact, 2),
    (Edit::Copy, 2),
    (Edit::Own, 1),
    (Edit::List, 1),
    (Edit::Mailbox, 3),
    (Edit::DropMailbox, 1),
    (Edit::InPanel, 1),
];

impl World {
    /// Somebody does something in some tenant.
    pub(crate) fn edit(&self) {
        let tenant = &self.tenants[self.choose(self.tenants.len())];
        let weights = EDITS.map(|(_, weight)| weight);
        let which = self.core.lock().choices.weighted(Stream::Edits, &weights);
        let (edit, _) = EDITS[which];
        let told = self.carry_out(tenant, edit);
        {
            let mut state = self.core.lock();
            state.history.counts.edits += 1;
            state.trace.say(format_args!("{edit:?} in {}: {told}", tenant.id));
        }
        tenant.note(&self.core);
        self.edit_rarely();
        if self.has_roles && self.core.lock().choices.chance(Stream::Roles, 100) {
            self.assign_role();
        }
    }

    /// A container's members are to have another role from now on, or none but the usual one.
    fn assign_role(&self) {
        let below = |bound: usize| self.core.lock().choices.below(Stream::Roles, bound);
        let tenant = &self.tenants[below(self.tenants.len())];
        let id = &tenant.containers[below(tenant.containers.len())];
        let role = [Role::Member, Role::Manager][below(2)].clone();
        let was_edited = tenant.catalog.edit(id, |container| container.role = role.clone());
        self.core.say(format_args!(
            "{role} for those in {id} of {}: {was_edited}",
            tenant.id
        ));
        tenant.note(&self.core);
    }

    fn carry_out(&self, tenant: &Tenant, edit: Edit) -> String {
        let directory = &tenant.directories[self.choose(tenant.directories.len())];
        let user = format!("u{}", self.choose(tenant.users));
        let who = principal(directory.system(), &user);
        match edit {
            Edit::Join => {
                let group = format!("g{}", self.choose(tenant.groups));
                let member = self.pick_of(tenant, directory.system());
                // Who is not there joins nothing: a directory that names somebody whom it does not show is not read in full.
                let is_there = [&member.object, &object(&group)].map(|id| directory.principal(id).is_some());
                if is_there == [true; 2] {
                    directory.add_member(&object(&group), &member);
                }
                format!("{member} joins {group}")
            }
            Edit::Leave => {
                let group = format!("g{}", self.choose(tenant.groups));
                let members: Vec<_> = directory.members_of(&object(&group)).into_iter().collect();
                match members.get(self.choose(members.len())) {
                    Some(member) => {
                        directory.remove_member(&object(&group), member);
                        format!("{member} leaves {group}")
                    }
                    None => "nobody leaves".to_owned(),
                }
            }
            Edit::Select => self.select(tenant),
            Edit::AddByHand => {
                let container = &tenant.containers[self.choose(tenant.containers.len())];
                let members = tenant.target.members_now(&container.object).unwrap_or_default();
                if !members.iter().any(|member| member.principal == who) {
                    tenant
                        .target
                        .put_by_hand(&container.object, Member::new(who.clone()));
                    let key = LedgerKey::member(container.clone(), who.clone());
                    self.core.lock().history.put_by_hand(&tenant.id, key);
                }
                format!("{who} into {container}")
            }
            Edit::RemoveByHand => {
                let container = &tenant.containers[self.choose(tenant.containers.len())];
                let members = tenant.target.members_now(&container.object).unwrap_or_default();
                match members.get(self.choose(members.len())) {
                    Some(member) => {
                        tenant.target.remove_by_hand(&container.object, &member.principal);
                        let key = LedgerKey::member(container.clone(), member.principal.clone());
                        self.core.lock().history.drop_by_hand(&tenant.id, &key);
                        format!("{} out of {container}", member.principal)
                    }
                    None => "nobody".to_owned(),
                }
            }
            Edit::Depart => {
                directory.remove(&who.object);
                format!("{who}")
            }
            Edit::Return => {
                if directory.principal(&who.object).is_none() {
                    directory.put(Principal::new(who.object.clone(), PrincipalKind::User, "user"));
                }
                format!("{who}")
            }
            Edit::Disable | Edit::Enable => {
                if let Some(known) = directory.principal(&who.object) {
                    let activity = match edit {
                        Edit::Disable => Activity::Inactive,
                        _ => Activity::Active,
                    };
                    directory.put(known.with_activity(activity));
                }
                format!("{who}")
            }
            Edit::Rename => {
                if let Some(mut known) = directory.principal(&who.object) {
                    known.name = format!("name {}", self.choose(3));
                    directory.put(known);
                }
                format!("{who}")
            }
            Edit::Role => {
                let container = &tenant.containers[self.choose(tenant.containers.len())];
                let members = tenant.target.members_now(&container.object).unwrap_or_default();
                if let Some(member) = members.get(self.choose(members.len()))
                    && tenant.target.capabilities().updates
                {
                    let facets = MemberFacets {
                        role: Role::Manager,
                        ..MemberFacets::default()
                    };
                    let principal = member.principal.clone();
                    let key = LedgerKey::member(container.clone(), principal.clone());
                    self.core.lock().history.role_by_hand(&tenant.id, key);
                    tenant
                        .target
                        .put_by_hand(&container.object, Member { principal, facets });
                }
                format!("in {container}")
            }
            Edit::Entitle => {
                let seats = u32::try_from(self.choose(3)).unwrap_or(u32::MAX);
                tenant.entitlement.set(&tenant.id, Some(Entitlement::new(seats)));
                format!("{seats} seats")
            }
            Edit::List => self.list(tenant),
            Edit::Account => {
                let number = self.choose(tenant.users);
                let id = account(number).id;
                self.core.lock().history.moved(&tenant.id, id);
                let side = [&tenant.persons, &tenant.mailboxes][self.choose(2)];
                let account = account(number);
                let was_there = side.remove(&account.id);
                if !was_there {
                    side.put(account);
                }
                format!("{number} was there: {was_there}")
            }
            Edit::ExpireCursors => {
                directory.expire_cursors();
                format!("of {}", directory.system())
            }
            Edit::Contact | Edit::DropContact | Edit::Copy | Edit::Own => self.edit_records(tenant, edit),
            Edit::Mailbox | Edit::DropMailbox | Edit::InPanel => self.edit_organisations(tenant, edit),
            Edit::Owner => {
                let state = [ActorState::Active, ActorState::Inactive, ActorState::Missing][self.choose(3)];
                let owner = principal(tenant.directories[0].system(), ["u0", "boss"][self.choose(2)]);
                tenant.actors.set(&tenant.id, owner.clone(), state);
                let is_active = state == ActorState::Active;
                let mut shared = self.core.lock();
                shared.history.set_actor(&tenant.id, owner.clone(), is_active);
                format!("{owner} is {state:?}")
            }
        }
    }

    fn edit_records(&self, tenant: &Tenant, edit: Edit) -> String {
        let (number, name) = (self.choose(4), self.choose(3));
        let collection = object(&format!("u{}", self.choose(tenant.users)));
        let key = |record: &RecordRef| LedgerKey {
            container: ContainerRef::new(system("books"), collection.clone()),
            subject: Subject::Record(record.clone()),
        };
        let made = contact(
            number,
            name,
            if matches!(edit, Edit::Own) {
                "books"
            } else {
                "book"
            },
        );
        let there = tenant.books.records_of(Some(&collection)).unwrap_or_default();
        let is_there = there.iter().any(|record| record.id == made.id);
        match edit {
            Edit::Contact => {
                tenant.book.put_by_hand(Some(&object(GROUP)), made);
            }
            Edit::DropContact => {
                tenant.book.remove_by_hand(Some(&object(GROUP)), &made.id);
            }
            Edit::Copy if is_there && name == 0 => {
                tenant.books.remove_by_hand(Some(&collection), &made.id);
                let mut state = self.core.lock();
                state.history.drop_by_hand(&tenant.id, &key(&made.id));
            }
            Edit::Copy if !is_there => {}
            _ => {
                let mut state = self.core.lock();
                state.history.put_by_hand(&tenant.id, key(&made.id));
                tenant.books.put_by_hand(Some(&collection), made);
            }
        }
        format!("contact {number} as {name} in {collection}")
    }

    /// Somebody works at the backend or at the panel.
    fn edit_organisations(&self, tenant: &Tenant, edit: Edit) -> String {
        let (number, name, which) = (self.choose(4), self.choose(3), self.choose(ORGANISATIONS));
        let (from, to) = (object(&format!("o{which}")), object(&format!("p{which}")));
        let record = contact(number, name, "backend");
        match edit {
            Edit::Mailbox => drop(tenant.backend.put_by_hand(Some(&from), record)),
            Edit::DropMailbox => drop(tenant.backend.remove_by_hand(Some(&from), &record.id)),
            _ => {
                let key = LedgerKey {
                    container: ContainerRef::new(panel_system(), to.clone()),
                    subject: Subject::Record(record.id.clone()),
                };
                let there = tenant.panel.records_of(Some(&to)).unwrap_or_default();
                let is_there = there.iter().any(|other| other.id == record.id);
                let mut state = self.core.lock();
                if is_there && name == 0 {
                    tenant.panel.remove_by_hand(Some(&to), &record.id);
                    state.history.drop_by_hand(&tenant.id, &key);
                } else {
                    state.history.put_by_hand(&tenant.id, key);
                    tenant.panel.put_by_hand(Some(&to), record);
                }
            }
        }
        format!("mailbox {number} as {name} in organisation {which}")
    }

    /// Takes a container off the list, or puts it on it again.
    fn list(&self, tenant: &Tenant) -> String {
        let place = self.choose(tenant.containers.len());
        let id = &tenant.containers[place];
        let mut unlisted = tenant.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        match unlisted.remove(id) {
            Some(container) => tenant.catalog.put(container),
            None => unlisted.extend(tenant.catalog.remove(id).map(|container| (id.clone(), container))),
        }
        format!("{id} is not listed: {}", unlisted.contains_key(id))
    }

    fn select(&self, tenant: &Tenant) -> String {
        let container = &tenant.containers[self.choose(tenant.containers.len())];
        let some = |most: usize| -> Vec<PrincipalRef> {
            (0..self.choose(most + 1))
                .map(|_| match self.choose(5) {
                    4 => tenant.containers[self.choose(tenant.containers.len())].as_principal(),
                    _ => {
                        let directory = &tenant.directories[self.choose(tenant.directories.len())];
                        self.pick_of(tenant, directory.system())
                    }
                })
                .collect()
        };
        let selection = Selection::of(some(2)).except(some(1));
        let told = format!("{container}: {selection:?}");
        tenant.catalog.select(container, selection);
        told
    }

    /// A user or a group.
    fn pick_of(&self, tenant: &Tenant, system: &usersync_model::SystemId) -> PrincipalRef {
        let which = self.choose(tenant.users + tenant.groups);
        match which.checked_sub(tenant.users) {
            None => principal(system, &format!("u{which}")),
            Some(group) => principal(system, &format!("g{group}")),
        }
    }

    pub(crate) fn choose(&self, bound: usize) -> usize {
        choose(&self.core, bound)
    }
}

pub(crate) fn choose(core: &Core, bound: usize) -> usize {
    core.lock().choices.below(Stream::Edits, bound)
}
