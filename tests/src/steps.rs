//! What a host does with an engine, and what it sees of it.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{Clock, Directory, News, Recipient};
use usersync::engine::{Engine, EngineError, RunReport};
use usersync::store::StateStore;

use crate::names::user;
use crate::store::WorldStore;
use crate::world::World;

impl<S: WorldStore> World<S> {
    /// Lets time pass, in seconds.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Runs what is due; answers the runs as `job trigger end`.
    #[must_use]
    pub fn run_due(&self) -> String {
        let ran = block_on(self.engine().run_due(&self.tenant)).expect("the jobs are listed");
        let show = |(id, report): &(_, Result<RunReport, EngineError>)| match report {
            Ok(report) => format!("{id} {} {}", report.trigger, report.end.code()),
            Err(error) => format!("{id} {error}"),
        };
        ran.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    /// In how many seconds a job is due; negative, if one was due before.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        let next = block_on(self.engine().next_due(&self.tenant)).expect("the jobs are listed");
        next.map(|next| (next - self.clock.now()).num_seconds())
    }

    /// Delivers what can be delivered; answers how much.
    #[must_use]
    pub fn deliver(&self) -> usize {
        block_on(self.engine().deliver(&self.tenant)).expect("the outbox can be read")
    }

    /// What a user was told, in order.
    #[must_use]
    pub fn told(&self, who: &str) -> String {
        let delivered = self.notifier.delivered().into_iter();
        let theirs = delivered.filter(|told| told.recipient == Recipient::Principal(user(who)));
        let show = |news| match news {
            News::MemberAdded { container, .. } => format!("+{}", container.object),
            News::MemberRemoved { container } => format!("-{}", container.object),
            news => format!("{news:?}"),
        };
        theirs.map(|told| show(told.news)).collect::<Vec<_>>().join(" ")
    }

    /// An engine over another store and another directory, with nothing that goes wrong.
    #[must_use]
    pub fn plain_engine(
        &self,
        store: Arc<dyn StateStore>,
        directory: Arc<dyn Directory>,
        worker: &str,
    ) -> Engine {
        Engine::builder(
            store,
            Arc::new(self.clock.clone()),
            Arc::new(self.catalog.clone()),
            Arc::new(self.actors.clone()),
            Arc::new(self.notifier.clone()),
        )
        .directory(directory)
        .target(Arc::new(self.target.clone()))
        .worker(worker)
        .build()
    }
}
