//! Ways to do one thing, each timed without what it needs beforehand and what it leaves behind.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a way is measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The least that must be done by anything that does the same.
    Limit,
    /// How it is usually written, or what others offer.
    Usual,
    /// What this workspace does.
    Usersync,
}

/// A way to do what a scenario is about.
pub struct Way {
    /// Its name, unique in its scenario.
    pub name: &'static str,
    /// What it is measured for.
    pub part: Part,
    once: Box<dyn FnMut() -> Duration>,
}

impl fmt::Debug for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Way").field("name", &self.name).finish()
    }
}

impl Way {
    /// A way that takes as long as `work`. What it answers with is dropped after that.
    pub fn new<T>(part: Part, name: &'static str, mut work: impl FnMut() -> T + 'static) -> Self {
        Self::timed(part, name, move || measured(&mut work).1)
    }

    /// A way that needs something new each time.
    pub fn each<S, T>(
        part: Part,
        name: &'static str,
        mut prepare: impl FnMut() -> S + 'static,
        mut work: impl FnMut(S) -> T + 'static,
    ) -> Self {
        Self::timed(part, name, move || {
            let prepared = prepare();
            measured(|| work(prepared)).1
        })
    }

    /// A way that calls [`measured`] itself.
    pub fn timed(part: Part, name: &'static str, once: impl FnMut() -> Duration + 'static) -> Self {
        Self {
            name,
            part,
            once: Box::new(once),
        }
    }

    /// Goes that way once, and answers with how long it took.
    pub fn once(&mut self) -> Duration {
        (self.once)()
    }
}

/// What `work` makes, and how long it takes. A function of its own, so that whoever counts instructions finds it.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let made = black_box(work());
    (made, begun.elapsed())
}
