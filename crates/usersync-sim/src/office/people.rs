//! What people do in an office meanwhile.

use std::sync::PoisonError;

use futures::executor::block_on;
use usersync_connector::{Secret, TokenKey, TokenStore};
use usersync_license::{Entitlement, ExtraSeats};
use usersync_model::{AccountRef, ObjectId};

use super::Office;
use super::desk::{Desk, account, values};
use crate::choice::Stream;
use crate::occurrence::Occurrence;
use crate::people::choose;
use crate::world::{object, system};

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Edit {
    NewItem,
    Write,
    Delete,
    Clear,
    Entitle,
    Account,
    Consent,
    Withdraw,
}

const EDITS: [(Edit, u32); 8] = [
    (Edit::NewItem, 8),
    (Edit::Write, 8),
    (Edit::Delete, 4),
    (Edit::Clear, 3),
    (Edit::Entitle, 2),
    (Edit::Account, 1),
    (Edit::Consent, 3),
    (Edit::Withdraw, 1),
];

impl Office {
    /// Somebody does something in some tenant.
    pub(super) fn edit(&self) {
        let desk = &self.desks[self.choose(self.desks.len())];
        let weights = EDITS.map(|(_, weight)| weight);
        let which = self.core.lock().choices.weighted(Stream::Edits, &weights);
        let (edit, _) = EDITS[which];
        let told = self.carry_out(desk, edit);
        let mut state = self.core.lock();
        state.history.counts.edits += 1;
        state.trace.say(format_args!("{edit:?} in {}: {told}", desk.id));
    }

    /// Of the items that workers are about to write, people write or delete some just now.
    pub(super) fn meet(&self) {
        for desk in &self.desks {
            let begun = self.core.lock().history.tenant(&desk.id).office.begun.take();
            let Some((whose, uid)) = begun.filter(|_| self.choose(3) == 2) else {
                continue;
            };
            let mut places = (0..desk.count()).flat_map(|number| [(0, number), (1, number)]);
            let Some((side, number)) = places.find(|&(side, number)| account(side, number) == whose) else {
                continue;
            };
            let texts = desk.texts(side, number);
            let picked = texts
                .iter()
                .find(|(_, text)| values(text, "UID") == [uid.as_str()]);
            if picked.is_some() {
                let edit = [Edit::Write, Edit::Write, Edit::Delete][self.choose(3)];
                let told = self.edit_item(desk, edit, side, number, picked);
                let mut state = self.core.lock();
                state.history.counts.edits += 1;
                state.history.occur(Occurrence::ItemMet);
                state.trace.say(format_args!("meanwhile, in {}: {told}", desk.id));
            }
        }
    }

    pub(super) fn choose(&self, bound: usize) -> usize {
        choose(&self.core, bound)
    }

    fn carry_out(&self, desk: &Desk, edit: Edit) -> String {
        let (side, number) = (self.choose(2), self.choose(desk.count()));
        match edit {
            Edit::NewItem | Edit::Write | Edit::Delete => {
                let texts = desk.texts(side, number);
                let picked = texts.get(self.choose(texts.len()));
                self.edit_item(desk, edit, side, number, picked)
            }
            Edit::Clear => {
                let texts = desk.texts(side, number);
                let cleared = texts
                    .iter()
                    .map(|picked| self.edit_item(desk, Edit::Delete, side, number, Some(picked)));
                cleared.collect::<Vec<_>>().join(", ")
            }
            Edit::Entitle => {
                let users = u32::try_from(self.choose(3)).unwrap_or(u32::MAX);
                let extra = [None, Some(0), Some(1), Some(2)][self.choose(4)];
                let entitled = Entitlement::new(users);
                let extra = extra.and_then(|extra| ExtraSeats::new(extra).ok());
                let entitled = extra.map_or(entitled, |extra| entitled.with_extra(extra));
                desk.entitle(&self.core, entitled);
                format!("{entitled:?}")
            }
            Edit::Account => {
                let account = desk.account(side, number);
                self.core.lock().history.moved(&desk.id, account.id.clone());
                let accounts = [&desk.persons, &desk.mailboxes][side];
                let was_there = accounts.remove(&account.id);
                let told = format!("{} was there: {was_there}", account.id);
                if !was_there {
                    accounts.put(account);
                }
                told
            }
            Edit::Consent | Edit::Withdraw if desk.by_mail => "by mail".to_owned(),
            Edit::Consent => {
                let account = account(1, number);
                self.consents(desk, &account);
                let key = TokenKey::Account(AccountRef::new(system("mail"), account.clone()));
                let kept = block_on(desk.tokens.keep(&desk.id, &key, Secret::new("yes"), None));
                format!("{account}: {}", kept.is_ok())
            }
            Edit::Withdraw => {
                let account = account(1, number);
                let key = TokenKey::Account(AccountRef::new(system("mail"), account.clone()));
                let revoked = block_on(desk.tokens.revoke(&desk.id, &key));
                format!("{account}: {}", revoked.is_ok())
            }
        }
    }

    /// The owner of an account consents, or is about to.
    pub(super) fn consents(&self, desk: &Desk, account: &ObjectId) {
        let mut state = self.core.lock();
        let office = &mut state.history.tenant(&desk.id).office;
        office.consented.insert(account.clone());
    }

    fn edit_item(
        &self,
        desk: &Desk,
        edit: Edit,
        side: usize,
        number: usize,
        picked: Option<&(ObjectId, String)>,
    ) -> String {
        let mut words = desk.words.lock().unwrap_or_else(PoisonError::into_inner);
        let place = desk.collection(side, number);
        let items = &desk.sides[side];
        let properties = desk.properties();
        let property = properties[self.choose(properties.len())];
        match (edit, picked) {
            (Edit::NewItem, _) | (_, None) => {
                let word = words.next(number);
                let uid = format!("uid-{word}");
                let text = desk.new_item(&uid, &word);
                items.put_by_hand(&place, object(&uid), text.as_bytes());
                format!("{uid} at {}", place.account)
            }
            (Edit::Delete, Some((href, text))) => {
                words.forget(text);
                for uid in values(text, "UID") {
                    let mut state = self.core.lock();
                    let office = &mut state.history.tenant(&desk.id).office;
                    office.deleted.insert((account(0, number), object(&uid)));
                }
                items.remove_by_hand(&place, href);
                format!("{:?} at {}", values(text, "UID"), place.account)
            }
            (_, Some((href, text))) => {
                let written = format!("{property}:{}", words.next(number));
                let mut kept: Vec<&str> = Vec::new();
                for line in text.lines() {
                    let is_it = line.starts_with(property) && line[property.len()..].starts_with(':');
                    if is_it {
                        words.forget(line);
                        continue;
                    }
                    if ["END:VCARD", "END:VEVENT", "END:VTODO"].contains(&line) {
                        kept.push(&written);
                    }
                    kept.push(line);
                }
                kept.push("");
                items.put_by_hand(&place, href.clone(), kept.join("\r\n").as_bytes());
                format!("{written} into {:?} at {}", values(text, "UID"), place.account)
            }
        }
    }
}
