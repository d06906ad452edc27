//! Links with their seats, and somebody who waits for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use usersync::connector::{Account, Actor, Authority, CallContext};
use usersync::engine::{ByHand, Chosen, LinkEntry, LinkOutcome, LinkReport, Links, check_links};
use usersync::license::Entitlement;
use usersync::memory::{MemoryAccounts, MemoryEntitlement, MemoryStore, MemoryTokens};
use usersync::model::{Activity, ObjectId, PrincipalKind, PrincipalRef, SystemId, TenantId};
use usersync_sim::sweep::{Lines, Outcome, Points, Sweep, World};
use usersync_tests::{job, tenant};

/// A CRM, a mail system, and a process that links.
struct Office {
    points: Points,
    tenant: TenantId,
    store: MemoryStore,
    people: MemoryAccounts,
    mail: MemoryAccounts,
    entitlement: MemoryEntitlement,
    tokens: MemoryTokens,
    links: Links,
}

impl Office {
    /// Two seats, and three pairs with the same addresses.
    fn new(points: &Points) -> Self {
        let clock = Arc::new(points.time());
        let accounts = |name: &str| MemoryAccounts::new(system(name)).with_vouched_addresses();
        let (people, mail) = (accounts("crm"), accounts("mail"));
        for n in 0..3 {
            people.put(account("p", n));
            mail.put(account("a", n));
        }
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant(), Some(Entitlement::new(2)));
        let store = MemoryStore::new(Arc::clone(&clock) as Arc<_>);
        let tokens = MemoryTokens::new(Arc::clone(&clock) as Arc<_>);
        Self {
            points: points.clone(),
            tenant: tenant(),
            links: links(points, &store, &people, &mail, &entitlement, &tokens),
            store,
            people,
            mail,
            entitlement,
            tokens,
        }
    }

    fn shown(&self) -> Vec<LinkEntry> {
        let list = futures::executor::block_on(self.behind().list(&context()));
        list.expect("links can be read")
    }

    /// Links that nothing goes wrong with.
    fn behind(&self) -> Links {
        Links::new(
            Arc::new(self.store.clone()),
            Arc::new(self.points.time()),
            Arc::new(self.people.clone()),
            Arc::new(self.mail.clone()),
            Arc::new(self.entitlement.clone()),
        )
    }
}

fn links(
    points: &Points,
    store: &MemoryStore,
    people: &MemoryAccounts,
    mail: &MemoryAccounts,
    entitlement: &MemoryEntitlement,
    tokens: &MemoryTokens,
) -> Links {
    Links::new(
        points.store(Arc::new(store.clone())),
        points.clock(),
        points.accounts(Arc::new(people.clone())),
        points.accounts(Arc::new(mail.clone())),
        points.entitlement(Arc::new(entitlement.clone())),
    )
    .with_tokens(points.tokens(Arc::new(tokens.clone())))
}

impl World for Office {
    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Links, and whether seats and links agree, which they do at every moment.
    fn content(&self) -> Lines {
        let mut lines = Lines::default();
        for entry in self.shown() {
            let waits = if entry.waiting.is_some() { " waits" } else { "" };
            let link = entry.link;
            let pair = format!("{}-{}", link.principal().object, link.account().object);
            lines.put(pair, format!("{}{waits}", link.state()));
        }
        let problems = futures::executor::block_on(check_links(&self.store, &tenant()));
        for problem in problems.expect("the store can be read") {
            lines.put("problem", format!("{problem:?}"));
        }
        lines
    }

    fn restart(&mut self) {
        let Self {
            points,
            store,
            people,
            mail,
            entitlement,
            tokens,
            ..
        } = &self;
        self.links = links(points, store, people, mail, entitlement, tokens);
    }

    /// Linking does nothing by itself but what it is asked for.
    fn rest(&self) -> BoxFuture<'_, Outcome<bool>> {
        Box::pin(async { Ok(false) })
    }
}

fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("an id")
}

fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("an id")
}

fn only(n: usize) -> Chosen {
    Chosen::of([PrincipalRef::parse("crm", &format!("p{n}")).expect("an id")])
}

fn account(prefix: &str, n: usize) -> Account {
    Account {
        id: object(&format!("{prefix}{n}")),
        kind: PrincipalKind::User,
        name: format!("{prefix}{n}"),
        addresses: vec![format!("person{n}@acme.example")],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: BTreeMap::new(),
    }
}

fn context() -> CallContext {
    CallContext {
        tenant: tenant(),
        job: job("links"),
        actor: Actor {
            principal: PrincipalRef::parse("crm", "p99").expect("an id"),
            authority: Authority::JobOwner,
        },
    }
}

/// Whether all that a call was about ended in one of these ways: from a read that failed, for one, nothing is proposed.
fn ended(answer: usersync::engine::Result<LinkReport>, well: &[&str]) -> Outcome {
    let report = answer.map_err(|error| error.to_string())?;
    let is_well = |(_, outcome): &(PrincipalRef, LinkOutcome)| well.contains(&outcome.code());
    match !report.outcomes.is_empty() && report.outcomes.iter().all(is_well) {
        true => Ok(()),
        false => Err(format!("{report:?}")),
    }
}

const STAGED: [&str; 3] = ["already_staged", "linked", "staged"];

const SAVED: [&str; 3] = ["linked", "saved", "waiting"];

/// Three are linked and there are two seats: one waits, and gets in when another goes.
#[test]
fn promise_22_links_and_seats_agree_whatever_call_breaks() {
    Sweep::new("links", Office::new)
        .step("stage", |office: &Office| {
            Box::pin(async { ended(office.links.stage(&context(), &Chosen::All).await, &STAGED) })
        })
        .step("save", |office| {
            Box::pin(async { ended(office.links.save_added(&context(), &Chosen::All).await, &SAVED) })
        })
        .step("remove", |office| {
            Box::pin(async {
                ended(
                    office.links.remove(&context(), &only(0)).await,
                    &["no_link", "removed", "saved"],
                )
            })
        })
        .people("somebody new", |office| {
            office.people.put(account("p", 7));
            office.mail.put(account("a", 8));
        })
        .step("by hand", |office| {
            let pair = ByHand::new(object("p7"), object("a8"));
            Box::pin(async move {
                let outcome = office.links.stage_by_hand(&context(), &pair).await;
                let outcome = outcome.map_err(|error| error.to_string())?;
                match STAGED.contains(&outcome.code()) {
                    true => Ok(()),
                    false => Err(outcome.to_string()),
                }
            })
        })
        .step("save again", |office| {
            Box::pin(async { ended(office.links.save_added(&context(), &Chosen::All).await, &SAVED) })
        })
        .check();
}
