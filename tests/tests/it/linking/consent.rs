//! The consent of account owners.

#![allow(clippy::panic, reason = "a test that sees what cannot be ends")]

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::executor::block_on;
use usersync::connector::{Notification, Secret, Token, TokenKey, TokenStore};
use usersync::engine::{Chosen, Links, NotConsented};
use usersync::model::{AccountRef, Authorization, LinkState, TenantId};
use usersync::store::Log;
use usersync_tests::tenant;

use crate::linking::life::told;
use crate::linking::{Office, codes, context, context_of, object, only, principal, system};

fn office() -> Office {
    let mut office = Office::new(9);
    office.settings.needs_consent = true;
    let office = office.with_pairs(2);
    office.stage();
    office.save(&Chosen::All);
    office
}

/// What the notifier would put into the latest mail.
fn mailed(office: &Office) -> Secret {
    let bytes = office.outbox().pop().expect("somebody was told");
    let text: serde_json::Value = serde_json::from_slice(&bytes).expect("a notification");
    let told: Notification = serde_json::from_value(text["value"].clone()).expect("a notification");
    match block_on(office.tokens.token(&tenant(), &TokenKey::Activation(told.key))).expect("it is there") {
        Token::Valid(secret) => secret,
        other => panic!("{other:?}"),
    }
}

fn ask(office: &Office) -> Secret {
    let report = block_on(office.links().request_consent(&context(), &only([0]))).expect("it works");
    assert_eq!(codes(&report), "p0 consent_requested");
    mailed(office)
}

/// Under what the token store keeps what the owner of the first account allows.
fn owner() -> TokenKey {
    TokenKey::Account(AccountRef::new(system("mail"), object("a0")))
}

/// The owner consents at the token store.
fn keep(office: &Office, until: Option<DateTime<Utc>>) {
    let secret = Secret::new("canary");
    block_on(office.tokens.keep(&tenant(), &owner(), secret, until)).expect("it is kept");
}

/// What becomes of the first link by what the token store says.
fn follow(office: &Office) -> LinkState {
    block_on(office.links().follow_tokens(&context(), &only([0]))).expect("it works");
    office.list()[0].link.state()
}

fn consent(office: &Office, token: &Secret) -> Result<LinkState, NotConsented> {
    let answer = block_on(office.links().consent(&context(), token)).expect("the store works");
    answer.map(|consented| {
        assert_eq!(consented.principal, principal(0));
        consented.state
    })
}

#[test]
fn a_link_becomes_active_when_its_owner_consents() {
    let office = office();
    assert_eq!(office.shown(), "p0-a0 saved, p1-a1 saved");
    assert_eq!(office.seats(), (2, 0), "a seat is taken by saving");
    let token = ask(&office);
    assert_eq!(consent(&office, &token), Ok(LinkState::Active));
    assert_eq!(office.shown(), "p0-a0 active, p1-a1 saved");
    assert_eq!(told(&office)[2..], ["a0 asked", "p0 authorized active"]);
    let report = block_on(office.links().request_consent(&context(), &only([0, 5]))).expect("it works");
    assert_eq!(codes(&report), "p0 unchanged, p5 no_link");
    office.check();
}

#[test]
fn a_token_is_good_once_for_a_time_and_where_it_was_given() {
    let office = office();
    let first = ask(&office);
    let second = ask(&office);
    assert_ne!(first, second);
    assert_eq!(
        consent(&office, &first),
        Err(NotConsented::Unknown),
        "a newer one takes its place"
    );
    // Elsewhere it is nothing, even among people of the same ids.
    let elsewhere = TenantId::new("umbrella").expect("an id");
    let there = context_of(&elsewhere);
    office
        .entitlement
        .set(&elsewhere, Some(usersync::license::Entitlement::new(9)));
    block_on(office.links().stage(&there, &Chosen::All)).expect("it works");
    block_on(office.links().save_added(&there, &Chosen::All)).expect("it works");
    block_on(office.links().request_consent(&there, &Chosen::All)).expect("it works");
    let answer = block_on(office.links().consent(&there, &second)).expect("the store works");
    assert_eq!(answer, Err(NotConsented::Unknown));
    // And so it is for another pair of systems of the same tenant.
    let answer = block_on(office.other_links().consent(&context(), &second)).expect("the store works");
    assert_eq!(answer, Err(NotConsented::Unknown));

    for wrong in [
        "",
        "0",
        "\u{1f}",
        &"0".repeat(64),
        &second.expose()[..63],
        &second.expose().to_uppercase(),
    ] {
        assert_eq!(
            consent(&office, &Secret::new(wrong)),
            Err(NotConsented::Unknown),
            "{wrong:?}"
        );
    }
    assert_eq!(consent(&office, &second), Ok(LinkState::Active));
    assert_eq!(
        consent(&office, &second),
        Err(NotConsented::Unknown),
        "it was used"
    );
    office.check();
}

#[test]
fn a_token_expires() {
    let office = office();
    let token = ask(&office);
    office
        .clock
        .advance(office.settings.consent_lifetime - Duration::from_secs(1));
    let in_time = office.fork();
    assert_eq!(consent(&in_time, &token), Ok(LinkState::Active));
    office.clock.advance(Duration::from_secs(1));
    assert_eq!(consent(&office, &token), Err(NotConsented::Expired));
    assert_eq!(office.shown(), "p0-a0 saved, p1-a1 saved");
}

#[test]
fn a_token_dies_with_its_link_and_with_the_consent() {
    let office = office();
    let token = ask(&office);
    office.remove(&only([0]));
    assert_eq!(consent(&office, &token), Err(NotConsented::Unknown));
    office.stage();
    office.save(&Chosen::All);
    assert_eq!(
        consent(&office, &token),
        Err(NotConsented::Unknown),
        "the link is another"
    );
    let token = ask(&office);
    block_on(office.links().revoke(&context(), &only([0]))).expect("it works");
    assert_eq!(consent(&office, &token), Err(NotConsented::Unknown));
    assert_eq!(office.list()[0].link.authorization(), Authorization::Revoked);
    let token = ask(&office);
    assert_eq!(consent(&office, &token), Ok(LinkState::Active));
    office.check();
}

/// Links follow what the host's token store says of their owners.
#[test]
fn links_follow_the_token_store() {
    let office = office();
    let until = office.list()[0].staged + Duration::from_secs(60);
    let follow = || {
        block_on(office.links().follow_tokens(&context(), &Chosen::All)).expect("it works");
        office.shown()
    };
    assert_eq!(follow(), "p0-a0 saved, p1-a1 saved");
    keep(&office, Some(until));
    assert_eq!(follow(), "p0-a0 active, p1-a1 saved");
    office.clock.advance(Duration::from_secs(60));
    assert_eq!(follow(), "p0-a0 suspended, p1-a1 saved");
    keep(&office, None);
    assert_eq!(follow(), "p0-a0 active, p1-a1 saved");
    let told_before = told(&office).len();
    assert_eq!(follow(), "p0-a0 active, p1-a1 saved");
    assert_eq!(told(&office).len(), told_before, "nothing new, nothing told");
    block_on(office.tokens.revoke(&tenant(), &owner())).expect("it works");
    assert_eq!(follow(), "p0-a0 suspended, p1-a1 saved");
    assert_eq!(office.seats(), (2, 0), "suspended links keep their seats");
}

/// No token is stored, told or shown anywhere but where secrets are kept.
#[test]
fn no_secret_is_stored_or_shown() {
    let office = office();
    let token = ask(&office);
    let snapshot = office.store.snapshot(&tenant());
    let mut seen = format!(
        "{snapshot:?} {:?} {:?} {:?}",
        office.links(),
        office.tokens,
        office.list()
    );
    for (_, bytes) in snapshot.logs.values().flatten() {
        seen.push_str(&String::from_utf8_lossy(bytes));
    }
    for (_, bytes) in snapshot.values.values().flatten() {
        seen.push_str(&String::from_utf8_lossy(bytes));
    }
    assert!(snapshot.logs[&Log::Audit].len() > 4 && seen.contains("consent_requested"));
    assert!(!seen.contains(token.expose()));
    assert_eq!(format!("{token:?}"), "Secret(…)");
    let refused = consent(&office, &Secret::new("canary-4711")).expect_err("it is none");
    assert!(!format!("{refused:?} {refused}").contains("canary"));
}

#[test]
fn consent_needs_a_place_for_tokens() {
    let office = office();
    let without = Links::new(
        std::sync::Arc::new(office.store.clone()),
        std::sync::Arc::new(office.clock.clone()),
        std::sync::Arc::new(office.people.clone()),
        std::sync::Arc::new(office.mail.clone()),
        std::sync::Arc::new(office.entitlement.clone()),
    );
    let error = block_on(without.request_consent(&context(), &Chosen::All)).expect_err("there is none");
    assert!(error.to_string().contains("token store"));
}

/// Whoever is linked with an account need not be its owner: the owner is asked, and nobody else gets the token.
#[test]
fn consent_is_asked_of_the_account() {
    let office = office();
    ask(&office);
    let bytes = office.outbox().pop().expect("somebody was told");
    let text: serde_json::Value = serde_json::from_slice(&bytes).expect("a notification");
    assert_eq!(
        text["value"]["recipient"],
        serde_json::json!({"account": {"system": "mail", "object": "a0"}})
    );
}

/// What the token store said before is no answer to what a person did since.
#[test]
fn what_was_followed_already_undoes_nothing() {
    let office = office();
    keep(&office, None);
    assert_eq!(follow(&office), LinkState::Active);
    block_on(office.links().revoke(&context(), &only([0]))).expect("it works");
    assert_eq!(follow(&office), LinkState::Suspended, "the owner took it back");
    block_on(office.tokens.revoke(&tenant(), &owner())).expect("it works");
    assert_eq!(follow(&office), LinkState::Suspended);
    let token = ask(&office);
    assert_eq!(consent(&office, &token), Ok(LinkState::Active));
    assert_eq!(follow(&office), LinkState::Active, "the owner consented since");
    block_on(office.links().revoke(&context(), &only([0]))).expect("it works");
    assert_eq!(follow(&office), LinkState::Suspended);
    keep(&office, None);
    assert_eq!(follow(&office), LinkState::Active, "the owner consented anew");
    office.check();
}

/// Whose token is kept is authorized; what the store said before does not come back by itself, and what it says anew is heard.
#[test]
fn what_an_owner_took_back_stays_taken_back() {
    let office = office();
    keep(&office, None);
    assert_eq!(follow(&office), LinkState::Active);
    block_on(office.links().revoke(&context(), &only([0]))).expect("it works");
    let kept = block_on(office.tokens.token(&tenant(), &owner())).expect("it can be asked");
    assert!(matches!(kept, Token::Revoked), "{kept:?}");
    // The same pair, linked anew: the owner has said no.
    office.remove(&only([0]));
    office.stage();
    office.save(&only([0]));
    assert_eq!(follow(&office), LinkState::Saved, "it is not active");
    // Another consent, in place of the one that was taken back.
    keep(&office, None);
    assert_eq!(follow(&office), LinkState::Active);
    block_on(office.links().revoke(&context(), &only([0]))).expect("it works");
    keep(&office, None);
    assert_eq!(follow(&office), LinkState::Active, "nobody looked in between");
    office.check();
}

/// What the store said before an owner consented by mail is older than that, whether anybody has looked or not.
#[test]
fn an_owner_who_consents_is_not_overruled_by_what_was_said_before() {
    let office = office();
    keep(&office, None);
    block_on(office.tokens.revoke(&tenant(), &owner())).expect("it works");
    let token = ask(&office);
    assert_eq!(consent(&office, &token), Ok(LinkState::Active));
    assert_eq!(follow(&office), LinkState::Active);
    office.check();
}
