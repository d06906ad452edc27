//! Each rule about operations can be broken.

use serde_json::json;
use usersync_connector::{Actor, Authority};
use usersync_engine::Job;
use usersync_model::{ContainerKind, Digest, DigestBuilder, LedgerRow, OperationId, Origin, Selection};
use usersync_reconcile::{Approval, Guards, Mode, Policy, Share};
use usersync_store::{FencingToken, Lease, LeaseName, Log, Table, Transaction, Write};

use super::approvals::Waiting;
use super::*;
use crate::world::{ADMINISTRATOR, object, principal, system, target_system};

const WORKER: Process = Process::Worker(0, 0);
const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn acme() -> TenantId {
    TenantId::new("acme").expect("an id")
}

fn members() -> JobId {
    JobId::new("members").expect("an id")
}

fn who(name: &str) -> PrincipalRef {
    principal(&system("hr"), name)
}

fn place(name: &str) -> ContainerRef {
    ContainerRef::new(target_system(), object(name))
}

fn key(container: &str, name: &str) -> LedgerKey {
    LedgerKey::member(place(container), who(name))
}

fn operation(name: &str) -> OperationId {
    OperationId::from_digest(&DigestBuilder::new(name).finish())
}

fn lease() -> Lease {
    Lease {
        name: LeaseName {
            tenant: acme(),
            key: Key::of(&["job", "members"]),
        },
        token: FencingToken(1),
        expires: NOW,
    }
}

/// No guard but those that `guards` has.
fn policy(guards: Guards) -> Policy {
    Policy {
        guards,
        ..Policy::new(Mode::Managed)
    }
}

fn unguarded() -> Guards {
    Guards {
        container: None,
        emptied: false,
        run: None,
        window: None,
        ..Guards::default()
    }
}

/// A team that selects `team` and an event that selects the team; Ada and Bob are in both, as ours, and a run is under way.
fn under_way(team: &[&str], policy: Policy) -> History {
    let mut history = History::default();
    let users = ["ada", "bob"].map(|name| (object(name), true));
    let people = People::with_users(BTreeMap::from(users));
    history.set_people(NOW, &acme(), &system("hr"), people);
    let container = |name: &str, selection: Selection| {
        let made = Container::new(place(name), ContainerKind::Event, name, selection);
        (place(name), made)
    };
    let catalog = [
        container("team", Selection::of(team.iter().map(|name| who(name)))),
        container("event", Selection::of([place("team").as_principal()])),
    ];
    history.set_catalog(&acme(), BTreeMap::from(catalog));
    history.set_actor(&acme(), who("boss"), true);
    history.set_actor(&acme(), who(ADMINISTRATOR), true);
    let job = Job::new(
        acme(),
        members(),
        "Members",
        [system("hr")],
        target_system(),
        who("boss"),
    );
    let job = json!({ "value": job.with_policy(policy) });
    put(&mut history, Table::Job, Key::of(&["members"]), &job);
    for key in [key("team", "ada"), key("team", "bob"), key("event", "ada")] {
        let row = LedgerRow::new(Origin::Ours, [members()]);
        let ledger = &mut history.shadow.tenant(&acme()).ledger;
        ledger.insert(key.clone(), row);
        history.tenant(&acme()).comes(key, Put::Ours);
    }
    history.acquired(WORKER, NOW, &lease(), std::time::Duration::from_secs(60));
    history
}

fn put(history: &mut History, table: Table, key: Key, value: &serde_json::Value) {
    let mut transaction = Transaction::new(acme());
    if table != Table::Job {
        transaction = transaction.under(lease().fence());
    }
    let bytes = value.to_string().into_bytes();
    transaction.write(Write::Put { table, key, bytes });
    history.committed(&transaction, None);
}

/// The run writes an intent, and begins.
fn begin(history: &mut History, what: Done, key: &LedgerKey, actor: Actor) -> Option<&'static str> {
    let id = operation(&format!("{} {}", key.subject, key.container));
    let effect = match what {
        Done::Added => json!({ "add": {} }),
        Done::Changed => json!({ "update": {} }),
        Done::Removed => json!("remove"),
    };
    let intent = json!({ "value": { "container": key.container, "subject": key.subject, "effect": effect } });
    let name = Key::of(&["members", &id.to_string()]);
    put(history, Table::Intent, name, &intent);
    history.attempt(WORKER, NOW, &context(actor), key, id, what);
    history.violation.take().map(|violation| violation.rule)
}

fn context(actor: Actor) -> CallContext {
    CallContext {
        tenant: acme(),
        job: members(),
        actor,
    }
}

fn owner() -> Actor {
    Actor {
        principal: who("boss"),
        authority: Authority::JobOwner,
    }
}

fn broken(history: &mut History, what: Done, key: &LedgerKey) -> Option<&'static str> {
    begin(history, what, key, owner())
}

#[test]
fn a_removal_needs_a_claim_of_its_own_and_of_nobody_else() {
    let removed = |row: Option<LedgerRow>| {
        let mut history = under_way(&[], policy(unguarded()));
        let ledger = &mut history.shadow.tenant(&acme()).ledger;
        match row {
            Some(row) => drop(ledger.insert(key("team", "ada"), row)),
            None => drop(ledger.remove(&key("team", "ada"))),
        }
        broken(&mut history, Done::Removed, &key("team", "ada"))
    };
    let other = JobId::new("more").expect("an id");
    let ours = |claims: &[&JobId]| LedgerRow::new(Origin::Ours, claims.iter().copied().cloned());
    assert_eq!(removed(Some(ours(&[&members()]))), None);
    assert_eq!(
        removed(Some(ours(&[&members(), &other]))),
        Some("removal_of_claimed")
    );
    assert_eq!(removed(Some(ours(&[]))), Some("removal_without_claim"));
    assert_eq!(removed(None), Some("removal_without_claim"));
    let foreign = LedgerRow::new(Origin::Foreign, [members()]);
    assert_eq!(removed(Some(foreign)), Some("removal_without_claim"));
}

#[test]
fn an_approval_is_for_those_who_were_shown_and_for_its_time() {
    let guards = Guards {
        emptied: true,
        ..unguarded()
    };
    let mut history = under_way(&[], policy(guards));
    let gone = |history: &mut History, name: &str| broken(history, Done::Removed, &key("team", name));
    assert_eq!(gone(&mut history, "ada"), Some("emptied_unasked"));
    let approve = |history: &mut History, expires: DateTime<Utc>| {
        let held = Digest::of("test", b"ada");
        let waiting = Waiting::of_removals([key("team", "ada")]);
        let tenant = history.tenant(&acme());
        tenant.approvals.show(held, waiting);
        let policy = tenant.jobs()[&members()].policy_digest();
        tenant.approve(Approval {
            job: members(),
            held,
            policy,
            by: who("boss"),
            granted: NOW,
            expires,
        });
    };
    approve(&mut history, NOW);
    assert_eq!(gone(&mut history, "ada"), Some("emptied_unasked"), "it is over");
    approve(&mut history, NOW + chrono::TimeDelta::hours(1));
    assert_eq!(gone(&mut history, "ada"), None);
    assert_eq!(gone(&mut history, "bob"), Some("emptied_unasked"));
}

/// Bob leaves the directory and comes back. A run that read it in between keeps him where he is, so that the team is not emptied.
#[test]
fn who_is_back_may_have_been_in_grace_when_the_run_read() {
    let removed = |grace_hours: Option<u32>, is_back_before: bool| {
        let guards = Guards {
            emptied: true,
            ..unguarded()
        };
        let policy = Policy {
            grace_hours,
            ..policy(guards)
        };
        let mut history = under_way(&[], policy);
        for shown in [&["ada"][..], &["ada", "bob"]] {
            let users = shown.iter().map(|name| (object(name), true));
            let people = People::with_users(users.collect());
            history.set_people(NOW, &acme(), &system("hr"), people);
        }
        if is_back_before {
            let tenant = history.tenant(&acme());
            let window = tenant.window();
            tenant.runs.get_mut(&members()).expect("a run").since = window;
        }
        broken(&mut history, Done::Removed, &key("team", "ada"))
    };
    assert_eq!(removed(Some(1), false), None);
    assert_eq!(removed(Some(1), true), Some("emptied_unasked"));
    assert_eq!(removed(None, false), Some("emptied_unasked"));
}

fn half_of_a_run() -> Guards {
    let run = Share {
        percent: 50,
        floor: 0,
    };
    Guards {
        run: Some(run),
        ..unguarded()
    }
}

#[test]
fn a_run_removes_as_many_as_its_guard_lets_it() {
    let mut history = under_way(&[], policy(half_of_a_run()));
    // Three are ours.
    assert_eq!(broken(&mut history, Done::Removed, &key("team", "ada")), None);
    let second = broken(&mut history, Done::Removed, &key("team", "bob"));
    assert_eq!(second, Some("too_many_removals"));
}

#[test]
fn whom_a_person_adds_meanwhile_counts_for_a_mirror_and_for_nobody_else() {
    let second = |mode: Mode| {
        let policy = Policy {
            mode,
            ..policy(half_of_a_run())
        };
        let mut history = under_way(&[], policy);
        history.put_by_hand(&acme(), key("event", "bob"));
        assert_eq!(broken(&mut history, Done::Removed, &key("team", "ada")), None);
        broken(&mut history, Done::Removed, &key("team", "bob"))
    };
    assert_eq!(second(Mode::Mirror), None);
    assert_eq!(second(Mode::Managed), Some("too_many_removals"));
}

#[test]
fn nothing_is_removed_by_terms_that_nobody_saw() {
    let mut history = under_way(&[], policy(unguarded()));
    let tenant = history.tenant(&acme());
    let run = tenant.runs.get_mut(&members()).expect("a run");
    run.written.insert("other terms".to_owned());
    let removed = broken(&mut history, Done::Removed, &key("team", "ada"));
    assert_eq!(removed, Some("removal_by_a_new_policy"));
}

#[test]
fn who_stays_in_a_team_stays_where_the_team_is_selected() {
    let removed = |before: &dyn Fn(&mut History)| {
        let mut history = under_way(&["ada"], policy(unguarded()));
        before(&mut history);
        broken(&mut history, Done::Removed, &key("event", "ada"))
    };
    assert_eq!(removed(&|_| {}), Some("wanted_removal"));
    let leaves = |history: &mut History| history.drop_by_hand(&acme(), &key("team", "ada"));
    assert_eq!(removed(&leaves), None);
}

#[test]
fn who_has_the_usual_role_is_changed_after_a_person_changed_them() {
    let mut history = under_way(&["ada"], policy(unguarded()));
    let ada = key("team", "ada");
    assert_eq!(broken(&mut history, Done::Changed, &ada), Some("unwanted_change"));
    history.role_by_hand(&acme(), ada.clone());
    assert_eq!(broken(&mut history, Done::Changed, &ada), None);
}

#[test]
fn whoever_acts_may_act_when_the_batch_is_begun() {
    let (ada, bob) = (key("team", "ada"), key("team", "bob"));
    let administrator = || Actor {
        principal: who(ADMINISTRATOR),
        authority: Authority::Administrator,
    };
    let stranger = Actor {
        principal: who("ada"),
        authority: Authority::JobOwner,
    };
    let mut history = under_way(&[], policy(unguarded()));
    let go = |history: &mut History, key: &LedgerKey, actor: Actor| begin(history, Done::Removed, key, actor);
    assert_eq!(go(&mut history, &ada, stranger), Some("wrong_actor"));
    assert_eq!(go(&mut history, &ada, administrator()), Some("wrong_actor"));
    history.step = 5;
    history.set_actor(&acme(), who("boss"), false);
    // Asked before he went.
    assert_eq!(go(&mut history, &ada, owner()), None);
    history.step = 7;
    put(&mut history, Table::Cursor, Key::of(&["any"]), &json!({}));
    assert_eq!(go(&mut history, &bob, owner()), Some("wrong_actor"));
    assert_eq!(go(&mut history, &bob, administrator()), None);
}

/// The target did what it was asked for and waits; until it answers, a person undoes that.
#[test]
fn what_a_person_undoes_before_the_answer_was_done() {
    let id = |key: &LedgerKey| operation(&format!("{} {}", key.subject, key.container));
    let told = |history: &mut History, key: &LedgerKey, what: Done, is_there: bool| {
        history.effect(&context(owner()), key, id(key), what, (is_there, true));
        history.answered(&context(owner()), id(key));
        let id = id(key).to_string();
        let mut transaction = Transaction::new(acme()).under(lease().fence());
        transaction.write(Write::Append {
            log: Log::Outbox,
            key: Key::of(&[&id]),
            bytes: Vec::new(),
        });
        transaction.write(Write::Delete {
            table: Table::Intent,
            key: Key::of(&["members", &id]),
        });
        history.committed(&transaction, None);
        history.violation.take().map(|violation| violation.rule)
    };
    let bob = key("event", "bob");
    let added = |moved: bool| {
        let mut history = under_way(&["ada", "bob"], policy(unguarded()));
        assert_eq!(broken(&mut history, Done::Added, &bob), None);
        if moved {
            history.moved_by(&context(owner()), &bob, id(&bob), Done::Added, true);
            history.drop_by_hand(&acme(), &bob);
        }
        told(&mut history, &bob, Done::Added, false)
    };
    assert_eq!(added(true), None);
    assert_eq!(added(false), Some("told_without_effect"));

    let mut history = under_way(&[], policy(unguarded()));
    let ada = key("team", "ada");
    assert_eq!(broken(&mut history, Done::Removed, &ada), None);
    history.moved_by(&context(owner()), &ada, id(&ada), Done::Removed, false);
    history.put_by_hand(&acme(), ada.clone());
    assert_eq!(told(&mut history, &ada, Done::Removed, true), None);
    assert_eq!(history.tenant(&acme()).here[&ada], Put::Unclear);
}

#[test]
fn a_run_that_panicked_is_told_of() {
    let mut history = under_way(&[], policy(unguarded()));
    let run = json!({ "value": {
        "job": "members", "run": 1, "trigger": "manual", "scope": "everything", "worker": "one",
        "started": NOW, "state": { "failed": { "finished": NOW, "code": "panicked", "message": "oh" } },
    } });
    put(&mut history, Table::Run, Key::of(&["run"]), &run);
    let rule = history.violation.map(|violation| violation.rule);
    assert_eq!(rule, Some("engine_panicked"));
}
