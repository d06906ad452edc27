//! Change feeds: what was touched since a cursor.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use usersync_connector::{Cursor, Error, ErrorKind};
use usersync_model::{ObjectId, TenantId};

/// What was touched, in order. A cursor is a place in it, bound to the feed, the tenant and the scope that was read.
#[derive(Clone, Debug)]
pub(crate) struct Feed<K> {
    /// Whether the feed is offered; otherwise nothing is remembered.
    pub(crate) enabled: bool,
    instance: u64,
    /// The place of the first touch remembered: cursors before it have expired.
    first: u64,
    touched: Arc<Vec<K>>,
}

impl<K: Clone + Ord> Feed<K> {
    /// An empty feed that no other feed of this process shares cursors with, except its clones.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            enabled: false,
            instance: NEXT.fetch_add(1, Ordering::Relaxed),
            first: 0,
            touched: Arc::default(),
        }
    }

    /// Makes cursors the same in every process and run: whoever names instances keeps them apart.
    pub(crate) fn set_instance(&mut self, instance: u64) {
        self.instance = instance;
    }

    pub(crate) fn touch(&mut self, key: impl FnOnce() -> K) {
        if self.enabled {
            Arc::make_mut(&mut self.touched).push(key());
        }
    }

    /// Every cursor given so far expires.
    pub(crate) fn expire(&mut self) {
        self.first = self.place() + 1;
        self.touched = Arc::default();
    }

    /// A cursor that shows what is touched from now on, if cursors are offered.
    pub(crate) fn cursor(&self, tenant: &TenantId, scope: Option<&ObjectId>) -> Option<Cursor> {
        self.enabled.then(|| {
            let mut bytes = self.binding(tenant, scope);
            bytes.extend(self.place().to_be_bytes());
            Cursor::new(bytes)
        })
    }

    /// What was touched since the cursor, each once.
    pub(crate) fn since(
        &self,
        cursor: &Cursor,
        tenant: &TenantId,
        scope: Option<&ObjectId>,
    ) -> Result<BTreeSet<K>, Error> {
        if !self.enabled {
            return Err(Error::unsupported("reading changes"));
        }
        let place = cursor
            .as_bytes()
            .strip_prefix(&*self.binding(tenant, scope))
            .and_then(|place| Some(u64::from_be_bytes(place.try_into().ok()?)));
        let touched = place
            .filter(|place| *place <= self.place())
            .and_then(|place| place.checked_sub(self.first))
            .and_then(|skip| self.touched.get(usize::try_from(skip).ok()?..));
        match touched {
            Some(touched) => Ok(touched.iter().cloned().collect()),
            None => Err(Error::new(
                ErrorKind::CursorExpired,
                "this cursor is too old, or was given elsewhere or for another scope; read everything",
            )),
        }
    }

    fn place(&self) -> u64 {
        self.first + self.touched.len() as u64
    }

    /// Ids hold no control characters, so that the parts stay apart.
    fn binding(&self, tenant: &TenantId, scope: Option<&ObjectId>) -> Vec<u8> {
        let scope = scope.map_or("", ObjectId::as_str);
        format!("{}\u{1f}{tenant}\u{1f}{scope}\u{1f}", self.instance).into_bytes()
    }
}

/// What every backend with a change feed offers to steer it.
macro_rules! fed {
    ($backend:ty) => {
        impl $backend {
            /// The same backend, offering reads of changes. What changed before is not shown in them.
            #[must_use]
            pub fn with_changes(self) -> Self {
                $crate::shared::lock(&self.state).feed.enabled = true;
                self
            }

            /// The same backend with cursors that are the same in every process and run. Cursors of backends that were given
            /// the same number are taken for each other's.
            #[must_use]
            pub fn with_instance(self, instance: u64) -> Self {
                $crate::shared::lock(&self.state)
                    .feed
                    .set_instance(instance);
                self
            }

            /// Lets every cursor given so far expire, and forgets the changes until now.
            pub fn expire_cursors(&self) {
                $crate::shared::lock(&self.state).feed.expire();
            }
        }
    };
}
pub(crate) use fed;
