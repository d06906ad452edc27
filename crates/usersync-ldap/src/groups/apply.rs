//! Applying operations to the members of one group.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::{Applied, Error, ErrorKind, MemberChange, MemberOperation, Result};
use usersync_model::{MemberFacets, ObjectId};

use super::Inner;
use super::changes::{self, ChangedGroup, Request, Whereabouts, Wish, no_group};
use super::find::{self, Features, Group, Person, SoughtPerson};
use super::former::{self, Standing};
use super::members::{self, Membership};
use super::presence::{
    any_of, as_read, at_group, foreign, his_logins, sought, unclear, unknown, unknown_is_member,
};
use super::settings::{GroupSettings, MembersBy};
use crate::IdAttribute;
use crate::client::ber::{self, OCTETS};
use crate::client::{Base, Change, Code, Control, Session, oid};
use crate::entry::Entry;

/// A filter that is an equality (RFC 4511, section 4.5.1).
const EQUALITY: u8 = 0xa3;
const NO_SUCH_OBJECT: u32 = 32;
/// How often a removal is tried of somebody who is a member again, or has another name, each time.
const TRIES: u32 = 5;

/// Applies operations, and answers one result for each.
pub(super) async fn apply(
    inner: &Inner,
    container: &ObjectId,
    operations: &[MemberOperation],
) -> Vec<Result<Applied>> {
    let most = inner.settings.max_batch.get();
    if operations.len() > most {
        let too_many = || {
            let message = format!(
                "{} operations were given; at most {most} are taken at once",
                operations.len()
            );
            Err(Error::new(ErrorKind::LimitExceeded, message))
        };
        return operations.iter().map(|_| too_many()).collect();
    }
    let mut results: Vec<_> = operations
        .iter()
        .map(|operation| refusal(inner, operation).map(Err))
        .collect();
    if results.iter().any(Option::is_none)
        && let Err(error) = Call::make(inner, container, operations, &mut results).await
    {
        for result in &mut results {
            result.get_or_insert_with(|| Err(error.copy().with_unknown_outcome(false)));
        }
    }
    let unsettled =
        || Err(Error::new(ErrorKind::Unexpected, "the operation was not tried").with_unknown_outcome(false));
    let results = results.into_iter().map(|result| result.unwrap_or_else(unsettled));
    results
        .map(|result| result.map_err(|error| error.at(&inner.system, "apply")))
        .collect()
}

/// One call under way.
struct Call<'c> {
    inner: &'c Inner,
    operations: &'c [MemberOperation],
    results: &'c mut Vec<Option<Result<Applied>>>,
}

impl Call<'_> {
    async fn make(
        inner: &Inner,
        container: &ObjectId,
        operations: &[MemberOperation],
        results: &mut Vec<Option<Result<Applied>>>,
    ) -> Result<()> {
        let (mut session, features) = inner.connect().await?;
        let mut call = Call {
            inner,
            operations,
            results,
        };
        match sought(find::group_for_change(&mut session, &features, &inner.settings, container).await?)? {
            None => call.no_group(),
            Some((group, entry)) => {
                let mut persons = call.persons(&mut session, &features, container).await?;
                let mut live = Live {
                    inner,
                    session,
                    features,
                    group,
                    entry,
                    broken: false,
                };
                call.in_waves(&mut live, &mut persons).await;
                if live.broken {
                    return Ok(());
                }
                session = live.session;
            }
        }
        inner.client.keep(session);
        Ok(())
    }

    fn no_group(&mut self) {
        for (operation, result) in self.operations.iter().zip(&mut *self.results) {
            result.get_or_insert_with(|| match operation.change {
                MemberChange::Remove => Ok(Applied::unchanged()),
                _ => Err(no_group()),
            });
        }
    }

    /// Those concerned. Operations on others are settled.
    async fn persons(
        &mut self,
        session: &mut Session,
        features: &Features,
        container: &ObjectId,
    ) -> Result<BTreeMap<ObjectId, Person>> {
        let open = self
            .operations
            .iter()
            .zip(&*self.results)
            .filter(|(_, result)| result.is_none());
        let wanted: BTreeSet<_> = open
            .map(|(operation, _)| operation.principal.object.clone())
            .collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let (mut found, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for (id, sought) in find::persons(session, features, &self.inner.settings, &wanted).await? {
            match sought {
                SoughtPerson::Person(person) => {
                    found.insert(id, *person);
                }
                SoughtPerson::Unclear(reason) => self.settle_all_of(&id, || Err(unclear(&reason))),
                SoughtPerson::Missing => {
                    missing.insert(id);
                }
            }
        }
        self.unknown_persons(session, features, container, &missing)
            .await?;
        Ok(found)
    }

    /// Whoever is not in the directory cannot be added; that he is no member has to be seen in the group.
    async fn unknown_persons(
        &mut self,
        session: &mut Session,
        features: &Features,
        container: &ObjectId,
        missing: &BTreeSet<ObjectId>,
    ) -> Result<()> {
        let is_removal = |operation: &&MemberOperation| {
            operation.change == MemberChange::Remove && missing.contains(&operation.principal.object)
        };
        let group = match self.operations.iter().find(is_removal) {
            Some(_) => Some(as_read(session, features, self.inner, container).await?),
            None => None,
        };
        for (operation, result) in self.operations.iter().zip(&mut *self.results) {
            let id = &operation.principal.object;
            if !missing.contains(id) {
                continue;
            }
            let absent = |group: &Membership| unknown_is_member(group, id) == Some(false);
            result.get_or_insert_with(|| match operation.change {
                MemberChange::Remove if group.as_ref().is_some_and(absent) => Ok(Applied::unchanged()),
                _ => Err(unknown(&operation.principal)),
            });
        }
        Ok(())
    }

    fn settle_all_of(&mut self, id: &ObjectId, outcome: impl Fn() -> Result<Applied>) {
        for (operation, result) in self.operations.iter().zip(&mut *self.results) {
            if operation.principal.object == *id {
                result.get_or_insert_with(&outcome);
            }
        }
    }

    /// Sends what is left: operations on one principal one after another, all others together.
    async fn in_waves(&mut self, live: &mut Live<'_>, persons: &mut BTreeMap<ObjectId, Person>) {
        let mut again = 0;
        while !live.broken {
            let mut seen = BTreeSet::new();
            let (mut indexes, mut wishes) = (Vec::new(), Vec::new());
            for (index, operation) in self.operations.iter().enumerate() {
                let id = &operation.principal.object;
                if self.results[index].is_some() || !seen.insert(id) {
                    continue;
                }
                let wish = match persons.get(id) {
                    Some(person) => wish(
                        operation,
                        person,
                        (&live.group, &live.entry),
                        &self.inner.settings,
                    ),
                    None => Err(Err(unknown(&operation.principal))),
                };
                match wish {
                    Ok(wish) => {
                        indexes.push(index);
                        wishes.push(wish);
                    }
                    Err(result) => self.results[index] = Some(result),
                }
            }
            if seen.is_empty() {
                return;
            }
            let placeholder = match live.group.by {
                MembersBy::Dn(_) => self.inner.settings.placeholder().map(ToString::to_string),
                MembersBy::Login(_) => None,
            };
            let placeholder = placeholder.as_ref().map(String::as_bytes);
            let fulfilled = changes::fulfil(live, &wishes, placeholder).await;
            let mut gone = Vec::new();
            for (index, fulfilled) in indexes.into_iter().zip(fulfilled) {
                if self.operations[index].change == MemberChange::Remove && matches!(fulfilled, Ok(false)) {
                    gone.push(index);
                }
                self.results[index] = Some(fulfilled.map(|changed| Applied {
                    changed,
                    version: None,
                }));
            }
            if !gone.is_empty() && !live.broken {
                again += 1;
                self.look_after(live, persons, &gone, again < TRIES).await;
            }
            if !live.broken
                && self.results.iter().any(Option::is_none)
                && let Err(error) = live.look_again().await
            {
                live.broken = true;
                for result in &mut *self.results {
                    result.get_or_insert_with(|| Err(error.copy().with_unknown_outcome(false)));
                }
            }
        }
        for result in &mut *self.results {
            let unsent = "the connection broke before the operation was sent; try again";
            result.get_or_insert_with(|| {
                Err(Error::new(ErrorKind::Unavailable, unsent).with_unknown_outcome(false))
            });
        }
    }

    /// Looks after those who were to be removed and whose names the group did not have: they may have had another one by then.
    /// Whoever turns out to be a member is to be tried again.
    async fn look_after(
        &mut self,
        live: &mut Live<'_>,
        persons: &mut BTreeMap<ObjectId, Person>,
        gone: &[usize],
        again: bool,
    ) {
        let ids: Vec<ObjectId> = gone
            .iter()
            .map(|&index| self.operations[index].principal.object.clone())
            .collect();
        let standings = live.standings(&ids, persons).await;
        for &index in gone {
            let result = match &standings {
                Err(error) => Some(Err(error.copy().with_unknown_outcome(false))),
                Ok(standings) => match standings.get(&self.operations[index].principal.object) {
                    None => continue,
                    Some(Standing::Member) if again => None,
                    Some(_) => Some(Err(former::in_doubt(&live.group.dn))),
                },
            };
            self.results[index] = result;
        }
    }
}

/// A group at the server.
struct Live<'c> {
    inner: &'c Inner,
    session: Session,
    features: Features,
    group: Group,
    /// It as it was found last.
    entry: Entry,
    /// Whether the connection is of no use any more.
    broken: bool,
}

impl Live<'_> {
    /// Finds the group as it is now, with its logins.
    async fn look_again(&mut self) -> Result<Whereabouts> {
        let id = self.group.id.clone();
        let found =
            find::group_for_change(&mut self.session, &self.features, &self.inner.settings, &id).await;
        match found.and_then(sought) {
            Ok(None) => Ok(Whereabouts::Gone),
            Ok(Some((group, entry))) => {
                let moved = group.dn != self.group.dn;
                (self.group, self.entry) = (group, entry);
                Ok(if moved {
                    Whereabouts::Moved
                } else {
                    Whereabouts::Same
                })
            }
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// Those who may be members although the group did not have the names that `persons` says they have. Who has another one has it there
    /// afterwards.
    async fn standings(
        &mut self,
        ids: &[ObjectId],
        persons: &mut BTreeMap<ObjectId, Person>,
    ) -> Result<BTreeMap<ObjectId, Standing>> {
        let standings = self.look_for(ids, persons).await;
        self.broken |= standings.is_err();
        standings
    }

    async fn look_for(
        &mut self,
        ids: &[ObjectId],
        persons: &mut BTreeMap<ObjectId, Person>,
    ) -> Result<BTreeMap<ObjectId, Standing>> {
        let (session, settings) = (&mut self.session, &self.inner.settings);
        let mut standings = BTreeMap::new();
        let MembersBy::Dn(_) = self.group.by else {
            return Ok(standings);
        };
        let (mut same, mut missing) = (BTreeMap::new(), Vec::new());
        for (id, sought) in find::persons(session, &self.features, settings, ids).await? {
            match sought {
                SoughtPerson::Person(person)
                    if persons.get(&id).is_some_and(|known| known.dn == person.dn) =>
                {
                    same.insert(id, *person);
                }
                SoughtPerson::Person(person) => {
                    standings.insert(id.clone(), Standing::Member);
                    persons.insert(id, *person);
                }
                SoughtPerson::Unclear(_) => {
                    standings.insert(id, Standing::Unknown);
                }
                SoughtPerson::Missing => missing.push(id),
            }
        }
        if !missing.is_empty() {
            // Whoever left the base for members has a name still.
            let group = as_read(session, &self.features, self.inner, &self.group.id).await?;
            missing.retain(|id| unknown_is_member(&group, id) != Some(false));
            standings.extend(missing.into_iter().map(|id| (id, Standing::Unknown)));
        }
        standings
            .extend(former::standings(session, &self.features, settings, &self.group, same.iter()).await?);
        Ok(standings)
    }

    async fn which_are_present(&mut self, wishes: &[&Wish]) -> Result<Option<Vec<bool>>> {
        let attribute = self.group.by.attribute();
        let mut searches = Vec::with_capacity(wishes.len());
        for (index, wish) in wishes.iter().enumerate() {
            let filter = any_of(attribute, &wish.values)?;
            searches.push((index, at_group(&self.group, &self.features, filter)));
        }
        let mut present = vec![false; wishes.len()];
        let (mut gone, mut failed) = (false, None);
        members::at_bases(&mut self.session, searches.into_iter(), |index, found, code| {
            present[index] = found.is_some();
            if code.number == NO_SUCH_OBJECT {
                gone = true;
            } else if !code.is_success() {
                failed.get_or_insert(code);
            }
        })
        .await?;
        match failed {
            Some(code) => Err(code.error()),
            None => Ok((!gone).then_some(present)),
        }
    }
}

impl ChangedGroup for Live<'_> {
    async fn modify(&mut self, request: Request) -> Result<Code> {
        let attribute = self.group.by.attribute();
        let change = |values: Vec<_>, change: fn(String, Vec<Vec<u8>>) -> Change| {
            (!values.is_empty()).then(|| change(attribute.to_owned(), values))
        };
        let add = change(request.add, |attribute, values| Change::Add { attribute, values });
        let delete = change(request.delete, |attribute, values| Change::Delete {
            attribute,
            values,
        });
        let changes = add.into_iter().chain(delete).collect();
        let settings = &self.inner.settings;
        // Whatever has the name by now, it is to be the group.
        let assertion = (self.features.assertion && matches!(self.group.base, Base::Dn(_)))
            .then(|| assertion(&settings.group_id, &self.group.id))
            .flatten();
        let base = self.group.base.to_string();
        let code = self
            .session
            .modify(&base, changes, assertion.into_iter().collect())
            .await;
        self.broken |= code.is_err();
        code
    }

    async fn present(&mut self, wishes: &[&Wish]) -> Result<Option<Vec<bool>>> {
        let present = self.which_are_present(wishes).await;
        self.broken |= present.is_err();
        present
    }

    async fn find_again(&mut self) -> Result<Whereabouts> {
        self.look_again().await
    }
}

/// What is to be sent for an operation; or its result, if nothing is.
fn wish(
    operation: &MemberOperation,
    person: &Person,
    (group, entry): (&Group, &Entry),
    settings: &GroupSettings,
) -> std::result::Result<Wish, Result<Applied>> {
    let add = operation.change != MemberChange::Remove;
    if person.primary_group.is_some() && person.primary_group == group.sid {
        return Err(if add {
            Ok(Applied::unchanged())
        } else {
            Err(primary_group(operation, group))
        });
    }
    if let MembersBy::Dn(_) = group.by {
        if settings.is_nobody(&person.dn) {
            let message = format!("{} is the placeholder, which nobody can be", person.dn);
            return Err(Err(Error::new(ErrorKind::InvalidData, message)));
        }
        let values = vec![person.dn.to_string().into_bytes()];
        return Ok(Wish { add, values });
    }
    let values = his_logins(person, group, entry);
    match (add, values.is_empty(), person.logins.first()) {
        (true, true, Some(login)) => Ok(Wish {
            add,
            values: vec![login.clone().into_bytes()],
        }),
        (true, true, None) => Err(Err(Error::new(
            ErrorKind::InvalidData,
            format!(
                "{} has no `{}`, by which the group names its members",
                operation.principal, settings.logins
            ),
        ))),
        (true, false, _) | (false, true, _) => Err(Ok(Applied::unchanged())),
        (false, false, _) => Ok(Wish { add, values }),
    }
}

/// Why an operation is not even tried.
fn refusal(inner: &Inner, operation: &MemberOperation) -> Option<Error> {
    match &operation.change {
        MemberChange::Update(_) => Some(Error::unsupported("updating a member")),
        MemberChange::Add(facets) if *facets != MemberFacets::default() => {
            Some(Error::unsupported("a member with another role or state"))
        }
        _ => foreign(inner, &operation.principal),
    }
}

fn primary_group(operation: &MemberOperation, group: &Group) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{} is the primary group of {}; give him another primary group first",
            group.dn, operation.principal
        ),
    )
}

/// Lets a change happen only to the entry with this id (RFC 4528).
fn assertion(attribute: &IdAttribute, id: &ObjectId) -> Option<Control> {
    let value = super::ids::value(attribute, id)?;
    let mut equality = Vec::new();
    ber::push(&mut equality, OCTETS, attribute.name.as_bytes());
    ber::push(&mut equality, OCTETS, &value);
    let mut filter = Vec::new();
    ber::push(&mut filter, EQUALITY, &equality);
    Some(Control::new(oid::ASSERTION).critical().with_value(filter))
}
