//! Finding less that goes wrong the same way.

use crate::choice::Tape;
use crate::report::Report;
use crate::simulation::Simulation;

impl Simulation {
    /// Runs the simulation again and again with some of its choices replaced by the plainest ones, at most `runs` times, and answers
    /// the least that still breaks the same rule; its [`tape`](Report::tape) replays it. `report` has to be one of this
    /// simulation; one without a violation is answered as it is.
    #[must_use]
    pub fn shrink(&self, report: Report, runs: usize) -> Report {
        let Some(violation) = &report.violation else {
            return report;
        };
        let rule = violation.rule;
        let mut left = runs;
        let mut best = report;
        best.tape = best.tape.trimmed();
        let mut attempt = |tape: Tape, best: &mut Report| -> bool {
            if left == 0 || tape == best.tape {
                return false;
            }
            left -= 1;
            let mut report = self.replayed(&tape).run();
            let is_same = report.violation.as_ref().is_some_and(|found| found.rule == rule);
            if is_same {
                // What is behind the last choice that was made says nothing.
                report.tape = report.tape.trimmed();
                let is_less = size(&report.tape) < size(&best.tape);
                if is_less {
                    *best = report;
                }
                return is_less;
            }
            false
        };
        loop {
            let before = size(&best.tape);
            for stream in 0..best.tape.0.len() {
                let mut chunk = best.tape.0[stream].len();
                while chunk > 0 {
                    let mut from = 0;
                    while from < best.tape.0[stream].len() {
                        let end = (from + chunk).min(best.tape.0[stream].len());
                        if best.tape.0[stream][from..end].iter().any(|choice| *choice != 0) {
                            let mut tape = best.tape.clone();
                            tape.0[stream][from..end].fill(0);
                            if !attempt(tape.trimmed(), &mut best) && chunk > 1 {
                                // Left out altogether, so that what comes behind comes earlier.
                                let mut tape = best.tape.clone();
                                let end = end.min(tape.0[stream].len());
                                if from < end {
                                    tape.0[stream].drain(from..end);
                                    attempt(tape.trimmed(), &mut best);
                                }
                            }
                        }
                        from += chunk;
                    }
                    chunk /= 2;
                }
            }
            if size(&best.tape) >= before {
                break;
            }
        }
        // Once more, for the trace.
        let mut shrunk = self.replayed(&best.tape).run();
        shrunk.tape = shrunk.tape.trimmed();
        shrunk
    }
}

/// First how many choices are made at all, then how large they are.
fn size(tape: &Tape) -> (usize, u64) {
    (
        tape.weight(),
        tape.0.iter().flatten().copied().map(u64::from).sum(),
    )
}
