//! What a sweep disturbs.

use std::fmt;

use futures::future::BoxFuture;
use usersync_engine::{Engine, RunEnd, RunReport};
use usersync_model::{JobId, TenantId};
use usersync_store::Log;

use super::lines::Lines;
use super::points::{Points, wait};

/// How a step or a round ended: an error says in words what has to be done again.
pub type Outcome<T = ()> = Result<T, String>;

/// A small world: systems and a store that last, and a process that may die.
///
/// Whatever the process calls, it calls through [`Points`]. [`Host`] is one that has an engine.
pub trait World {
    /// Whose state is compared.
    fn tenant(&self) -> &TenantId;

    /// What the systems have now, asked behind the points.
    fn content(&self) -> Lines;

    /// The process is gone with all that it had in memory, and another begins: what was opened is opened again, through the points.
    fn restart(&mut self);

    /// One round of all that the process does by itself, such as every job and the delivery of notifications: whether there was
    /// anything to do.
    fn rest(&self) -> BoxFuture<'_, Outcome<bool>>;
}

type Start<P> = dyn Fn(&Points, &P) -> Engine + Send + Sync;

/// A world whose process is an engine, beside the parts `P` that last: connectors, stores, and what else a scenario edits.
pub struct Host<P> {
    points: Points,
    tenant: TenantId,
    parts: P,
    start: Box<Start<P>>,
    content: Box<dyn Fn(&P) -> Lines + Send + Sync>,
    engine: Option<Engine>,
}

impl<P: Sync> Host<P> {
    /// A host whose process is made by `start`, with [`Points`] around all parts, and whose systems show `content`.
    #[must_use]
    pub fn new(
        points: &Points,
        tenant: TenantId,
        parts: P,
        start: impl Fn(&Points, &P) -> Engine + Send + Sync + 'static,
        content: impl Fn(&P) -> Lines + Send + Sync + 'static,
    ) -> Self {
        let engine = Some(start(points, &parts));
        Self {
            points: points.clone(),
            tenant,
            parts,
            start: Box::new(start),
            content: Box::new(content),
            engine,
        }
    }

    /// What lasts.
    #[must_use]
    pub fn parts(&self) -> &P {
        &self.parts
    }

    /// The engine of the process that lives now.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine
            .as_ref()
            .expect("a process lives but while it is started again")
    }

    /// A run over everything, which is to do all that it should.
    pub fn run<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let request = usersync_engine::RunRequest::everything();
            let report = self.engine().run(&self.tenant, job, request).await;
            well(&report.map_err(|error| error.to_string())?)
        })
    }

    /// The points of its world.
    #[must_use]
    pub fn points(&self) -> &Points {
        &self.points
    }
}

/// Whether a run did all that it should, as an outcome of a step: what is held may be held.
///
/// # Errors
/// What it left undone.
pub fn well(report: &RunReport) -> Outcome {
    let skipped = report.items.iter().flat_map(|items| &items.skipped);
    if let Some(link) = skipped
        .map(|link| format!("{}: {}", link.principal, link.why))
        .next()
    {
        return Err(link);
    }
    let is_well = matches!(report.end, RunEnd::Changed | RunEnd::Held | RunEnd::InSync);
    match is_well && report.failed_reads.is_empty() {
        true => Ok(()),
        false => Err(format!("{report}; reads that failed: {:?}", report.failed_reads)),
    }
}

impl<P: Sync> World for Host<P> {
    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn content(&self) -> Lines {
        (self.content)(&self.parts)
    }

    fn restart(&mut self) {
        // The old process lets go of everything before the new one takes it up.
        self.engine = None;
        self.engine = Some((self.start)(&self.points, &self.parts));
    }

    fn rest(&self) -> BoxFuture<'_, Outcome<bool>> {
        Box::pin(async move {
            let (engine, tenant) = (self.engine(), &self.tenant);
            let told = |error: usersync_engine::EngineError| error.to_string();
            let mut is_busy = false;
            for job in engine.jobs(tenant).await.map_err(told)? {
                let request = usersync_engine::RunRequest::everything();
                let report = engine.run(tenant, &job.id, request).await.map_err(told)?;
                well(&report)?;
                is_busy |= report.end == RunEnd::Changed;
                is_busy |= !report.operations.is_empty() || !report.recovered.is_empty();
            }
            is_busy |= engine.deliver(tenant).await.map_err(told)? > 0;
            Ok(is_busy || self.has_undelivered())
        })
    }
}

impl<P> Host<P> {
    fn has_undelivered(&self) -> bool {
        use futures::StreamExt;
        let Some(store) = self.points.inner_store() else {
            return false;
        };
        let chunks: Vec<_> = wait(store.log(&self.tenant, Log::Outbox, 0).collect());
        chunks.iter().flatten().any(|chunk| !chunk.is_empty())
    }
}

impl<P: fmt::Debug> fmt::Debug for Host<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("tenant", &self.tenant)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
