//! What the engine stores, and what else has a form in JSON.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use usersync::connector::{Actor, Notification, Version};
use usersync::engine::{Job, RunRecord, Schedule};
use usersync::license::{
    Entitlement, ExtraSeats, Quantities, SeatHolder, SeatRule, Seats, UsageRule, Waiting,
};
use usersync::model::{
    Completeness, Container, DirectoryChange, LedgerRow, Link, Member, MemberFacets, Principal, Record,
    Selection,
};
use usersync::reconcile::{
    Approval, Header, HoldCause, MatchRule, Operation, Policy, RecordBase, RecordRules, Section, Warning,
};
use usersync::store::{Format, LedgerKey, StoreErrorKind};
use usersync_engine::fuzzing::{StoredFormat, stored_formats};

use crate::is_fit_to_show;

/// A value as the engine stores it.
pub fn stored(data: &[u8]) {
    let json = serde_json::from_slice::<Json>(data).ok();
    let name = json.as_ref().and_then(|json| json.get("format")?.as_str());
    for StoredFormat { format, rewrite } in stored_formats() {
        match rewrite(data) {
            Ok(written) => {
                assert_eq!(Some(format.name), name);
                assert_eq!(
                    rewrite(&written).ok().as_ref(),
                    Some(&written),
                    "written once more"
                );
                is_bound(format, &written, rewrite);
            }
            Err(error) => {
                is_fit_to_show(&error);
                let is_newer = error.kind() == StoreErrorKind::NewerFormat;
                assert!(is_newer || error.kind() == StoreErrorKind::Corrupt);
                assert!(!is_newer || json.is_none() || Some(format.name) == name);
            }
        }
    }
}

type Rewrite = fn(&[u8]) -> usersync::store::Result<Vec<u8>>;

/// A value is of its format and version, and has nothing that is not known.
fn is_bound(Format { name, version }: Format, written: &[u8], rewrite: Rewrite) {
    let json: Json = serde_json::from_slice(written).expect("what is written is JSON");
    assert_eq!(
        (json["format"].as_str(), json["version"].as_u64()),
        (Some(name), Some(version.into()))
    );
    let kind = |change: &dyn Fn(&mut Json)| {
        let mut json = json.clone();
        change(&mut json);
        rewrite(json.to_string().as_bytes())
            .err()
            .map(|error| error.kind())
    };
    assert_eq!(
        kind(&|json| json["version"] = (version + 1).into()),
        Some(StoreErrorKind::NewerFormat)
    );
    assert_eq!(
        kind(&|json| json["format"] = "usersync.other".into()),
        Some(StoreErrorKind::Corrupt)
    );
    assert_eq!(
        kind(&|json| json["more"] = true.into()),
        Some(StoreErrorKind::Corrupt)
    );
    if json["value"].is_object() {
        assert_eq!(
            kind(&|json| json["value"]["more"] = true.into()),
            Some(StoreErrorKind::Corrupt),
            "{name}"
        );
    }
}

/// The name of a type in one line, and a value of it as JSON.
pub fn values(data: &[u8]) {
    let Some((name, json)) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    macro_rules! one_of {
        ($($known:ident),* $(,)?) => {
            match name {
                $(stringify!($known) => reads_back::<$known>(json),)*
                _ => {}
            }
        };
    }
    one_of!(
        Actor,
        Approval,
        Completeness,
        Container,
        DirectoryChange,
        Entitlement,
        ExtraSeats,
        Header,
        HoldCause,
        Job,
        LedgerKey,
        LedgerRow,
        Link,
        MatchRule,
        Member,
        MemberFacets,
        Notification,
        Operation,
        Policy,
        Principal,
        Quantities,
        Record,
        RecordBase,
        RecordRules,
        RunRecord,
        Schedule,
        SeatHolder,
        SeatRule,
        Seats,
        Section,
        Selection,
        UsageRule,
        Version,
        Waiting,
        Warning,
    );
}

fn reads_back<T: Debug + DeserializeOwned + PartialEq + Serialize>(json: &str) {
    let Ok(value) = serde_json::from_str::<T>(json) else {
        return;
    };
    let written = serde_json::to_string(&value).expect("a value that was read can be written");
    let read: T = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(read, value);
    assert_eq!(serde_json::to_string(&read).expect("as before"), written);
}
