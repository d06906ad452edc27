//! Where something goes wrong, and what.

use std::fmt;
use std::str::FromStr;

use usersync_connector::{ErrorKind, Retry};
use usersync_memory::{CallKind, Fault, FaultRule, Moment};
use usersync_store::StoreErrorKind;

/// What goes wrong from a call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The process dies after the call had its effect and before the answer came.
    DieAfter,
    /// The process dies before the call has an effect.
    DieBefore,
    /// The call is answered, and so is all that follows up to the next commit; the process dies before that.
    DieUncommitted,
    /// This call and all after it are made, and no answer comes in time.
    FailFromAnswers,
    /// This call and all after it are refused, without an effect.
    FailFromRefusals,
    /// This call and all after it get lost on their way, and no answer comes in time.
    FailFromRequests,
    /// The call is made, and no answer comes in time.
    FailOnceAnswer,
    /// The call is refused, without an effect.
    FailOnceRefusal,
    /// The call gets lost on its way, and no answer comes in time.
    FailOnceRequest,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 9] = [
        Self::DieAfter,
        Self::DieBefore,
        Self::DieUncommitted,
        Self::FailFromAnswers,
        Self::FailFromRefusals,
        Self::FailFromRequests,
        Self::FailOnceAnswer,
        Self::FailOnceRefusal,
        Self::FailOnceRequest,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::DieAfter => "die_after",
            Self::DieBefore => "die_before",
            Self::DieUncommitted => "die_uncommitted",
            Self::FailFromAnswers => "fail_from_answers",
            Self::FailFromRefusals => "fail_from_refusals",
            Self::FailFromRequests => "fail_from_requests",
            Self::FailOnceAnswer => "fail_once_answer",
            Self::FailOnceRefusal => "fail_once_refusal",
            Self::FailOnceRequest => "fail_once_request",
        }
    }

    /// Whether the process does not survive it.
    #[must_use]
    pub fn is_death(self) -> bool {
        matches!(self, Self::DieAfter | Self::DieBefore | Self::DieUncommitted)
    }

    /// Whether it can happen to a call of this kind. A wait does not fail; and what dies before the commit that follows a call of
    /// the store dies the same death at that commit.
    #[must_use]
    pub fn fits(self, call: CallKind) -> bool {
        match self {
            Self::DieUncommitted => !call.is_store() && call != CallKind::Sleep,
            mode => mode.is_death() || call != CallKind::Sleep,
        }
    }

    pub(super) fn rules(self, number: u64) -> Vec<FaultRule> {
        let refusals = || {
            [
                Fault::Failed {
                    kind: ErrorKind::Unavailable,
                    retry: Retry::Later,
                },
                Fault::StoreFailed(StoreErrorKind::Unavailable),
            ]
        };
        let once = |fault| FaultRule::new(fault).at_call(number);
        let from = |fault| FaultRule::new(fault).from_call(number);
        match self {
            Self::DieAfter => vec![once(Fault::Hang(Moment::After))],
            Self::DieBefore => vec![once(Fault::Hang(Moment::Before))],
            Self::DieUncommitted => vec![from(Fault::Hang(Moment::Before)).on(CallKind::Commit)],
            Self::FailFromAnswers => vec![from(Fault::Timeout(Moment::After))],
            Self::FailFromRefusals => refusals().map(from).into(),
            Self::FailFromRequests => vec![from(Fault::Timeout(Moment::Before))],
            Self::FailOnceAnswer => vec![once(Fault::Timeout(Moment::After))],
            Self::FailOnceRefusal => refusals().map(once).into(),
            Self::FailOnceRequest => vec![once(Fault::Timeout(Moment::Before))],
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DieAfter => "died after the effect of",
            Self::DieBefore => "died before",
            Self::DieUncommitted => "died before the commit that follows",
            Self::FailFromAnswers => "lost every answer from",
            Self::FailFromRefusals => "refused everything from",
            Self::FailFromRequests => "lost every request from",
            Self::FailOnceAnswer => "lost the answer to",
            Self::FailOnceRefusal => "refused",
            Self::FailOnceRequest => "lost the request of",
        })
    }
}

/// One call of a course, counted from 1, and what goes wrong there. Written as `31:die_after`.
///
/// ```
/// use usersync_sim::sweep::{Mode, Point};
///
/// let point: Point = "31:die_after".parse().unwrap();
/// assert_eq!(point, Point { call: 31, mode: Mode::DieAfter });
/// assert_eq!(point.to_string(), "31:die_after");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Which call.
    pub call: u64,
    /// What goes wrong.
    pub mode: Mode,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.call, self.mode.code())
    }
}

/// A text that names no point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no point; one is written as `31:die_after`, a call and the code of a mode")]
pub struct InvalidPoint(String);

impl FromStr for Point {
    type Err = InvalidPoint;

    fn from_str(text: &str) -> Result<Self, InvalidPoint> {
        let parse = || {
            let (call, code) = text.split_once(':')?;
            Some(Self {
                call: call.parse().ok().filter(|call| *call > 0)?,
                mode: Mode::ALL.into_iter().find(|mode| mode.code() == code)?,
            })
        };
        parse().ok_or_else(|| InvalidPoint(text.to_owned()))
    }
}
