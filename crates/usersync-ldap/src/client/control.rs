//! Controls of requests and responses (RFC 4511, section 4.1.11).

use ldap3::controls::RawControl;

use super::ber::{self, Elements, INTEGER, Malformed, OCTETS, SEQUENCE};

/// Names of the controls used here.
pub(crate) mod oid {
    /// RFC 4528.
    pub(crate) const ASSERTION: &str = "1.3.6.1.1.12";
    /// [MS-ADTS] 3.1.1.3.4.1.3.
    pub(crate) const DIRSYNC: &str = "1.2.840.113556.1.4.841";
    /// [MS-ADTS] 3.1.1.3.4.1.4: no references to other naming contexts.
    pub(crate) const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
    /// [MS-ADTS] 3.1.1.3.4.1.5.
    pub(crate) const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
    /// RFC 2696.
    pub(crate) const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
    /// RFC 4533.
    pub(crate) const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
    /// RFC 4533.
    pub(crate) const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
    /// RFC 4533.
    pub(crate) const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
}

/// A control of a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) oid: String,
    pub(crate) critical: bool,
    pub(crate) value: Option<Vec<u8>>,
}

impl Control {
    pub(crate) fn new(oid: &str) -> Self {
        Self {
            oid: oid.to_owned(),
            critical: false,
            value: None,
        }
    }

    /// The same control, without which the operation is not to be done.
    pub(crate) fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    pub(crate) fn with_value(mut self, value: Vec<u8>) -> Self {
        self.value = Some(value);
        self
    }

    /// The request for a page (RFC 2696).
    pub(crate) fn page(size: u32, cookie: &[u8]) -> Self {
        let mut inner = Vec::new();
        ber::push_number(&mut inner, INTEGER, i64::from(size));
        ber::push(&mut inner, OCTETS, cookie);
        let mut value = Vec::new();
        ber::push(&mut value, SEQUENCE, &inner);
        Self::new(oid::PAGED_RESULTS).critical().with_value(value)
    }

    /// Where the next page begins, from the answer to [`page`](Self::page); empty after the last.
    pub(crate) fn page_cookie(&self) -> Result<Vec<u8>, Malformed> {
        let mut value = Elements::new(self.value.as_deref().unwrap_or_default());
        let mut inner = value.expect(SEQUENCE)?.elements();
        inner.expect(INTEGER)?.integer()?;
        Ok(inner.expect(OCTETS)?.content.to_vec())
    }
}

impl From<RawControl> for Control {
    fn from(raw: RawControl) -> Self {
        Self {
            oid: raw.ctype,
            critical: raw.crit,
            value: raw.val,
        }
    }
}

impl From<Control> for RawControl {
    fn from(control: Control) -> Self {
        Self {
            ctype: control.oid,
            crit: control.critical,
            val: control.value,
        }
    }
}
