//! Directories.

use std::sync::Arc;

use usersync_connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, Error, Extent, ReadEvent, ReadStream, failed_read,
};
use usersync_model::{Digest, DirectoryChange, SystemId};

use super::Wire;
use super::stale::{Remembered, is_complete};
use crate::occurrence::Occurrence;

/// A directory, one for each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireDirectory {
    pub(crate) wire: Wire<Arc<dyn Directory>>,
    pub(crate) system: SystemId,
    pub(crate) capabilities: DirectoryCapabilities,
    pub(crate) filter: Option<Digest>,
    pub(crate) remembered: Remembered<DirectoryChange>,
}

impl Directory for WireDirectory {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.capabilities
    }

    fn filter(&self) -> Option<Digest> {
        self.filter
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let directory = match self.wire.of(&context.tenant) {
            Ok(directory) => directory,
            Err(error) => return failed_read(error),
        };
        let site = self
            .wire
            .site(if since.is_some() { "changes" } else { "directory" }, context);
        let is_full = since.is_none();
        let stale = {
            let (core, remembered, context) =
                (self.wire.core.clone(), self.remembered.clone(), context.clone());
            move || is_full.then(|| remembered.stale(&core, &context, "")).flatten()
        };
        let shown = {
            let (core, remembered, tenant) = (
                self.wire.core.clone(),
                self.remembered.clone(),
                context.tenant.clone(),
            );
            move |events: &[Result<ReadEvent<DirectoryChange>, Error>]| {
                let is_changes = matches!(events.first(), Some(Ok(ReadEvent::Begin(Extent::Changes))));
                if is_changes && is_complete(events) {
                    core.lock().history.occur(Occurrence::ChangesRead);
                }
                if is_full {
                    remembered.shown(&core, &tenant, "", events);
                }
            }
        };
        let context = context.clone();
        self.wire
            .core
            .read(site, move || directory.read(since, &context), stale, shown)
    }
}
