use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use usersync_license::Entitlement;
use usersync_model::{
    Completeness, DirectoryChange, ObjectId, PartialKind, PartialReason, Principal, PrincipalKind, SystemId,
    TenantId,
};

use super::{context, system};
use crate::test_clock::TestClock;
use crate::wrap::{RetryPolicy, Wrap};
use crate::{
    CallContext, Cursor, Directory, DirectoryCapabilities, EntitlementSource, Error, ErrorKind, Extent,
    ReadEnd, ReadStream, Result, Retry, read_stream,
};

/// Keeps what is told, one line per span and event.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, kind: &str, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(format!("{kind} {}", metadata.target()));
        record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.push("span", span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.push("event", event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Everything in it is hostile or secret.
#[derive(Debug)]
struct Hostile {
    system: SystemId,
    answers: Mutex<Vec<Result<Entitlement>>>,
}

impl Directory for Hostile {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, _: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        let secret = Principal::new(
            ObjectId::new("s3cret-id").unwrap(),
            PrincipalKind::User,
            "s3cret name",
        );
        let reason = PartialReason::new(PartialKind::Unreadable, "line\nbreak \u{202e}bidi");
        let mut end = ReadEnd::complete().with_cursor(Some(Cursor::new("s3cret")));
        end.verdict = Completeness::Partial(reason);
        read_stream(Extent::Full, [DirectoryChange::Upsert(secret)], end)
    }
}

#[async_trait]
impl EntitlementSource for Hostile {
    async fn entitlement(&self, _: &TenantId) -> Result<Entitlement> {
        self.answers.lock().unwrap().remove(0)
    }
}

#[test]
fn stable_names_escaped_text_and_no_entries() {
    let clock = TestClock::new();
    let hostile = Arc::new(Hostile {
        system: system(),
        answers: Mutex::new(vec![
            Err(Error::new(ErrorKind::Unavailable, "\u{1b}[31mred")
                .with_retry(Retry::After(Duration::from_millis(1500)))),
            Ok(Entitlement::new(3)),
        ]),
    });
    let wrapped = Wrap::new(Arc::clone(&clock) as _)
        .retry(RetryPolicy::default())
        .trace()
        .wrap(hostile);
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        clock.run(async {
            wrapped.entitlement(&context().tenant).await.unwrap();
            wrapped.read(None, &context()).collect::<Vec<_>>().await;
        });
    });
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            r#"span usersync::connector operation="entitlement""#,
            r#"event usersync::connector message=trying again operation="entitlement" attempts=1 pause=1.5s"#,
            r#"event usersync::connector message=called operation="entitlement" outcome="ok" entries=1 failed=0 elapsed_ms=1500"#,
            r#"span usersync::connector system="crm" operation="read""#,
            r#"event usersync::connector message=read system="crm" operation="read" outcome="unreadable" error="line\nbreak \u{202e}bidi" entries=1 elapsed_ms=0"#,
        ]
    );
}
