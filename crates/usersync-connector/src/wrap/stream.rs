//! The one path of every streamed read.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use tracing::Instrument;
use usersync_model::{Completeness, PartialKind, PartialReason, SystemId};

use super::call::{Layers, Place, TARGET, timed_out};
use super::limits::{Measure, Meter, out_of_time};
use super::retry::Effect;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::read::{ReadEnd, ReadEvent, ReadStream};
use crate::reader::Reader;

/// The read that `open` gives, with everything in `layers` around it. Nothing happens before the first poll.
pub(super) fn read<T, F>(
    layers: Arc<Layers>,
    system: Option<SystemId>,
    operation: &'static str,
    open: F,
) -> ReadStream<T>
where
    T: Measure + Send + 'static,
    F: Fn() -> ReadStream<T> + Send + 'static,
{
    let reading = Reading {
        trace: layers.trace.then(|| Trace {
            span: Place::new(system.as_ref(), operation).span(),
            began: None,
            entries: 0,
        }),
        meter: layers.limits.map(Meter::new),
        layers,
        system,
        operation,
        open,
        deadline: None,
        phase: Phase::Fresh,
        reader: None,
        ready: VecDeque::with_capacity(2),
    };
    stream::unfold(reading, |mut reading| async move {
        let event = match &reading.trace {
            None => reading.next().await,
            Some(trace) => {
                let span = trace.span.clone();
                reading.next().instrument(span).await
            }
        };
        event.map(|event| (event, reading))
    })
    .boxed()
}

struct Reading<T, F> {
    layers: Arc<Layers>,
    system: Option<SystemId>,
    operation: &'static str,
    open: F,
    meter: Option<Meter>,
    trace: Option<Trace>,
    /// When the wall time is over; set at the first poll.
    deadline: Option<DateTime<Utc>>,
    phase: Phase,
    reader: Option<Reader<T>>,
    /// Events to hand out before anything else happens.
    ready: VecDeque<Result<ReadEvent<T>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Reading,
    Over,
}

/// What the inner read comes to next.
enum Step<T> {
    Chunk(Vec<T>),
    End(ReadEnd),
    Failed(Error),
}

struct Trace {
    span: tracing::Span,
    /// When the read was first polled.
    began: Option<DateTime<Utc>>,
    entries: u64,
}

impl<T, F> Reading<T, F>
where
    T: Measure + Send + 'static,
    F: Fn() -> ReadStream<T> + Send + 'static,
{
    async fn next(&mut self) -> Option<Result<ReadEvent<T>>> {
        if self.ready.is_empty() {
            self.advance().await;
        }
        let event = self.ready.pop_front();
        self.observe(event.as_ref());
        event
    }

    /// Makes the next events ready; none once the read is over.
    async fn advance(&mut self) {
        let step = match self.phase {
            Phase::Over => return,
            Phase::Reading => self.step().await,
            Phase::Fresh => {
                let step = self.first().await;
                match (self.reader.as_ref().and_then(Reader::extent), step) {
                    (Some(extent), step) => {
                        self.ready.push_back(Ok(ReadEvent::Begin(extent)));
                        step
                    }
                    (None, Step::End(end)) => Step::Failed(ended_before_begin(end)),
                    (None, step) => step,
                }
            }
        };
        self.phase = Phase::Over;
        match step {
            Step::Chunk(chunk) => {
                let (chunk, stop) = match &mut self.meter {
                    Some(meter) => meter.admit(chunk),
                    None => (chunk, None),
                };
                self.ready.push_back(Ok(ReadEvent::Chunk(chunk)));
                match stop {
                    Some(reason) => self.end(ReadEnd::partial(reason)),
                    None => self.phase = Phase::Reading,
                }
            }
            Step::End(end) => self.end(end),
            Step::Failed(error) => {
                let place = Place::new(self.system.as_ref(), self.operation);
                self.ready.push_back(Err(place.name(error)));
            }
        }
        if self.phase == Phase::Over {
            self.reader = None;
        }
    }

    /// The first chunk or the end, begun anew after failures as far as the policy allows: nothing was handed
    /// out yet.
    async fn first(&mut self) -> Step<T> {
        let clock = Arc::clone(&self.layers.clock);
        let now = clock.now();
        if let Some(trace) = &mut self.trace {
            trace.began = Some(now);
        }
        self.deadline = self.layers.limits.and_then(|limits| {
            let wall_time = TimeDelta::from_std(limits.wall_time).ok()?;
            now.checked_add_signed(wall_time)
        });
        let first = by_deadline(&*clock, self.deadline, self.begin()).await;
        first.unwrap_or_else(|| self.out_of_time())
    }

    async fn begin(&mut self) -> Step<T> {
        let layers = Arc::clone(&self.layers);
        if let Some(retry) = &layers.retry {
            retry.deposit();
        }
        let mut attempts = 0;
        loop {
            layers.admission().await;
            self.reader = Some(Reader::new((self.open)()));
            attempts += 1;
            let step = self.event().await;
            let (Step::Failed(error), Some(retry)) = (&step, &layers.retry) else {
                return step;
            };
            let Some(pause) = retry.pause(error, Effect::Read, attempts) else {
                return step;
            };
            if !retry.withdraw() {
                return step;
            }
            self.reader = None;
            let place = Place::new(self.system.as_ref(), self.operation);
            layers.pause(place, attempts, pause).await;
        }
    }

    async fn step(&mut self) -> Step<T> {
        let clock = Arc::clone(&self.layers.clock);
        let step = by_deadline(&*clock, self.deadline, self.event()).await;
        step.unwrap_or_else(|| self.out_of_time())
    }

    /// The next chunk or the end, each event of the inner read within the timeout.
    async fn event(&mut self) -> Step<T> {
        let Some(reader) = &mut self.reader else {
            return Step::End(ReadEnd::partial(PartialReason::new(PartialKind::NoVerdict, "")));
        };
        let layers = &self.layers;
        if reader.extent().is_none()
            && let Err(limit) = layers.in_time(reader.begin()).await
        {
            return Step::Failed(timed_out(limit, Effect::Read));
        }
        match layers.in_time(reader.next_chunk()).await {
            Ok(Some(chunk)) => return Step::Chunk(chunk),
            Ok(None) => {}
            Err(limit) => return Step::Failed(timed_out(limit, Effect::Read)),
        }
        match reader.outcome() {
            Ok(end) => Step::End(end),
            Err(error) => Step::Failed(error),
        }
    }

    fn end(&mut self, end: ReadEnd) {
        let end = match self.meter.take() {
            Some(meter) => meter.finish(end),
            None => end,
        };
        self.ready.push_back(Ok(ReadEvent::End(end)));
    }

    fn out_of_time(&self) -> Step<T> {
        let limit = self
            .layers
            .limits
            .map_or(Duration::MAX, |limits| limits.wall_time);
        Step::End(ReadEnd::partial(out_of_time(limit)))
    }

    fn observe(&mut self, event: Option<&Result<ReadEvent<T>>>) {
        let (Some(trace), Some(event)) = (&mut self.trace, event) else {
            return;
        };
        let (outcome, detail) = match event {
            Ok(ReadEvent::Begin(_)) => return,
            Ok(ReadEvent::Chunk(chunk)) => {
                trace.entries += chunk.iter().map(Measure::entries).sum::<u64>();
                return;
            }
            Ok(ReadEvent::End(end)) => match &end.verdict {
                Completeness::Complete => ("complete", None),
                Completeness::Partial(reason) => (reason.kind.code(), Some(reason.detail.as_str())),
            },
            Err(error) => (error.kind().code(), Some(error.message())),
        };
        tracing::debug!(
            target: TARGET,
            system = Place::new(self.system.as_ref(), self.operation).system_value(),
            operation = self.operation,
            outcome,
            error = detail.map(tracing::field::debug),
            entries = trace.entries,
            elapsed_ms = trace
                .began
                .map(|began| (self.layers.clock.now() - began).num_milliseconds()),
            "read"
        );
    }
}

/// An end cannot be shown before the begin, so it becomes the error that it amounts to.
fn ended_before_begin(end: ReadEnd) -> Error {
    match end.verdict {
        Completeness::Partial(reason) if reason.kind == PartialKind::Limit => {
            Error::new(ErrorKind::LimitExceeded, reason.to_string())
        }
        Completeness::Partial(reason) => Error::new(ErrorKind::InvalidData, reason.to_string()),
        Completeness::Complete => Error::new(ErrorKind::InvalidData, "the read never began"),
    }
}

/// What `future` answers, unless the deadline passes first.
async fn by_deadline<V>(
    clock: &dyn Clock,
    deadline: Option<DateTime<Utc>>,
    future: impl Future<Output = V> + Send,
) -> Option<V> {
    let Some(deadline) = deadline else {
        return Some(future.await);
    };
    let left = (deadline - clock.now()).to_std().unwrap_or_default();
    if left.is_zero() {
        return None;
    }
    match select(pin!(future), clock.sleep(left)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(((), _)) => None,
    }
}
