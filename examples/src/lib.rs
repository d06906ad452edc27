//! What several examples share: the people and rooms of the exports in `data/` as accounts, LDAP servers, a table of records, a
//! temporary folder, and what is shown on the terminal.

pub mod live;
pub mod records;
pub mod scratch;
pub mod screen;

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use usersync::connector::Account;
use usersync::ldap::LdifReader;
use usersync::model::{Activity, ObjectId, PrincipalKind, ResourceKind};

/// The export of a month that is shipped with the examples.
#[must_use]
pub fn export(month: &str) -> PathBuf {
    let name = format!("data/org-{month}.ldif");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The people and rooms of an LDIF export, in its order. A room has an address made of its name, as if its mailbox had been set up.
///
/// # Errors
/// When the file cannot be read or is no LDIF.
pub fn accounts(path: &Path) -> Result<Vec<Account>, Box<dyn Error>> {
    let mut accounts = Vec::new();
    for entry in LdifReader::new(BufReader::new(File::open(path)?)) {
        let entry = entry?;
        let text = |name| entry.texts(name).next().map(str::to_owned);
        let is_a = |class: &str| entry.texts("objectClass").any(|other| other == class);
        let kind = match (is_a("inetOrgPerson"), is_a("room")) {
            (true, _) => PrincipalKind::User,
            (_, true) => PrincipalKind::Resource(ResourceKind::Room),
            _ => continue,
        };
        let (Some(id), Some(name)) = (text("entryUUID"), text("cn")) else {
            continue;
        };
        let address = text("mail").unwrap_or_else(|| {
            let local: String = name.to_lowercase().replace(' ', ".");
            format!("{local}@rooms.example.org")
        });
        let mut account = account(&id, &name, &address)?;
        account.kind = kind;
        accounts.push(account);
    }
    Ok(accounts)
}

/// A user's account.
///
/// # Errors
/// When `id` is no id.
pub fn account(id: &str, name: &str, address: &str) -> Result<Account, Box<dyn Error>> {
    Ok(Account {
        id: ObjectId::new(id)?,
        kind: PrincipalKind::User,
        name: name.to_owned(),
        addresses: vec![address.to_owned()],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: Default::default(),
    })
}
