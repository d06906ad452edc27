//! What a world goes through.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::course::{Broken, Course, Undisturbed};
use super::lines::Lines;
use super::point::{Mode, Point};
use super::points::Points;
use super::report::{Failure, Report};
use super::world::{Outcome, World};

/// Plays only this point.
const POINT: &str = "USERSYNC_SWEEP_POINT";

/// A scenario, and the sweep over all of its calls.
pub struct Sweep<W> {
    pub(super) name: String,
    pub(super) build: Box<dyn Fn(&Points) -> W + Send + Sync>,
    pub(super) steps: Vec<Step<W>>,
    pub(super) lease: Duration,
}

/// One after the other.
pub(super) struct Step<W> {
    pub(super) name: String,
    pub(super) what: What<W>,
}

type Act<W> = dyn for<'a> Fn(&'a W) -> BoxFuture<'a, Outcome> + Send + Sync;

/// What a step is.
pub(super) enum What<W> {
    Act(Box<Act<W>>),
    People(Box<dyn Fn(&W) + Send + Sync>),
}

impl<W: World> Sweep<W> {
    /// A scenario without steps, on worlds that `build` makes anew each time, always the same.
    #[must_use]
    pub fn new(name: impl Into<String>, build: impl Fn(&Points) -> W + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            build: Box::new(build),
            steps: Vec::new(),
            lease: Duration::from_secs(120),
        }
    }

    /// Adds what the process does next. A step that does not end well is done again, as a host does what failed, until it ends
    /// well: it has to stand that.
    #[must_use]
    pub fn step(
        self,
        name: impl Into<String>,
        act: impl for<'a> Fn(&'a W) -> BoxFuture<'a, Outcome> + Send + Sync + 'static,
    ) -> Self {
        self.and(name.into(), What::Act(Box::new(act)))
    }

    /// Adds what people do next, or time, around the process. It is done once, and nothing goes wrong with it.
    #[must_use]
    pub fn people(self, name: impl Into<String>, edit: impl Fn(&W) + Send + Sync + 'static) -> Self {
        self.and(name.into(), What::People(Box::new(edit)))
    }

    fn and(mut self, name: String, what: What<W>) -> Self {
        self.steps.push(Step { name, what });
        self
    }

    /// How long the leases of its processes last; by default two minutes, as the engine's.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Tries every mode at every call of the steps.
    #[must_use]
    pub fn run(&self) -> Report {
        self.run_points(|_| true)
    }

    /// Tries the points of the steps that are asked for, in their order.
    #[must_use]
    pub fn run_points(&self, mut is_asked: impl FnMut(Point) -> bool) -> Report {
        let mut report = Report::new(&self.name);
        let Some(like) = self.undisturbed(&mut report) else {
            return report;
        };
        for (call, number) in like.calls.iter().zip(1..) {
            for mode in Mode::ALL.into_iter().filter(|mode| mode.fits(call.kind)) {
                let point = Point { call: number, mode };
                if is_asked(point) {
                    report.tried += 1;
                    let broken = self.try_point(point, &like).err();
                    let failures = broken.map(|broken| like.failure(self, point, broken));
                    report.failures.extend(failures);
                }
            }
        }
        report
    }

    /// Fails unless every point is well, or the one that the environment names in `USERSYNC_SWEEP_POINT`.
    ///
    /// # Panics
    /// With the report, if a rule was broken, and if what the environment names is no point.
    pub fn check(&self) -> Report {
        let asked = std::env::var(POINT).ok();
        let asked: Option<Point> =
            asked.map(|text| text.parse().expect("a point is written as `31:die_after`"));
        let report = self.run_points(|point| asked.is_none_or(|asked| asked == point));
        assert!(report.is_ok(), "{report}");
        report
    }

    /// Lets the process die at every call, before it or after it, and the one that takes over at every `stride`th call that it makes
    /// until nothing is left to do; then nothing goes wrong any more. Which calls these are changes from one death to the next, so
    /// that none is left out over all. A stride of 1 is complete, and takes the square of the time that [`run`](Self::run) does.
    #[must_use]
    pub fn run_twice(&self, stride: NonZeroU64) -> Report {
        const DEATHS: [Mode; 2] = [Mode::DieAfter, Mode::DieBefore];
        let mut report = Report::new(&self.name);
        let Some(like) = self.undisturbed(&mut report) else {
            return report;
        };
        let firsts = (1..=like.calls.len() as u64).flat_map(|call| DEATHS.map(|mode| Point { call, mode }));
        for (nth, point) in (0..).zip(firsts) {
            for mode in DEATHS {
                let mut call = 1 + nth % stride;
                loop {
                    match self.try_points(point, Point { call, mode }, &like) {
                        Ok(false) => break,
                        Ok(true) => report.tried += 1,
                        Err(Broken(rule, message)) => {
                            report.tried += 1;
                            let again = format!("then {mode} call {call} of the process that took over:");
                            let broken = Broken(rule, format!("{again}\n{message}"));
                            report.failures.push(like.failure(self, point, broken));
                        }
                    }
                    call += stride.get();
                }
            }
        }
        report
    }

    /// Plays `point` in this process, for whoever is to be killed there by others: `dying` is called with the number of the step
    /// that was reached, where the process dies, or gave up, or came to the end. It need not come back.
    pub fn play(&self, point: Point, dying: impl Fn(usize) + Send + Sync + 'static) {
        let (mut course, base) = Course::new(self);
        let dying = Arc::new(dying);
        let at_death = Arc::clone(&dying);
        course.when_dying(Arc::new(move |step| at_death(step)));
        if let Some(step) = course.play(point, base) {
            dying(step);
        }
    }

    /// Goes on from a step as another process does, once leases are over, until nothing is left to do. Answers what the systems have
    /// and what is stored by then. The world that it builds is the one that is taken over.
    ///
    /// # Errors
    /// When it does not come to rest, or has something to do again after that.
    pub fn take_over(&self, step: usize) -> Result<Lines, Failure> {
        let (mut course, _) = Course::new(self);
        let ended = course.take_over(step);
        ended.map_err(|Broken(rule, message)| Failure::undisturbed(rule, message))
    }

    fn undisturbed(&self, report: &mut Report) -> Option<Undisturbed> {
        let (course, _) = Course::new(self);
        match course.undisturbed() {
            Ok(like) => {
                report.calls = like.calls.len() as u64;
                Some(like)
            }
            Err(Broken(rule, message)) => {
                report.failures.push(Failure::undisturbed(rule, message));
                None
            }
        }
    }

    fn try_point(&self, point: Point, like: &Undisturbed) -> Result<(), Broken> {
        let (mut course, base) = Course::new(self);
        let step = course.disturb(point, base, like)?;
        course.recover(step, like)
    }

    /// Whether the process that takes over after `point` came to die at `again`.
    fn try_points(&self, point: Point, again: Point, like: &Undisturbed) -> Result<bool, Broken> {
        let (mut course, base) = Course::new(self);
        let step = course.disturb(point, base, like)?;
        match course.die_again(step, again, like)? {
            None => Ok(false),
            Some(step) => course.recover(step, like).map(|()| true),
        }
    }
}

impl<W> fmt::Debug for Sweep<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        f.debug_struct("Sweep")
            .field("name", &self.name)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}
