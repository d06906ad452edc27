//! A room, from its link over the consent that its mailbox gives to its first entries.

use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{Account, Notification, Token, TokenKey, TokenStore};
use usersync::engine::{ByHand, Chosen, LinkSettings};
use usersync::license::{Entitlement, ExtraSeats};
use usersync::memory::MemoryTokens;
use usersync::model::{ItemKind, LinkState, PrincipalKind, ResourceKind};
use usersync::store::Log;
use usersync_tests::tenant;

use crate::items::{GENEROUS, Home, Where, account, collection, context, object};

const MEETING: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:e\r\nSUMMARY:Meet\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

#[test]
fn a_rooms_diary_is_synchronized_once_its_mailbox_consents() {
    let home = Home::new(0, GENEROUS);
    let room = |name| Account {
        kind: PrincipalKind::Resource(ResourceKind::Room),
        ..account(name)
    };
    home.people.put(room("p0"));
    home.accounts.put(room("a0"));
    for kind in ItemKind::ALL {
        home.crm.create_collection(collection(Where::Crm, 0, kind));
        home.mail.create_collection(collection(Where::Mail, 0, kind));
    }
    let extra = ExtraSeats::new(1).unwrap();
    home.entitlement
        .set(&tenant(), Some(Entitlement::new(0).with_extra(extra)));
    let tokens = MemoryTokens::new(Arc::new(home.clock.clone()));
    let mut settings = LinkSettings::default();
    settings.needs_consent = true;
    let links = home
        .links()
        .with_tokens(Arc::new(tokens.clone()))
        .with_settings(settings);
    let pair = ByHand::new(object("p0"), object("a0"));
    block_on(links.stage_by_hand(&context(), &pair)).unwrap();
    block_on(links.save_added(&context(), &Chosen::All)).unwrap();
    home.put(Where::Crm, "e", MEETING);

    home.settle();
    assert_eq!(home.texts(Where::Mail, ItemKind::Diary), Vec::<String>::new());

    block_on(links.request_consent(&context(), &Chosen::All)).unwrap();
    let outbox = home.store.snapshot(&tenant()).logs.remove(&Log::Outbox).unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&outbox.last().unwrap().1).unwrap();
    let mail: Notification = serde_json::from_value(stored["value"].clone()).unwrap();
    let token = block_on(tokens.token(&tenant(), &TokenKey::Activation(mail.key))).unwrap();
    let Token::Valid(secret) = token else {
        unreachable!("the token of a mail just written is {token:?}")
    };
    let consented = block_on(links.consent(&context(), &secret)).unwrap().unwrap();
    assert_eq!(consented.state, LinkState::Active);

    home.settle();
    let texts = home.texts(Where::Mail, ItemKind::Diary);
    assert!(texts.len() == 1 && texts[0].contains("SUMMARY:Meet"), "{texts:?}");
}
