//! What result codes mean (RFC 4511, appendix A; RFC 4528; RFC 4533). Whatever is not success has failed.

use usersync_connector::{Error, ErrorKind, Retry};
use usersync_model::{PartialKind, PartialReason};

use super::guard::printable;

/// The result of an operation, as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) number: u32,
    text: String,
}

pub(crate) const SUCCESS: u32 = 0;
pub(crate) const NO_SUCH_ATTRIBUTE: u32 = 16;
pub(crate) const ATTRIBUTE_OR_VALUE_EXISTS: u32 = 20;
pub(crate) const NO_SUCH_OBJECT: u32 = 32;
pub(crate) const ASSERTION_FAILED: u32 = 122;
pub(crate) const SYNC_REFRESH_REQUIRED: u32 = 4096;

impl Code {
    pub(crate) fn new(number: u32, text: &str) -> Self {
        Self {
            number,
            text: printable(text),
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.number == SUCCESS
    }

    /// The error that a code other than success is.
    pub(crate) fn error(&self) -> Error {
        let kind = match self.number {
            NO_SUCH_ATTRIBUTE | NO_SUCH_OBJECT => ErrorKind::NotFound,
            ATTRIBUTE_OR_VALUE_EXISTS | 68 => ErrorKind::AlreadyExists,
            // timeLimitExceeded, sizeLimitExceeded, adminLimitExceeded
            3 | 4 | 11 => ErrorKind::LimitExceeded,
            // strongerAuthRequired, confidentialityRequired, insufficientAccessRights
            8 | 13 | 50 => ErrorKind::PermissionDenied,
            // referral, unavailableCriticalExtension
            10 | 12 => ErrorKind::Unsupported,
            // inappropriateAuthentication, invalidCredentials
            48 | 49 => ErrorKind::Unauthenticated,
            // busy, unavailable
            51 | 52 => ErrorKind::Unavailable,
            // protocolError, undefinedAttributeType … invalidAttributeSyntax, invalidDNSyntax, objectClassViolation
            2 | 17 | 18 | 19 | 21 | 34 | 65 => ErrorKind::InvalidData,
            ASSERTION_FAILED => ErrorKind::Conflict,
            SYNC_REFRESH_REQUIRED => ErrorKind::CursorExpired,
            _ => ErrorKind::Unexpected,
        };
        // A server that answers did not do it. One between may have lost the server behind it: it says "unavailable" or "other".
        let is_open = matches!(self.number, 52 | 80);
        let error = Error::new(kind, self.to_string()).with_unknown_outcome(is_open);
        match self.number {
            // Time and effort depend on what else the server does.
            3 | 11 => error.with_retry(Retry::Later),
            _ => error,
        }
    }

    fn name(&self) -> &'static str {
        match self.number {
            0 => "success",
            1 => "operationsError",
            2 => "protocolError",
            3 => "timeLimitExceeded",
            4 => "sizeLimitExceeded",
            7 => "authMethodNotSupported",
            8 => "strongerAuthRequired",
            10 => "referral",
            11 => "adminLimitExceeded",
            12 => "unavailableCriticalExtension",
            13 => "confidentialityRequired",
            16 => "noSuchAttribute",
            17 => "undefinedAttributeType",
            18 => "inappropriateMatching",
            19 => "constraintViolation",
            20 => "attributeOrValueExists",
            21 => "invalidAttributeSyntax",
            32 => "noSuchObject",
            34 => "invalidDNSyntax",
            48 => "inappropriateAuthentication",
            49 => "invalidCredentials",
            50 => "insufficientAccessRights",
            51 => "busy",
            52 => "unavailable",
            53 => "unwillingToPerform",
            54 => "loopDetect",
            65 => "objectClassViolation",
            68 => "entryAlreadyExists",
            80 => "other",
            122 => "assertionFailed",
            4096 => "e-syncRefreshRequired",
            _ => "an unknown code",
        }
    }
}

/// Why a read that was ended by `error` is partial.
pub(crate) fn reason(error: &Error) -> PartialReason {
    let kind = match error.kind() {
        ErrorKind::LimitExceeded => PartialKind::Limit,
        ErrorKind::PermissionDenied => PartialKind::Unreadable,
        _ => PartialKind::Failed,
    };
    PartialReason::new(kind, error.message())
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered {} ({})", self.number, self.name())?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}
