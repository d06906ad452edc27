//! How a sweep went.

use std::fmt;

use super::point::Point;

/// So many failures are told; more of them say no more.
const TOLD: usize = 5;

/// How a sweep went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// How many calls its undisturbed course has.
    pub calls: u64,
    /// How many points were tried.
    pub tried: u64,
    /// What broke a rule, in the order of the points.
    pub failures: Vec<Failure>,
}

impl Report {
    pub(super) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            calls: 0,
            tried: 0,
            failures: Vec::new(),
        }
    }

    /// Whether nothing broke a rule.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            calls,
            tried,
            failures,
        } = self;
        let failed = failures.len();
        write!(
            f,
            "{scenario}: {calls} calls, {tried} points tried, {failed} failed"
        )?;
        for failure in failures.iter().take(TOLD) {
            write!(f, "\n{scenario}, {failure}")?;
        }
        if failed > TOLD {
            write!(f, "\nand {} more", failed - TOLD)?;
        }
        Ok(())
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Where something went wrong; `None`: it is the undisturbed course.
    pub point: Option<Point>,
    /// The call there, in words.
    pub call: String,
    /// The step that it belongs to.
    pub step: String,
    /// The stable code of the rule.
    pub rule: &'static str,
    /// What was seen.
    pub message: String,
}

impl Failure {
    pub(super) fn undisturbed(rule: &'static str, message: String) -> Self {
        Self {
            point: None,
            call: String::new(),
            step: String::new(),
            rule,
            message,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.point {
            None => write!(f, "undisturbed")?,
            Some(point) => {
                write!(f, "{} call {} (`{}`)", point.mode, point.call, self.call)?;
                write!(f, " of step `{}`", self.step)?;
            }
        }
        write!(f, ": {}", self.rule)?;
        for line in self.message.lines() {
            write!(f, "\n    {line}")?;
        }
        match &self.point {
            None => Ok(()),
            Some(point) => write!(f, "\n    again: USERSYNC_SWEEP_POINT={point}"),
        }
    }
}
