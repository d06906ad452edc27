use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use usersync_connector::*;
use usersync_model::*;
use usersync_testkit::conformance::account::{AccountHarness, checks};
use usersync_testkit::conformance::{Cannot, LeaveOut};

use super::*;

#[test]
fn each_check_catches_its_double() {
    const ALL: bool = true;
    const NONE: bool = false;
    prove(
        ["AccountDirectory", "AccountDirectory"],
        &checks(),
        &[NONE, ALL],
        |all, flaw| {
            let state = Mutex::new(State::default());
            Box::new(Double {
                all,
                flaw,
                state: Arc::new(state),
            }) as Box<dyn AccountHarness>
        },
        &[
            (
                "leaves out the last account",
                NONE,
                "point_01_every_account_is_shown",
            ),
            (
                "shows secondary addresses only",
                NONE,
                "point_01_every_account_is_shown",
            ),
            (
                "shows 1000 accounts",
                NONE,
                "point_01_thousands_of_accounts_are_shown",
            ),
            (
                "is always complete",
                NONE,
                "point_01_what_is_left_out_makes_the_read_partial",
            ),
            (
                "is always complete about changes",
                ALL,
                "point_01_changes_left_out_make_the_read_partial",
            ),
            (
                "takes addresses for ids",
                NONE,
                "point_02_new_names_and_addresses_keep_the_id",
            ),
            (
                "shows everything as changed",
                ALL,
                "point_03_nothing_changed_nothing_shown",
            ),
            (
                "leaves out removals",
                ALL,
                "point_03_changes_show_everything_that_changed",
            ),
            (
                "shows removals last",
                ALL,
                "point_03_changes_show_everything_that_changed",
            ),
            (
                "gives the cursor of its end",
                ALL,
                "point_03_what_changes_during_a_full_read_is_not_lost",
            ),
            ("takes any cursor", ALL, "point_03_unknown_cursors_have_expired"),
            ("takes old cursors", ALL, "point_03_old_cursors_have_expired"),
            (
                "gives cursors unclaimed",
                NONE,
                "point_03_without_changes_there_are_no_cursors",
            ),
            (
                "lets holders edit",
                ALL,
                "point_04_addresses_vouched_for_are_not_their_holders_to_edit",
            ),
        ],
    );
}

#[derive(Clone, Debug)]
struct Double {
    all: bool,
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<ObjectId, Account>,
    told: Vec<AccountEntry>,
    first: usize,
    left_out: Option<LeaveOut>,
}

#[async_trait]
impl AccountHarness for Double {
    fn system(&self) -> SystemId {
        SystemId::new("fake").unwrap()
    }

    async fn fresh(&self, accounts: Vec<Account>) -> Arc<dyn AccountDirectory> {
        let accounts = accounts
            .into_iter()
            .map(|account| (account.id.clone(), account))
            .collect();
        *self.state.lock().unwrap() = State {
            accounts,
            ..State::default()
        };
        Arc::new(Fake {
            system: self.system(),
            double: self.clone(),
        })
    }

    async fn change(&self, change: AccountEntry) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        match change.clone() {
            AccountEntry::Removed(id) => drop(state.accounts.remove(&id)),
            AccountEntry::Upsert(account) => drop(state.accounts.insert(account.id.clone(), account)),
        }
        state.told.push(change);
        Ok(())
    }

    async fn holder_edits_address(&self, id: &ObjectId, address: &str) -> std::result::Result<(), Cannot> {
        if self.flaw == "lets holders edit" {
            let mut state = self.state.lock().unwrap();
            state.accounts.get_mut(id).unwrap().addresses = vec![address.to_owned()];
        }
        Ok(())
    }

    async fn expire_cursors(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().first = 1;
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().left_out = Some(what);
        Ok(())
    }
}

#[derive(Debug)]
struct Fake {
    system: SystemId,
    double: Double,
}

impl AccountDirectory for Fake {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> AccountCapabilities {
        AccountCapabilities {
            changes: self.double.all,
            vouches_for_addresses: self.double.all,
        }
    }

    fn accounts(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<AccountEntry> {
        let (state, flaw) = (self.double.state.lock().unwrap(), self.double.flaw);
        let mut all: Vec<_> = state.accounts.values().cloned().collect();
        match flaw {
            "leaves out the last account" => drop(all.pop()),
            "shows 1000 accounts" => all.truncate(1000),
            "shows secondary addresses only" => all.iter_mut().for_each(|a| drop(a.addresses.remove(0))),
            "takes addresses for ids" => {
                all.iter_mut()
                    .for_each(|a| a.id = ObjectId::new(a.addresses[0].split('@').next().unwrap()).unwrap());
            }
            _ => {}
        }
        let all = all.into_iter().map(AccountEntry::Upsert).collect();
        let (extent, entries) = match since {
            None => (Extent::Full, all),
            Some(_) if !self.double.all => return failed_read(Error::unsupported("reading changes")),
            Some(cursor) => {
                let place: Option<usize> = std::str::from_utf8(cursor.as_bytes()).unwrap().parse().ok();
                let first = if flaw == "takes old cursors" {
                    0
                } else {
                    state.first
                };
                match place.filter(|place| *place >= first) {
                    Some(_) if flaw == "shows everything as changed" => (Extent::Changes, all),
                    Some(place) => {
                        let mut told = state.told[place..].to_vec();
                        let is_removal = |entry: &AccountEntry| matches!(entry, AccountEntry::Removed(_));
                        match flaw {
                            "leaves out removals" => told.retain(|entry| !is_removal(entry)),
                            "shows removals last" => told.sort_by_key(is_removal),
                            _ => {}
                        }
                        (Extent::Changes, told)
                    }
                    None if flaw == "takes any cursor" => (Extent::Changes, all),
                    None => return failed_read(Error::new(ErrorKind::CursorExpired, "read everything")),
                }
            }
        };
        let mut end = ReadEnd::complete();
        if self.double.all || flaw == "gives cursors unclaimed" {
            end.cursor = Some(Cursor::new(state.told.len().to_string()));
        }
        let mut events = events(
            ReadEvent::Begin(extent),
            entries,
            end,
            state.left_out.as_ref(),
            |_, _| false,
        );
        if hides_partial(flaw, extent) {
            hide_partial(&mut events);
        }
        let stream = into_stream(events);
        if flaw != "gives the cursor of its end" {
            return stream;
        }
        let state = Arc::clone(&self.double.state);
        with_cursor_of_its_end(stream, move || {
            Cursor::new(state.lock().unwrap().told.len().to_string())
        })
    }
}
