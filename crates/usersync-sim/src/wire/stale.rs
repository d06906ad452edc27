//! What reads showed some time ago, to be shown again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use usersync_connector::{CallContext, Error, ReadEvent};
use usersync_model::{Completeness, TenantId};

use super::read::Told;
use crate::core::Core;
use crate::history::Shown;

/// A complete full read of each tenant, and what it showed then; of each thing that is read apart from others.
#[derive(Clone, Debug)]
pub(crate) struct Remembered<T> {
    what: Shown,
    reads: Arc<Mutex<Reads<T>>>,
}

/// By tenant and by what is read apart from others.
type Reads<T> = BTreeMap<(TenantId, String), Read<T>>;

/// The state that was shown, and how it was told.
type Read<T> = (usize, Vec<ReadEvent<T>>);

impl<T: Clone> Remembered<T> {
    pub(crate) fn new(what: Shown) -> Self {
        Self {
            what,
            reads: Arc::default(),
        }
    }

    /// What was shown of `part` some time ago, to a run that knows older things from then on.
    pub(super) fn stale(&self, core: &Core, context: &CallContext, part: &str) -> Option<Told<T>> {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let (epoch, events) = reads.get(&(context.tenant.clone(), part.to_owned()))?;
        let history = &mut core.lock().history;
        history.shown_stale(&context.tenant, &context.job, &self.what, *epoch);
        Some(events.iter().cloned().map(Ok).collect())
    }

    /// Remembers a full read, if it was complete; not always the newest, since what is shown may be some time ago.
    pub(super) fn shown(
        &self,
        core: &Core,
        tenant: &TenantId,
        part: &str,
        events: &[Result<ReadEvent<T>, Error>],
    ) {
        if is_complete(events) {
            let epoch = core.lock().history.epoch(tenant, &self.what);
            let events = events.iter().filter_map(|event| event.as_ref().ok().cloned());
            let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            reads
                .entry((tenant.clone(), part.to_owned()))
                .or_insert((epoch, events.collect()));
        }
    }
}

pub(super) fn is_complete<T>(events: &[Result<ReadEvent<T>, Error>]) -> bool {
    matches!(
        events.last(),
        Some(Ok(ReadEvent::End(end))) if end.verdict == Completeness::Complete && end.partial.is_empty()
    )
}
