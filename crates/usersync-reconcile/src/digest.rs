//! The digests of a plan.

use serde::Serialize;
use usersync_model::{Digest, DigestBuilder};

use crate::operation::{Operation, Section};
use crate::plan::{Envelope, FORMAT, Header};

pub(crate) fn held_digest(header: &Header, sections: &[Section]) -> Option<Digest> {
    let mut digest = DigestBuilder::new("usersync.held/1")
        .part(header.tenant.as_str().as_bytes())
        .part(header.job.as_str().as_bytes())
        .part(header.policy.as_bytes());
    let mut any = false;
    for section in sections {
        for hold in section.holds.iter().filter(|hold| hold.cause.is_approvable()) {
            any = true;
            digest = digest
                .part(&canonical(&section.container))
                .part(&operation_bytes(&hold.operation))
                .part(hold.cause.code().as_bytes());
        }
    }
    any.then(|| digest.finish())
}

pub(crate) fn content_digest(header: &Header, sections: &[Section]) -> Digest {
    let mut digest = DigestBuilder::new(FORMAT).part(&canonical(header));
    for section in sections {
        digest = digest.part(section_digest(section).as_bytes());
    }
    digest.finish()
}

fn section_digest(section: &Section) -> Digest {
    let mut digest = DigestBuilder::new("usersync.section/1")
        .part(&canonical(&(
            &section.container,
            &section.kind,
            &section.owner,
            &section.tally,
        )))
        .part(&(section.operations.len() as u64).to_be_bytes());
    for operation in &section.operations {
        digest = digest
            .part(&operation_bytes(operation))
            .part(&canonical(&(operation.approved, &operation.agreed)));
    }
    digest = digest.part(&(section.holds.len() as u64).to_be_bytes());
    for hold in &section.holds {
        digest = digest.part(&operation_bytes(&hold.operation)).part(&canonical(&(
            &hold.cause,
            hold.operation.approved,
            &hold.operation.agreed,
        )));
    }
    digest = digest.part(&(section.ledger.len() as u64).to_be_bytes());
    for change in &section.ledger {
        digest = digest.part(&canonical(change));
    }
    for finding in &section.findings {
        digest = digest.part(&canonical(&(&finding.subject, finding.what)));
    }
    digest.finish()
}

/// Covers the content through its digest, and what that leaves out.
pub(crate) fn seal(content: &Digest, envelope: &Envelope, sections: &[Section]) -> Digest {
    let mut digest = DigestBuilder::new("usersync.seal/1")
        .part(content.as_bytes())
        .part(&canonical(envelope));
    for section in sections {
        digest = digest.part(section.name.as_bytes());
        let held = section.holds.iter().map(|hold| &hold.operation);
        for operation in section.operations.iter().chain(held) {
            digest = digest
                .part(operation.label.as_bytes())
                .part(&[u8::from(operation.seen.is_some())])
                .part(operation.seen.as_deref().unwrap_or_default().as_bytes());
        }
        for finding in &section.findings {
            digest = digest.part(finding.label.as_bytes());
        }
    }
    digest.finish()
}

fn operation_bytes(operation: &Operation) -> Vec<u8> {
    canonical(&(&operation.subject, &operation.action, &operation.reason))
}

pub(crate) fn canonical<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("every part of a plan has only text keys, so it has a JSON form")
}
