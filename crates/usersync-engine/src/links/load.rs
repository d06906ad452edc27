//! Reading both sides and matching them.

use std::collections::BTreeSet;
use std::sync::Arc;

use usersync_connector::{Account, AccountDirectory, AccountEntry, CallContext, Extent, Reader};
use usersync_model::{Completeness, ObjectId, PartialKind, PrincipalRef};
use usersync_reconcile::{KnownLink, Matching, Party, Side, match_accounts};

use super::record::Book;
use super::{Chosen, Links};
use crate::error::Result;
use crate::report::{FailedRead, ReadOf};

/// What [`Links::load`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The situation of each principal asked for, and the accounts that nobody claims.
    pub matching: Matching,
    /// How much was seen of the principals.
    pub principals: Completeness,
    /// How much was seen of the accounts.
    pub accounts: Completeness,
}

/// All that a read showed.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) parties: Vec<Account>,
    pub(super) verdict: Completeness,
    /// How the read failed, if it did not show everything.
    pub(super) failed: Option<FailedRead>,
    vouched: bool,
}

impl Links {
    /// Reads both sides, and tells how the chosen principals stand. Writes nothing. A read that fails is a partial one, from which
    /// nothing is concluded.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, context: &CallContext, chosen: &Chosen) -> Result<Loaded> {
        let (principals, accounts) = self.read(context).await;
        let book = self.book(context).await?;
        let mut matching = self.matching(&book, &principals, &accounts);
        let system = self.principals.system();
        matching
            .principals
            .retain(|matched| chosen.has(&PrincipalRef::new(system.clone(), matched.principal.clone())));
        Ok(Loaded {
            matching,
            principals: principals.verdict,
            accounts: accounts.verdict,
        })
    }

    /// Both sides, one after the other.
    pub(super) async fn read(&self, context: &CallContext) -> (Seen, Seen) {
        let principals = ReadOf::Source(self.principals.system().clone());
        let principals = self
            .read_side(self.principals.as_ref(), principals, context)
            .await;
        let accounts = ReadOf::Target(self.accounts.system().clone());
        let accounts = self.read_side(self.accounts.as_ref(), accounts, context).await;
        (principals, accounts)
    }

    async fn read_side(&self, directory: &dyn AccountDirectory, what: ReadOf, context: &CallContext) -> Seen {
        let stream = directory.accounts(None, context);
        let reader = Reader::within(stream, self.settings.read, Arc::clone(&self.clock));
        let vouched = directory.capabilities().vouches_for_addresses;
        seen(reader, what, vouched).await
    }

    pub(super) fn matching(&self, book: &Book, principals: &Seen, accounts: &Seen) -> Matching {
        let links: Vec<_> = self
            .pair(book)
            .filter(|(_, entry)| entry.link.is_kept())
            .map(|(id, entry)| KnownLink {
                principal: &id.principal.object,
                account: &entry.link.account().object,
                addresses: entry.link.evidence().addresses(),
            })
            .collect();
        match_accounts(&principals.side(), &accounts.side(), &links, &self.rules)
    }
}

impl Seen {
    /// Who was shown.
    pub(super) fn shown(&self) -> BTreeSet<&ObjectId> {
        self.parties.iter().map(|party| &party.id).collect()
    }

    fn side(&self) -> Side<'_> {
        Side::new(
            self.parties.iter().map(party),
            self.verdict.is_complete(),
            self.vouched,
        )
    }
}

fn party(account: &Account) -> Party<'_> {
    Party {
        id: &account.id,
        kind: account.kind,
        activity: account.activity,
        privileged: account.privileged,
        ineligible: account.ineligible.as_deref(),
        addresses: &account.addresses,
        attributes: &account.attributes,
    }
}

async fn seen(mut reader: Reader<AccountEntry>, what: ReadOf, vouched: bool) -> Seen {
    let mut parties = Vec::new();
    let mut says_removed = false;
    let is_full = reader.begin().await == Some(Extent::Full);
    while let Some(chunk) = reader.next_chunk().await {
        for entry in chunk {
            match entry {
                AccountEntry::Upsert(account) => parties.push(account),
                AccountEntry::Removed(_) => says_removed = true,
            }
        }
    }
    let error = reader.take_error();
    let end = reader.finish();
    // Whoever is shown in part may have any address.
    let cut = end.partial.iter().map(|(_, reason)| reason.clone()).min();
    let mut verdict = match (end.verdict.clone(), cut) {
        (Completeness::Complete, Some(reason)) => Completeness::Partial(reason),
        (verdict, _) => verdict,
    };
    if verdict.is_complete() && (says_removed || !is_full) {
        verdict = Completeness::partial(
            PartialKind::Failed,
            "the connector showed changes where everything was asked for",
        );
    }
    let rest = match &verdict {
        Completeness::Complete => None,
        Completeness::Partial(reason) => Some(reason),
    };
    let failed = FailedRead::partial(what, error.as_ref(), &end, rest);
    Seen {
        parties,
        verdict,
        failed,
        vouched,
    }
}
