//! One course through a scenario, disturbed at one point or at none.

use std::time::Duration;

use usersync_memory::Call;
use usersync_store::StoreError;

use super::Sweep;
use super::ending::{stored, undelivered};
use super::lines::Lines;
use super::point::{Mode, Point};
use super::points::{Dying, Points, live, wait};
use super::report::Failure;
use super::scenario::What;
use super::witness::Witness;
use super::world::World;

/// So often a process tries a step again by itself.
const TRIES: usize = 2;

/// More rounds than any world needs to come to rest.
const ROUNDS: usize = 24;

/// What a round without anything to do may write: that it took place.
const OF_IDLE_ROUNDS: [&str; 2] = ["run", "schedule"];

/// How long one waits from one round to the next, at first.
const PAUSE: Duration = Duration::from_secs(60);

/// What the undisturbed course was like.
#[derive(Debug)]
pub(super) struct Undisturbed {
    pub(super) calls: Vec<Call>,
    /// The step of each call.
    steps: Vec<usize>,
    /// What the systems had at first, after each step, and in the end.
    moments: Vec<Lines>,
    end: Lines,
}

/// A rule that was broken.
pub(super) struct Broken(pub(super) &'static str, pub(super) String);

type Checked<T = ()> = Result<T, Broken>;

/// A course.
pub(super) struct Course<'a, W> {
    sweep: &'a Sweep<W>,
    points: Points,
    pub(super) world: W,
    /// The step that comes next.
    at: usize,
}

impl<'a, W: World> Course<'a, W> {
    pub(super) fn new(sweep: &'a Sweep<W>) -> (Self, u64) {
        let points = Points::new();
        let world = (sweep.build)(&points);
        let base = points.begin();
        let course = Self {
            sweep,
            points,
            world,
            at: 0,
        };
        (course, base)
    }

    /// Nothing goes wrong.
    pub(super) fn undisturbed(mut self) -> Checked<Undisturbed> {
        let mut moments = vec![self.world.content()];
        let mut steps = Vec::new();
        while self.at < self.sweep.steps.len() {
            let name = &self.sweep.steps[self.at].name;
            let ended = self.step();
            self.look()?;
            match ended {
                Some(Ok(())) => {}
                Some(Err(why)) => return Err(Broken("step_failed", format!("step `{name}`: {why}"))),
                None => return Err(Broken("died", format!("step `{name}` never ends"))),
            }
            steps.resize(self.points.calls().len(), self.at - 1);
            moments.push(self.world.content());
        }
        let calls = self.points.calls();
        self.rest()?;
        moments.push(self.world.content());
        self.look()?;
        let (end, untold) = self.told_end()?;
        if let Some(untold) = untold {
            return Err(Broken("told_not_once", untold));
        }
        self.is_idle(&self.state()?)?;
        Ok(Undisturbed {
            calls,
            steps,
            moments,
            end,
        })
    }

    /// Something goes wrong at `point`, and after that nothing any more. Answers the step that it came to by then.
    pub(super) fn disturb(&mut self, point: Point, base: u64, like: &Undisturbed) -> Checked<usize> {
        self.inject(point, base);
        self.go(like)?;
        let is_same = |(this, that): (&Call, &Call)| {
            (this.to_string(), this.position) == (that.to_string(), that.position)
        };
        let calls = self.points.calls();
        let same = calls
            .iter()
            .zip(&like.calls)
            .take_while(|pair| is_same(*pair))
            .count() as u64;
        let is_due = point.mode != Mode::DieUncommitted;
        if same < point.call || (is_due && self.points.fired() == 0) {
            let message = format!(
                "the same world did another call than call {} was before",
                same + 1
            );
            return Err(Broken("not_deterministic", message));
        }
        self.look()?;
        Ok(self.at)
    }

    /// The steps that are left, as a process does them that tries again and then gives up, or dies.
    fn go(&mut self, like: &Undisturbed) -> Checked {
        let mut tries = 0;
        while self.at < self.sweep.steps.len() {
            let at = self.at;
            let ended = self.step();
            self.is_in_frame(at, like)?;
            tries += 1;
            match ended {
                Some(Ok(())) => tries = 0,
                Some(Err(_)) if tries < TRIES => {}
                Some(Err(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Leases are over, and another process goes on from `step` until nothing is left to do; that ends where nothing went wrong.
    pub(super) fn recover(&mut self, step: usize, like: &Undisturbed) -> Checked {
        self.succeed(step, |course, at| course.is_in_frame(at, like))?;
        self.look()?;
        let (end, untold) = self.told_end()?;
        let difference = end.difference(&like.end);
        if !difference.is_empty() {
            return Err(Broken("another_end", difference.join("\n")));
        }
        if let Some(untold) = untold {
            return Err(Broken("told_not_once", untold));
        }
        let state = self.state()?;
        self.is_idle(&state)
    }

    /// Another process goes on from `step`; after each step something is checked.
    fn succeed(&mut self, step: usize, check: impl Fn(&Self, usize) -> Checked) -> Checked {
        self.take_up(step);
        let mut pauses = 0;
        while self.at < self.sweep.steps.len() {
            let at = self.at;
            let ended = self.step();
            check(self, at)?;
            match ended {
                Some(Ok(())) => {}
                Some(Err(_)) if pauses < ROUNDS => {
                    self.pause(pauses);
                    pauses += 1;
                }
                Some(Err(why)) => {
                    let name = &self.sweep.steps[at].name;
                    return Err(Broken("stuck", format!("step `{name}`: {why}")));
                }
                None => return Err(Broken("stuck", "nobody kills the second process".to_owned())),
            }
        }
        self.rest()?;
        check(self, self.sweep.steps.len())
    }

    /// Leases are over, and another process begins where `step` is next.
    fn take_up(&mut self, step: usize) {
        self.at = step;
        self.points.heal();
        self.points.time().advance(self.sweep.lease * 2);
        self.world.restart();
    }

    /// The process that goes on from `step` dies, too, at the call of this number that it makes. Answers the step that it came to, or
    /// `None` if it makes no such call before there is nothing left to do.
    pub(super) fn die_again(
        &mut self,
        step: usize,
        again: Point,
        like: &Undisturbed,
    ) -> Checked<Option<usize>> {
        self.take_up(step);
        let base = self.points.count();
        self.inject(again, base);
        while self.at < self.sweep.steps.len() {
            let at = self.at;
            let ended = self.step();
            self.is_in_frame(at, like)?;
            match ended {
                Some(Ok(())) => {}
                Some(Err(why)) => return Err(Broken("stuck", why)),
                None => return Ok(Some(self.at)),
            }
        }
        for round in 0..ROUNDS {
            match live(&self.points, self.world.rest()) {
                None => return Ok(Some(self.at)),
                Some(Ok(false)) => return Ok(None),
                Some(_) => self.pause(round),
            }
        }
        Err(Broken("restless", "there is always something to do".to_owned()))
    }

    /// Does the next step, and is behind it if it ended well. `None`: the process died.
    fn step(&mut self) -> Option<Result<(), String>> {
        self.points.at_step(self.at);
        let ended = match &self.sweep.steps[self.at].what {
            What::Act(act) => live(&self.points, act(&self.world))?,
            What::People(edit) => {
                edit(&self.world);
                Ok(())
            }
        };
        self.at += usize::from(ended.is_ok());
        Some(ended)
    }

    /// Rounds until there is nothing to do.
    fn rest(&self) -> Checked {
        let mut last = "there is always something to do".to_owned();
        for round in 0..ROUNDS {
            match wait(self.world.rest()) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(why) => last = why,
            }
            self.pause(round);
        }
        Err(Broken("restless", last))
    }

    /// Longer each time, for whatever makes pauses that grow.
    fn pause(&self, round: usize) {
        let factor = u32::try_from(1 + round * round).unwrap_or(u32::MAX);
        self.points.time().advance(PAUSE * factor);
    }

    /// Whether a rule was broken at one of the points.
    fn look(&self) -> Checked {
        match self.points.witness(|witness| witness.problems.first().cloned()) {
            Some((rule, message)) => Err(Broken(rule, message)),
            None => Ok(()),
        }
    }

    /// Whatever the systems have at step `at`, they had it at some time up to then in the undisturbed course, too.
    fn is_in_frame(&self, at: usize, like: &Undisturbed) -> Checked {
        let moments = &like.moments[..like.moments.len().min(at + 2)];
        match self.world.content().never_so(moments.iter()) {
            Some(line) => Err(Broken("out_of_frame", line)),
            None => Ok(()),
        }
    }

    /// What the systems have, and what is stored.
    fn state(&self) -> Checked<Lines> {
        let mut state = self.world.content();
        let Some(store) = self.points.inner_store() else {
            return Err(Broken(
                "no_store",
                "a world gives its store to `Points::store`".to_owned(),
            ));
        };
        let stored = stored(&*store, self.world.tenant());
        state.extend(stored.map_err(unreadable)?);
        Ok(state)
    }

    /// All that has to be equal, and why not each effect was told of once, if so.
    fn told_end(&self) -> Checked<(Lines, Option<String>)> {
        let mut end = self.state()?;
        let store = self.points.inner_store();
        let left = store.map(|store| undelivered(&*store, self.world.tenant()));
        let left = left.transpose().map_err(unreadable)?.unwrap_or_default();
        let (told, untold) = self
            .points
            .witness(|witness| (witness.told(), witness.untold(&left)));
        end.extend(told);
        Ok((end, untold))
    }

    /// One more round finds nothing to do and changes nothing.
    fn is_idle(&self, state: &Lines) -> Checked {
        self.points.witness(Witness::activity);
        let round = wait(self.world.rest());
        if round != Ok(false) {
            return Err(Broken("restless", format!("one more round: {round:?}")));
        }
        let (effects, mut written) = self.points.witness(Witness::activity);
        written.retain(|table, _| !OF_IDLE_ROUNDS.contains(table));
        if effects > 0 || !written.is_empty() {
            let message = format!("one more round has {effects} effects and writes {written:?}");
            return Err(Broken("not_idle", message));
        }
        let difference = self.state()?.difference(state);
        match difference.is_empty() {
            true => Ok(()),
            false => Err(Broken("not_idle", difference.join("\n"))),
        }
    }

    pub(super) fn when_dying(&self, dying: Dying) {
        self.points.when_dying(dying);
    }

    /// As [`disturb`](Self::disturb), without anything to compare with. `None`: the process died.
    pub(super) fn play(&mut self, point: Point, base: u64) -> Option<usize> {
        self.inject(point, base);
        let mut tries = 0;
        while self.at < self.sweep.steps.len() && tries < TRIES {
            tries = match self.step()? {
                Ok(()) => 0,
                Err(_) => tries + 1,
            };
        }
        Some(self.at)
    }

    /// As [`recover`](Self::recover), without anything to compare with.
    pub(super) fn take_over(&mut self, step: usize) -> Checked<Lines> {
        self.succeed(step, |_, _| Ok(()))?;
        let end = self.state()?;
        self.is_idle(&end)?;
        Ok(end)
    }

    fn inject(&self, point: Point, base: u64) {
        for rule in point.mode.rules(base + point.call) {
            self.points.inject(rule);
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is given errors")]
fn unreadable(error: StoreError) -> Broken {
    Broken("store_unreadable", error.to_string())
}

impl Undisturbed {
    /// What broke, at one of its calls.
    pub(super) fn failure<W>(&self, sweep: &Sweep<W>, point: Point, broken: Broken) -> Failure {
        let index = usize::try_from(point.call - 1).unwrap_or(usize::MAX);
        let call = self.calls.get(index).map(ToString::to_string);
        let step = self.steps.get(index).map(|step| sweep.steps[*step].name.clone());
        Failure {
            point: Some(point),
            call: call.unwrap_or_default(),
            step: step.unwrap_or_default(),
            rule: broken.0,
            message: broken.1,
        }
    }
}
