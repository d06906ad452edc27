//! Where an office goes that is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::executor::block_on;
use usersync_connector::{Token, TokenKey, TokenStore};
use usersync_engine::{Chosen, Engine, EngineError, LinkEntry, Links, RunRequest, Trigger};
use usersync_model::{Authorization, JobId, Link, LinkState, ObjectId, TenantId};
use usersync_store::{Key, Table};

use super::course::{Course, approve_held, see};
use super::desk::{Desk, account, values};
use crate::core::{Core, Trace};
use crate::executor::Process;
use crate::places::problem_of_places;
use crate::world::{link_context, principal, system};

/// Most polls that an office may need to come to rest.
const REST: u64 = 200_000;

/// The process that is left.
const LAST: Process = Process::Worker(0, u32::MAX);

impl Course {
    /// Nothing goes wrong any more, nobody changes anything, and all that waits is approved: where that leads.
    pub(super) fn come_to_rest(&mut self) {
        if !self.is_well() {
            return;
        }
        self.core.say(format_args!("everything is left alone"));
        self.core.lock().faults.on = false;
        for worker in 0..self.office.workers {
            self.kill(self.process(worker));
        }
        self.stage.wake_all();
        let mut left = REST;
        // What is still on its way arrives.
        self.stage.run_out(Process::World, &mut left);
        let engine = self.office.engine(LAST);
        let mut quiet = 0;
        for _ in 0..40 {
            if quiet == 3 || !self.is_well() {
                break;
            }
            let before = self.fingerprint();
            self.core.clock.advance(Duration::from_secs(25 * 3600));
            for desk in &self.office.desks {
                let (engine, core) = (engine.clone(), self.core.clone());
                let (id, job) = (desk.id.clone(), desk.job.clone());
                let links = self.office.links(LAST, desk.settings);
                let by_tokens = !desk.by_mail;
                self.stage.spawn(LAST, async move {
                    let settled = settle_links(&links, &id, by_tokens).await;
                    let ran = run_and_approve(&core, &engine, &id, &job).await;
                    if let Err(error) = settled.and(ran) {
                        let message = format!("{id}: {error}");
                        core.lock().history.violate("run_failed", message);
                    }
                });
            }
            if !self.stage.run_out(LAST, &mut left) {
                self.core.lock().history.violate("no_rest", "a run never ends");
                return;
            }
            quiet = if self.fingerprint() == before {
                quiet + 1
            } else {
                0
            };
        }
        if quiet < 3 {
            let mut problem = "links and items never come to rest".to_owned();
            for desk in &self.office.desks {
                for number in 0..desk.count() {
                    let texts = [0, 1].map(|side| desk.texts(side, number));
                    problem.push_str(&format!("; {number} of {}: {texts:?}", desk.id));
                }
            }
            self.core.lock().history.violate("no_rest", problem);
        }
        self.ended();
        self.follow_clocks(&engine, &mut left);
    }

    /// What has to stay the same in an office at rest.
    fn fingerprint(&self) -> (u64, u64) {
        let state = self.core.lock();
        let mut hasher = Trace::new(false);
        for stored in state.history.shadow.tenants.values() {
            for ((table, key), bytes) in &stored.values {
                if matches!(
                    table,
                    Table::Base | Table::Intent | Table::Link | Table::Place | Table::Seat
                ) {
                    hasher.say(format_args!("{key:?} {bytes:?}"));
                }
            }
        }
        (hasher.hash(), state.history.counts.effects)
    }

    /// Compares where each tenant ended with where it has to.
    fn ended(&mut self) {
        let entries: Vec<Vec<LinkEntry>> = self
            .office
            .desks
            .iter()
            .map(|desk| {
                let mut state = self.core.lock();
                state.history.links_of(&desk.id)
            })
            .collect();
        for (desk, entries) in self.office.desks.iter().zip(&entries) {
            let consented = {
                let mut state = self.core.lock();
                state.history.tenant(&desk.id).office.consented.clone()
            };
            let mut problems = problems_of_links(desk, entries, &consented);
            for number in 0..desk.count() {
                let person = account(0, number);
                let is_kept_in_step = entries.iter().any(|entry| {
                    entry.link.principal().object == person && entry.link.state() == LinkState::Active
                });
                problems.extend(problems_of_items(desk, number, is_kept_in_step));
            }
            let mut state = self.core.lock();
            for (rule, message) in problems {
                let message = format!("{message}, of {}", desk.id);
                state.history.violate(rule, message);
            }
            // What is begun for a link that is suspended waits until it is active again.
            let idle = entries.iter().map(|entry| &entry.link);
            let idle = idle.filter(|link| link.state() != LinkState::Active);
            let idle: Vec<&str> = idle.map(|link| link.principal().object.as_str()).collect();
            let waits = |key: &Key| key.parts().any(|part| idle.contains(&part));
            let open = state.history.shadow.tenant(&desk.id).values.keys();
            let open: Vec<_> = open
                .filter(|(table, key)| *table == Table::Intent && !waits(key))
                .cloned()
                .collect();
            if !open.is_empty() {
                let message = format!("{open:?} of {}", desk.id);
                state.history.violate("journal_left_open", message);
            }
            let values = state.history.shadow.tenant(&desk.id).values.iter();
            let values = values.map(|((table, key), bytes)| (*table, key, &**bytes));
            // What an earlier life of a link left waits with it. Of who has no link it is dropped.
            let idle = entries.iter().map(|entry| &entry.link);
            let idle = idle.filter(|link| link.is_kept() && link.state() != LinkState::Active);
            let idle: Vec<[&str; 4]> = idle.map(parts_of).collect();
            let waits = |pair: &Key| {
                let parts: Vec<&str> = pair.parts().collect();
                parts
                    .get(1..5)
                    .is_some_and(|link| idle.iter().any(|idle| link == idle))
            };
            let wrong = problem_of_places(values, waits);
            if let Some(wrong) = wrong {
                state
                    .history
                    .violate("places_wrong", format!("{wrong}, of {}", desk.id));
            }
            if let Ok(entitled) = block_on(usersync_connector::EntitlementSource::entitlement(
                &desk.entitlement,
                &desk.id,
            )) {
                state.history.waiting(&desk.id, entitled, |link| {
                    let is_there = [
                        desk.persons.account(&link.principal().object),
                        desk.mailboxes.account(&link.account().object),
                    ];
                    is_there.iter().all(Option::is_some)
                });
            }
        }
    }

    /// From now on only time passes: jobs that go by wall clocks run when these show the times, and at no other time.
    fn follow_clocks(&mut self, engine: &Engine, left: &mut u64) {
        for place in 0..self.office.desks.len() {
            let desk = &self.office.desks[place];
            let (id, Some((cron, clocks))) = (desk.id.clone(), desk.cron) else {
                continue;
            };
            // What came while everything came to rest.
            let _ = self.due_at(engine, &id, self.core.now(), left);
            for _ in 0..3 {
                let Some(next) = cron.next(clocks, self.core.now()) else {
                    let problem = format!("{} never comes", cron.text);
                    return self.core.lock().history.violate("cron_missed", problem);
                };
                for (at, expected) in [(next - TimeDelta::seconds(1), 0), (next, 1)] {
                    let ran = self.due_at(engine, &id, at, left);
                    if ran != Some(expected) {
                        let (text, zone) = (cron.text, clocks.zone());
                        let problem =
                            format!("{ran:?} runs of {id} by {text} in {zone} at {at}, not {expected}");
                        return self.core.lock().history.violate("cron_missed", problem);
                    }
                }
            }
        }
    }

    /// How many runs of a tenant begin by their schedules at this time, after what else was due.
    fn due_at(&mut self, engine: &Engine, id: &TenantId, at: DateTime<Utc>, left: &mut u64) -> Option<usize> {
        self.core.clock.set(at);
        let count: Arc<Mutex<Option<usize>>> = Arc::default();
        let (engine, id, told) = (engine.clone(), id.clone(), Arc::clone(&count));
        self.stage.spawn(LAST, async move {
            if let Ok(runs) = engine.run_due(&id).await {
                let by_clock = |report: &usersync_engine::RunReport| report.trigger == Trigger::Schedule;
                let began = runs.iter().filter(|(_, run)| run.as_ref().is_ok_and(by_clock));
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(began.count());
            }
        });
        self.stage.run_out(LAST, left);
        let count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count
    }
}

/// What names a link in the keys of what is stored of its items.
fn parts_of(link: &Link) -> [&str; 4] {
    [
        link.principal().system.as_str(),
        link.principal().object.as_str(),
        link.account().system.as_str(),
        link.account().object.as_str(),
    ]
}

/// What links have to be in the end, as far as their owners' consent goes.
fn problems_of_links(
    desk: &Desk,
    entries: &[LinkEntry],
    consented: &BTreeSet<ObjectId>,
) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    for entry in entries.iter().filter(|entry| entry.link.is_kept()) {
        let link = &entry.link;
        let authorization = link.authorization();
        let tell = |what: &str| format!("{} is {authorization:?}, and {what}", link.account());
        if desk.settings.needs_consent && is_unasked(link, consented) {
            problems.push((
                "active_unasked",
                tell("its link is active, and its owner never consented"),
            ));
        }
        if !desk.settings.needs_consent || desk.by_mail {
            continue;
        }
        let key = TokenKey::Account(link.account().clone());
        let expected = match block_on(desk.tokens.token(&desk.id, &key)) {
            Ok(Token::Valid(_)) => Authorization::Authorized,
            Ok(Token::Revoked) => Authorization::Revoked,
            _ => continue,
        };
        // Whoever administrates may have revoked by hand what the owner goes on consenting to.
        let is_overruled = authorization == Authorization::Revoked;
        if authorization != expected && !is_overruled {
            problems.push(("consent_unheard", tell("its owner says otherwise")));
        }
    }
    problems
}

/// Whether a link is active to an account whose owner never consented.
fn is_unasked(link: &Link, consented: &BTreeSet<ObjectId>) -> bool {
    link.state() == LinkState::Active && !consented.contains(&link.account().object)
}

/// What the items of a person have to be in the end: where they are kept in step, both sides say the same, and nothing is lost of what
/// people wrote and nobody took away.
fn problems_of_items(desk: &Desk, number: usize, is_kept_in_step: bool) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let sides = [0, 1].map(|side| {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for (_, text) in desk.texts(side, number) {
            let uid = values(&text, "UID").join(" ");
            if texts.insert(uid.clone(), text).is_some() {
                problems.push(("item_twice", format!("{uid} at {}", account(side, number))));
            }
        }
        texts
    });
    let [crm, mail] = &sides;
    if is_kept_in_step {
        let said = |texts: &BTreeMap<String, String>| -> Vec<_> {
            let texts = texts.iter();
            texts
                .map(|(uid, text)| (uid.clone(), desk.properties().map(|name| values(text, name))))
                .collect()
        };
        if said(crm) != said(mail) {
            problems.push(("sides_differ", format!("{:?} and {:?}", said(crm), said(mail))));
        }
    }
    let words = desk.words.lock().unwrap_or_else(PoisonError::into_inner);
    for word in words.of(number) {
        let has = |texts: &BTreeMap<String, String>| texts.values().any(|text| text.contains(word));
        let is_kept = match is_kept_in_step {
            true => has(crm) && has(mail),
            false => has(crm) || has(mail),
        };
        if !is_kept {
            problems.push(("item_lost", format!("{word}: {sides:?}")));
        }
    }
    problems
}

/// Links follow what became of persons, mailboxes and consents, and whoever can be linked is, as far as there are seats.
async fn settle_links(links: &Links, tenant: &TenantId, by_tokens: bool) -> Result<(), EngineError> {
    let context = link_context(tenant);
    let departures = links.follow_departures(&context, None).await?;
    if let Some((_, held)) = departures.held {
        links.follow_departures(&context, Some(&held)).await?;
    }
    if by_tokens {
        links.follow_tokens(&context, &Chosen::All).await?;
    }
    links.stage(&context, &Chosen::All).await?;
    links.save_added(&context, &Chosen::All).await?;
    Ok(())
}

/// Runs the job of items; what is held is approved, and run again.
async fn run_and_approve(
    core: &Core,
    engine: &Engine,
    tenant: &TenantId,
    job: &JobId,
) -> Result<(), EngineError> {
    let by = principal(&system("hr"), "boss");
    engine.resume_job(tenant, job, by, "simulated").await?;
    for (_, due) in engine.run_due(tenant).await? {
        due.iter().for_each(|report| see(core, report));
    }
    let report = engine.run(tenant, job, RunRequest::everything()).await?;
    core.say(format_args!("{tenant}: {report}"));
    see(core, &report);
    approve_held(core, engine, tenant, job, &report).await;
    see(core, &engine.run(tenant, job, RunRequest::everything()).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use usersync_model::{Evidence, PrincipalKind};

    use super::*;

    #[test]
    fn a_link_that_is_active_needs_an_owner_who_consented() {
        let principal = principal(&system("crm"), "p0");
        let account = usersync_model::AccountRef::new(system("mail"), crate::world::object("a0"));
        let evidence = Evidence::ByHand {
            addresses: Vec::new(),
        };
        // As if it had been forgotten that consent is needed.
        let mut link = Link::propose(principal, PrincipalKind::User, account, evidence, false);
        let nobody = BTreeSet::new();
        assert!(!is_unasked(&link, &nobody), "it is not active yet");
        link.save().expect("it is proposed");
        assert!(is_unasked(&link, &nobody));
        assert!(!is_unasked(&link, &BTreeSet::from([crate::world::object("a0")])));
    }
}
