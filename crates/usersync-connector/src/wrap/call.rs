//! The one path of every call that is not a streamed read.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use tracing::Instrument;
use tracing::field::DebugValue;
use usersync_model::SystemId;

use super::limits::ReadLimits;
use super::rate::RateBucket;
use super::retry::{Effect, Retries};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// Where trace output goes.
pub(super) const TARGET: &str = "usersync::connector";

/// What is laid around a connector.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Option<ReadLimits>,
    pub(super) rate: Option<Arc<RateBucket>>,
    pub(super) retry: Option<Arc<Retries>>,
    pub(super) timeout: Option<Duration>,
    pub(super) trace: bool,
}

/// What is called where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    system: Option<&'a SystemId>,
    operation: &'static str,
}

impl<'a> Place<'a> {
    pub(super) fn new(system: Option<&'a SystemId>, operation: &'static str) -> Self {
        Self { system, operation }
    }

    pub(super) fn system_value(self) -> Option<DebugValue<&'a str>> {
        self.system.map(|system| tracing::field::debug(system.as_str()))
    }

    pub(super) fn name(self, error: Error) -> Error {
        match self.system {
            Some(system) => error.at(system, self.operation),
            None => error,
        }
    }

    pub(super) fn span(self) -> tracing::Span {
        tracing::debug_span!(
            target: TARGET,
            "connector",
            system = self.system_value(),
            operation = self.operation
        )
    }
}

impl Layers {
    /// A call with one answer.
    pub(super) async fn call<'a, T, F, Fut>(&self, place: Place<'a>, effect: Effect, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let attempt = &attempt;
        let one = |_: Cow<'a, [()]>| async move { vec![attempt().await] };
        self.batch(place, effect, &[()], one)
            .await
            .pop()
            .expect("a batch has as many answers as operations")
    }

    /// A call with one answer per operation, in their order.
    pub(super) async fn batch<'a, O, T, F, Fut>(
        &self,
        place: Place<'a>,
        effect: Effect,
        operations: &'a [O],
        attempt: F,
    ) -> Vec<Result<T>>
    where
        O: Clone + Send + Sync,
        T: Send,
        F: Fn(Cow<'a, [O]>) -> Fut + Send + Sync,
        Fut: Future<Output = Vec<Result<T>>> + Send,
    {
        if !self.trace {
            return self.retried(place, effect, operations, attempt).await;
        }
        async {
            let began = self.clock.now();
            let answers = self.retried(place, effect, operations, attempt).await;
            let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
            let first = errors.next();
            tracing::debug!(
                target: TARGET,
                system = place.system_value(),
                operation = place.operation,
                outcome = first.map_or("ok", |error| error.kind().code()),
                error = first.map(|error| tracing::field::debug(error.message())),
                entries = answers.len(),
                failed = errors.count() + usize::from(first.is_some()),
                elapsed_ms = (self.clock.now() - began).num_milliseconds(),
                "called"
            );
            answers
        }
        .instrument(place.span())
        .await
    }

    async fn retried<'a, O, T, F, Fut>(
        &self,
        place: Place<'a>,
        effect: Effect,
        operations: &'a [O],
        attempt: F,
    ) -> Vec<Result<T>>
    where
        O: Clone + Send + Sync,
        T: Send,
        F: Fn(Cow<'a, [O]>) -> Fut + Send + Sync,
        Fut: Future<Output = Vec<Result<T>>> + Send,
    {
        let first = attempt(Cow::Borrowed(operations));
        let mut answers = self.attempt(place, effect, operations.len(), first).await;
        let Some(retry) = &self.retry else { return answers };
        retry.deposit();
        for attempts in 1.. {
            let mut again = Vec::new();
            let mut pause = Duration::ZERO;
            for (i, answer) in answers.iter().enumerate() {
                let Err(error) = answer else { continue };
                if let Some(wish) = retry.pause(error, effect, attempts) {
                    again.push(i);
                    pause = pause.max(wish);
                }
            }
            if again.is_empty() || !retry.withdraw() {
                break;
            }
            self.pause(place, attempts, pause).await;
            let operations = if again.len() == operations.len() {
                Cow::Borrowed(operations)
            } else {
                Cow::Owned(again.iter().map(|&i| operations[i].clone()).collect())
            };
            let anew = self
                .attempt(place, effect, again.len(), attempt(operations))
                .await;
            for (i, answer) in again.into_iter().zip(anew) {
                answers[i] = answer;
            }
        }
        answers
    }

    pub(super) async fn pause(&self, place: Place<'_>, attempts: u32, pause: Duration) {
        if self.trace {
            tracing::debug!(
                target: TARGET,
                system = place.system_value(),
                operation = place.operation,
                attempts,
                pause = ?pause,
                "trying again"
            );
        }
        self.clock.sleep(pause).await;
    }

    pub(super) async fn admission(&self) {
        if let Some(rate) = &self.rate {
            rate.acquire(&*self.clock).await;
        }
    }

    /// One attempt, with exactly `count` answers whatever happens.
    async fn attempt<T>(
        &self,
        place: Place<'_>,
        effect: Effect,
        count: usize,
        call: impl Future<Output = Vec<Result<T>>> + Send,
    ) -> Vec<Result<T>> {
        self.admission().await;
        let mut answers = match self.in_time(call).await {
            Ok(answers) => answers,
            Err(limit) => (0..count)
                .map(|_| Err(timed_out(limit, effect)))
                .collect::<Vec<_>>(),
        };
        if answers.len() != count {
            let answered = answers.len();
            answers = (0..count).map(|_| Err(miscounted(answered, count))).collect();
        }
        if place.system.is_some() {
            answers = answers
                .into_iter()
                .map(|answer| answer.map_err(|error| place.name(error)))
                .collect();
        }
        answers
    }

    /// What `call` answers within the timeout, else the timeout.
    pub(super) async fn in_time<V>(&self, call: impl Future<Output = V> + Send) -> Result<V, Duration> {
        let Some(limit) = self.timeout else {
            return Ok(call.await);
        };
        match select(pin!(call), self.clock.sleep(limit)).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right(((), _)) => Err(limit),
        }
    }
}

pub(super) fn timed_out(limit: Duration, effect: Effect) -> Error {
    Error::new(ErrorKind::TimedOut, format!("no answer within {limit:?}"))
        .with_unknown_outcome(effect == Effect::Write)
}

fn miscounted(answered: usize, count: usize) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!(
            "the connector answered {answered} results for {count} operations, so that none can be told; report \
             this to whoever maintains the connector"
        ),
    )
    .with_unknown_outcome(true)
}
