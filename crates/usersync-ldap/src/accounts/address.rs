//! The mail addresses of an entry.

use std::collections::BTreeSet;

use usersync_model::Address;

use crate::entry::Entry;

/// Where Exchange keeps all addresses, each with its scheme; the primary one of a scheme has it in capitals.
pub(crate) const PROXIES: &str = "proxyAddresses";

/// The addresses of an entry as the system writes them, the primary one first, then in the order of `attributes` and of
/// their bytes. Those of Exchange if it has any, and of `attributes` otherwise. What nobody can send mail to is left out.
pub(crate) fn addresses(entry: &Entry, attributes: &[String]) -> Vec<String> {
    let mut found = proxies(entry);
    if found.texts.is_empty() {
        for attribute in attributes {
            found.append(entry.texts(attribute));
        }
    }
    found.texts
}

/// The addresses that Exchange keeps. Without a primary one among them, `mail` is.
fn proxies(entry: &Entry) -> Found<'_> {
    let (mut primary, mut others) = (Vec::new(), Vec::new());
    for text in entry.texts(PROXIES) {
        match text.split_once(':') {
            Some(("SMTP", address)) => primary.push(address),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("smtp") => others.push(address),
            _ => {}
        }
    }
    let mut found = Found::default();
    found.append(primary.into_iter());
    if others.is_empty() {
        return found;
    }
    if found.texts.is_empty() {
        found.append(entry.texts("mail"));
    }
    found.append(others.into_iter());
    found
}

#[derive(Default)]
struct Found<'a> {
    texts: Vec<String>,
    known: BTreeSet<&'a str>,
}

impl<'a> Found<'a> {
    /// Appends, in the order of their bytes, the texts that are addresses and not there yet.
    fn append(&mut self, texts: impl Iterator<Item = &'a str>) {
        let is_new = |text: &&str| Address::parse(text).is_ok() && !self.known.contains(text);
        let new: BTreeSet<&str> = texts.filter(is_new).collect();
        self.texts.extend(new.iter().map(|&text| text.to_owned()));
        self.known.extend(new);
    }
}
