//! Reads that are of one moment, although they are made in many steps.

use std::collections::BTreeMap;

use usersync_connector::Error;
use usersync_model::{DirectoryChange, ObjectId, PartialKind, PartialReason};

use super::reading::Reading;
use crate::changes::{Changes, Cookie, Strategy};
use crate::index::{Index, Settled};

/// How often it is asked what changed meanwhile.
const ROUNDS: u32 = 5;

impl Reading<'_> {
    /// Asks what changed while `settled` was read, until that makes no difference, and answers where to continue.
    ///
    /// Whoever is moved from a group that is read late to one that was read early is seen in neither. What changed nothing any more
    /// was there all at once. In a directory that never rests, the groups that lost members in the end are partial: where these
    /// are by now, the next read tells.
    pub(super) async fn follow(
        &mut self,
        changes: &Changes,
        (strategy, mut cookie): (Strategy, Cookie),
        settled: &mut Settled,
    ) -> Result<Cookie, Error> {
        for round in 1..=ROUNDS {
            let before = self.index.clone();
            let (next, told) = self.since(changes, &cookie, &[]).await?;
            cookie = next;
            let mut more = self.settle(told || strategy != Strategy::ContentSync).await;
            let makes_no_difference = more.changes.is_empty() && more.partial == settled.partial;
            if round == ROUNDS && !makes_no_difference {
                doubt(&before, &mut more);
            }
            settled.go_on(more);
            if makes_no_difference || settled.flaw.is_some() {
                break;
            }
        }
        Ok(cookie)
    }
}

/// Lets the groups be partial that have fewer members than `before`. One that is not there any more cannot be: then everything is.
fn doubt(before: &Index, settled: &mut Settled) {
    let restless = || {
        PartialReason::new(
            PartialKind::Limit,
            format!(
                "each of the {ROUNDS} times that it was asked what changed, more had; who left this group may be in another \
                 one that was read before"
            ),
        )
    };
    let mut partial: BTreeMap<ObjectId, PartialReason> = settled.partial.drain(..).collect();
    for change in &settled.changes {
        match change {
            DirectoryChange::MembersRemoved { group, .. } => {
                partial.entry(group.clone()).or_insert_with(restless);
            }
            DirectoryChange::Removed(id) if before.is_group(id) => {
                settled.flaw.get_or_insert_with(restless);
            }
            _ => {}
        }
    }
    settled.partial = partial.into_iter().collect();
}
