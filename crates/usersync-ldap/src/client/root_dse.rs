//! What a server says of itself (RFC 4512, section 5.1).

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};

use super::search::{Base, Search};
use super::session::Session;
use crate::dn::Dn;
use crate::filter::Filter;
use crate::url::Scope;

/// The capability that Active Directory and AD LDS have ([MS-ADTS] 3.1.1.3.4.3.1).
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

/// What a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootDse {
    pub(crate) naming_contexts: Vec<Dn>,
    /// Who made it, as it says itself.
    pub(crate) vendor: String,
    controls: BTreeSet<String>,
    capabilities: BTreeSet<String>,
}

impl RootDse {
    pub(super) async fn read(session: &mut Session) -> Result<Self, Error> {
        let search = Search {
            base: Base::Dn(Dn::parse("").expect("the empty name is the root")),
            scope: Scope::Base,
            filter: Filter::present("objectClass").expect("the name of an attribute is one"),
            attributes: [
                "namingContexts",
                "supportedCapabilities",
                "supportedControl",
                "vendorName",
                "vendorVersion",
            ]
            .map(str::to_owned)
            .to_vec(),
            controls: Vec::new(),
        };
        let entry = session.entry(&search).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::PermissionDenied,
                "the server does not show its root DSE; let the service account read the entry with the empty name",
            )
        })?;
        let entry = entry.entry;
        let set = |name| entry.texts(name).map(str::to_owned).collect();
        Ok(Self {
            naming_contexts: entry
                .texts("namingContexts")
                .filter_map(|text| Dn::parse(text).ok())
                .collect(),
            vendor: entry
                .texts("vendorName")
                .chain(entry.texts("vendorVersion"))
                .collect::<Vec<_>>()
                .join(" "),
            controls: set("supportedControl"),
            capabilities: set("supportedCapabilities"),
        })
    }

    pub(crate) fn has_control(&self, oid: &str) -> bool {
        self.controls.contains(oid)
    }

    pub(crate) fn is_active_directory(&self) -> bool {
        self.capabilities.contains(ACTIVE_DIRECTORY)
    }
}
