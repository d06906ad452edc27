//! Groups that name somebody whom nobody is, which a server may be about to mend.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::index::{EntryKey, Index};

/// How long a server may take to mend a reference after what it names was renamed or deleted. It does so at once, but in
/// the background.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often such a group is read again at least, however late.
const READS: u32 = 2;

/// Overlays of OpenLDAP that mend references change groups without a trace: no change is reported, and no time stamp is new. So
/// groups that name an unknown DN are read again for a while, and no longer, since some name one for ever. Where the members of a
/// group follow the entries that they name, one that was renamed or deleted between the reads of both is left unknown, and
/// nothing is reported either.
#[derive(Clone, Debug, Default)]
pub(super) struct Mending(BTreeMap<(EntryKey, String), Attempts>);

#[derive(Clone, Copy, Debug)]
struct Attempts {
    since: Instant,
    reads: u32,
}

impl Mending {
    /// The groups to read again now, one read of which is counted.
    pub(super) fn due(&mut self) -> Vec<EntryKey> {
        let mut groups = BTreeSet::new();
        for ((group, _), attempts) in &mut self.0 {
            if attempts.reads < READS || attempts.since.elapsed() < PATIENCE {
                attempts.reads += 1;
                groups.insert(group.clone());
            }
        }
        groups.into_iter().collect()
    }

    /// Takes over what is unknown as of the last settlement, `limit` of it at most.
    pub(super) fn follow(&mut self, index: &Index, limit: usize) {
        let now = Instant::now();
        let old = std::mem::take(&mut self.0);
        let fresh = Attempts { since: now, reads: 0 };
        self.0 = index
            .unseen_members()
            .take(limit)
            .map(|unseen| {
                let attempts = old.get(&unseen).copied().unwrap_or(fresh);
                (unseen, attempts)
            })
            .collect();
    }
}
