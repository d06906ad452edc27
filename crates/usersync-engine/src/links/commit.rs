//! Committing a draft, and looking again if somebody was faster.

use usersync_connector::CallContext;
use usersync_license::SeatLimits;
use usersync_store::{Check, StoreError, StoreErrorKind};

use super::Links;
use super::draft::Draft;
use super::record::Book;
use crate::error::Result;

/// So often is the same tried. Whoever is faster changes what the next try checks, but for a store that shows what it was
/// a moment ago.
const TRIES: u8 = 16;

/// What one call tried so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// What the last one checked, and how many checked the same.
    refused: Option<(Vec<Check>, u8)>,
}

impl Tries {
    /// Whether what was refused may be tried again: there is an end to it, since somebody's change was committed each time that
    /// the checks are others, and nobody's where they are not.
    fn again(&mut self, checks: Vec<Check>) -> bool {
        let same = match self.refused.take() {
            Some((before, times)) if before == checks => times + 1,
            _ => 1,
        };
        self.refused = Some((checks, same));
        same < TRIES
    }
}

impl Links {
    /// Commits a draft; `false` if somebody else was faster: look again.
    pub(super) async fn commit(
        &self,
        context: &CallContext,
        book: &Book,
        draft: Draft,
        limits: Option<&SeatLimits>,
        tries: &mut Tries,
    ) -> Result<bool> {
        let Some(transaction) = draft.transaction(book, context, limits, self.clock.now())? else {
            return Ok(true);
        };
        let checks = transaction.checks.clone();
        match self.store.commit(transaction).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() != StoreErrorKind::Conflict => Err(error.into()),
            Err(_) if tries.again(checks) => Ok(false),
            Err(error) => {
                let message = "what is stored of links and seats contradicts itself; nothing was changed; see what `check_links` finds";
                Err(StoreError::new(StoreErrorKind::Corrupt, message)
                    .with_source(error)
                    .into())
            }
        }
    }
}
