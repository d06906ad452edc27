//! URLs, of searches and of servers.

use super::is_fit_to_show;
use crate::client::LdapServer;
use crate::url::{LdapUrl, Scope};

/// One URL.
pub fn ldap_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match LdapUrl::parse(text) {
        Ok(url) => {
            let written = written(&url);
            assert_eq!(LdapUrl::parse(&written).as_ref(), Ok(&url), "{written}");
        }
        Err(error) => is_fit_to_show(&error),
    }
    if let Ok(server) = LdapServer::new(text) {
        let place = server.place();
        assert!(!place.is_empty());
        // Only a socket's path may be written with escapes.
        assert!(
            text.contains(&place) || text.contains('%') || text.ends_with(['/', ']']) || place.contains(':')
        );
        assert!(
            !text.contains('@'),
            "a name or a password would be taken for a host"
        );
    }
}

/// The URL with everything encoded that can be.
fn written(url: &LdapUrl) -> String {
    let encoded = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    let attributes: Vec<String> = url
        .attributes
        .iter()
        .map(|attribute| encoded(attribute))
        .collect();
    let scope = match url.scope {
        Scope::Base => "base",
        Scope::One => "one",
        Scope::Subtree => "sub",
    };
    format!(
        "ldap://{}/{}?{}?{scope}?{}?x-other",
        url.server.as_deref().unwrap_or_default(),
        encoded(&url.base.to_string()),
        attributes.join(","),
        encoded(url.filter.as_str()),
    )
}
