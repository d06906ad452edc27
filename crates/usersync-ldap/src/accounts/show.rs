//! One entry as an account.

use usersync_connector::Account;
use usersync_model::Principal;

use super::{Settings, addresses};
use crate::entry::Entry;

/// The mailboxes that Exchange makes for itself (RecipientTypeDetails): those of the system attendant, of stores, of the organisation itself, of
/// arbitration, of plans, of searches, of monitoring, of audit logs.
const SYSTEM_MAILBOXES: i64 = 0x2000
    | 0x4000
    | 0x40_0000
    | 0x80_0000
    | 0x100_0000
    | 0x2000_0000
    | 0x80_0000_0000
    | 0x400_0000_0000
    | 0x4000_0000_0000;

/// The account that the principal of an entry is.
pub(crate) fn account(entry: &Entry, principal: Principal, privileged: bool, settings: &Settings) -> Account {
    let addresses = addresses(entry, &settings.addresses);
    let ineligible = if is_of_the_system(entry) {
        Some("a mailbox of the mail system itself")
    } else if addresses.is_empty() {
        Some("no mail address")
    } else {
        None
    };
    let attributes = settings
        .attributes
        .iter()
        .filter_map(|(name, attribute, form)| {
            let value = form.read(entry, attribute).ok().flatten()?;
            Some((name.clone(), value))
        })
        .collect();
    Account {
        id: principal.id,
        kind: principal.kind,
        name: principal.name,
        addresses,
        activity: principal.activity,
        privileged: principal.privileged || privileged,
        ineligible: ineligible.map(str::to_owned),
        attributes,
    }
}

fn is_of_the_system(entry: &Entry) -> bool {
    entry
        .texts("msExchRecipientTypeDetails")
        .filter_map(|text| text.trim().parse::<i64>().ok())
        .any(|details| details & SYSTEM_MAILBOXES != 0)
}
