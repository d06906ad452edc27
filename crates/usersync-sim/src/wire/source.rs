//! Directories.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use usersync_connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Error, ReadEvent, ReadStream, failed_read,
};
use usersync_model::{Completeness, DirectoryChange, SystemId, TenantId};

use super::Wire;

/// A directory, one for each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireDirectory {
    pub(crate) wire: Wire<Arc<dyn Directory>>,
    pub(crate) system: SystemId,
    pub(crate) capabilities: DirectoryCapabilities,
    pub(crate) remembered: Remembered,
}

/// The latest complete full read of each tenant, and what the directory was then.
pub(crate) type Remembered = Arc<Mutex<BTreeMap<TenantId, (usize, Vec<ReadEvent<DirectoryChange>>)>>>;

impl Directory for WireDirectory {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.capabilities
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let directory = match self.wire.of(&context.tenant) {
            Ok(directory) => directory,
            Err(error) => return failed_read(error),
        };
        let site = self
            .wire
            .site(if since.is_some() { "changes" } else { "directory" }, context);
        let (core, system) = (self.wire.core.clone(), self.system.clone());
        let is_full = since.is_none();
        let stale = {
            let (this, context) = (self.clone(), context.clone());
            move || {
                let remembered = this.remembered.lock().unwrap_or_else(PoisonError::into_inner);
                let (epoch, events) = remembered.get(&context.tenant).filter(|_| is_full)?;
                let history = &mut this.wire.core.lock().history;
                history.shown_stale(&context.tenant, &context.job, &this.system, *epoch);
                Some(events.iter().cloned().map(Ok).collect())
            }
        };
        let shown = {
            let (remembered, tenant) = (Arc::clone(&self.remembered), context.tenant.clone());
            move |events: &[Result<ReadEvent<DirectoryChange>, Error>]| {
                let is_complete = matches!(
                    events.last(),
                    Some(Ok(ReadEvent::End(end))) if end.verdict == Completeness::Complete && end.partial.is_empty()
                );
                if is_full && is_complete {
                    let epoch = core.lock().history.people_epoch(&tenant, &system);
                    let events = events
                        .iter()
                        .filter_map(|event| event.as_ref().ok().cloned())
                        .collect();
                    let mut remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
                    // Not always the newest: what is shown may be some time ago.
                    remembered.entry(tenant).or_insert((epoch, events));
                }
            }
        };
        let context = context.clone();
        self.wire
            .core
            .read(site, move || directory.read(since, &context), stale, shown)
    }
}
