//! The mail addresses of an entry.

use usersync_model::Address;

use crate::entry::Entry;

/// Where Exchange keeps all addresses, each with its scheme; the primary one of a scheme has it in capitals.
pub(crate) const PROXIES: &str = "proxyAddresses";

/// The addresses of an entry as the system writes them, the primary one first, then in the order of `attributes` and of
/// their bytes. Those of Exchange if it has any, and of `attributes` otherwise. What nobody can send mail to is left out.
pub(crate) fn addresses(entry: &Entry, attributes: &[String]) -> Vec<String> {
    let mut found = proxies(entry);
    if found.is_empty() {
        for attribute in attributes {
            append(&mut found, entry.texts(attribute));
        }
    }
    found
}

/// The addresses that Exchange keeps. Without a primary one among them, `mail` is.
fn proxies(entry: &Entry) -> Vec<String> {
    let (mut primary, mut others) = (Vec::new(), Vec::new());
    for text in entry.texts(PROXIES) {
        match text.split_once(':') {
            Some(("SMTP", address)) => primary.push(address),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("smtp") => others.push(address),
            _ => {}
        }
    }
    let mut found = Vec::new();
    append(&mut found, primary.into_iter());
    if others.is_empty() {
        return found;
    }
    if found.is_empty() {
        append(&mut found, entry.texts("mail"));
    }
    append(&mut found, others.into_iter());
    found
}

fn append<'a>(found: &mut Vec<String>, texts: impl Iterator<Item = &'a str>) {
    let mut texts: Vec<&str> = texts
        .filter(|text| Address::parse(text).is_ok())
        .filter(|text| found.iter().all(|known| known != text))
        .collect();
    texts.sort_unstable();
    texts.dedup();
    found.extend(texts.into_iter().map(str::to_owned));
}
