//! The fault sweep: a scenario, and every one of its calls broken in every way.
//!
//! A [simulation](crate::Simulation) picks what goes wrong; a sweep leaves nothing out. For whoever wrote a connector or a store, it is
//! the test that a host which is killed, or loses answers, at whatever moment, ends where it would have ended.
//!
//! A scenario is a function that builds a world, always the same one, and the steps that it goes through: [runs](Host::run) or whatever
//! else a process does ([`Sweep::step`]), and what people do around it ([`Sweep::people`]). Whatever the process calls it calls through
//! [`Points`]. The sweep plays it undisturbed and counts the calls: every page of a read, every operation of a batch, every call of
//! the store and of the host's services, every wait. Then, for each call and each [`Mode`], it builds the world anew, lets that
//! call fail once, or from there on, or lets the process die; lets another process take over once leases are over; and
//! compares.
//!
//! ```
//! use std::sync::Arc;
//!
//! use usersync_connector::{ActorState, TargetCapabilities};
//! use usersync_engine::{Engine, Job};
//! use usersync_memory::{
//!     MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryStore, MemoryTarget,
//! };
//! use usersync_model::{
//!     Container, ContainerKind, ContainerRef, JobId, Principal, PrincipalKind, PrincipalRef, Selection, SystemId,
//!     TenantId,
//! };
//! use usersync_sim::sweep::{Host, Lines, Points, Sweep};
//!
//! /// What lasts: here everything is in memory, and yours takes its place.
//! struct Parts {
//!     directory: MemoryDirectory,
//!     target: MemoryTarget,
//!     store: MemoryStore,
//!     catalog: MemoryCatalog,
//!     actors: MemoryActors,
//! }
//!
//! fn ada() -> PrincipalRef {
//!     PrincipalRef::parse("hr", "ada").unwrap()
//! }
//!
//! fn tenant() -> TenantId {
//!     TenantId::new("acme").unwrap()
//! }
//!
//! fn build(points: &Points) -> Host<Parts> {
//!     let directory = MemoryDirectory::new(SystemId::new("hr").unwrap());
//!     directory.put(Principal::new(ada().object, PrincipalKind::User, "Ada"));
//!     let team = ContainerRef::parse("share", "team").unwrap();
//!     let target = MemoryTarget::new(team.system.clone(), TargetCapabilities::default());
//!     target.create_container(team.object.clone());
//!     let actors = MemoryActors::new();
//!     actors.set(&tenant(), ada(), ActorState::Active);
//!     let parts = Parts {
//!         directory,
//!         target,
//!         store: MemoryStore::new(Arc::new(points.time())),
//!         catalog: MemoryCatalog::new([Container::new(team, ContainerKind::Team, "Team", Selection::of([ada()]))]),
//!         actors,
//!     };
//!     Host::new(points, tenant(), parts, start, content)
//! }
//!
//! /// A process: whatever it has is made here, with points around it, and is gone when it dies.
//! fn start(points: &Points, parts: &Parts) -> Engine {
//!     Engine::builder(
//!         points.store(Arc::new(parts.store.clone())),
//!         points.clock(),
//!         points.catalog(Arc::new(parts.catalog.clone())),
//!         points.actors(Arc::new(parts.actors.clone())),
//!         points.notifier(Arc::new(MemoryNotifier::new())),
//!     )
//!     .directory(points.directory(Arc::new(parts.directory.clone())))
//!     .target(points.target(Arc::new(parts.target.clone())))
//!     .build()
//! }
//!
//! /// What the target has, asked around the points.
//! fn content(parts: &Parts) -> Lines {
//!     let mut lines = Lines::default();
//!     for (container, members) in parts.target.snapshot() {
//!         for (principal, facets) in members {
//!             lines.put(format!("{container} {principal}"), facets.role);
//!         }
//!     }
//!     lines
//! }
//!
//! let report = Sweep::new("one member", build)
//!     .step("save", |host| {
//!         Box::pin(async {
//!             let systems = (SystemId::new("hr").unwrap(), SystemId::new("share").unwrap());
//!             let id = JobId::new("members").unwrap();
//!             let job = Job::new(tenant(), id, "Members", [systems.0], systems.1, ada());
//!             host.engine().save_job(&job).await.map_err(|error| error.to_string())
//!         })
//!     })
//!     .step("run", |host| {
//!         Box::pin(async {
//!             let job = JobId::new("members").unwrap();
//!             host.run(&job).await
//!         })
//!     })
//!     .check();
//! assert!(report.calls > 30 && report.tried > 8 * report.calls);
//! ```
//!
//! # What is checked
//!
//! At every operation, by what is in the store at that moment: that there is a durable intent for it (`effect_without_intent`); that what
//! is removed is the job's by the ledger, that no other job claims it (`removal_without_claim`, `removal_of_claimed`), and that the
//! job does not only add (`removal_of_add_only`).
//!
//! After every step, whether it went well or not: that the systems have nothing that they do not have at some time up to the end of that
//! step of the undisturbed course, and miss nothing that they have all the time there (`out_of_frame`). So nothing outside of what the job
//! manages changes, nothing is left half done, and no removal comes before its approval.
//!
//! When another process has gone on until there is nothing left to do: that the systems, the ledger, bases, links, seats, approvals,
//! departures and the journal are as they would have been, that each effect was told and put on record as often as it would
//! have been (`another_end`), and that each has exactly one entry of the outbox (`told_not_once`), or, of items, one of the audit. Moments are left out of that, as are
//! serials, cursors, and the history of runs, which tell of the way; so are the news that a job paused or that something
//! is held, which a run that went wrong may have had reason to tell.
//!
//! After that, one more round: it finds nothing to do (`restless`), has no effect, and writes nothing but that it took place
//! (`not_idle`).
//!
//! [`Sweep::run_twice`] lets the process that takes over die, too, wherever it has come to.
//!
//! # When it fails
//!
//! A [`Failure`] names the call, the mode, the step, the rule, and what differs. [`Sweep::check`] plays that point alone when the
//! environment names it in `USERSYNC_SWEEP_POINT`, as in `31:die_after`. [`Sweep::play`] and [`Sweep::take_over`] are for worlds
//! that outlive a real process, which is killed at a point.

mod course;
mod ending;
mod lines;
mod point;
mod points;
mod report;
mod scenario;
mod witness;
mod world;

pub use lines::Lines;
pub use point::{InvalidPoint, Mode, Point};
pub use points::Points;
pub use report::{Failure, Report};
pub use scenario::Sweep;
pub use world::{Host, Outcome, World, well};
