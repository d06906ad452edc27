//! Addresses and identifiers.

use usersync::model::{
    Address, AddressError, AddressKey, Digest, IdError, JobId, KindName, MAX_ID_BYTES, ObjectId, OperationId,
    PrincipalRef, RankSet, RoleName, SystemId, TenantId,
};
use usersync::reconcile::Fingerprint;
use usersync::sqlite::TablePrefix;

use crate::{is_fit_to_show, parts};

/// Mail addresses: one or two of them, compared with what RFC 5321 and ASCII say where no IDNA is needed.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let [one, other] = parts(text.as_bytes()).map(|part| std::str::from_utf8(part).expect("split at ASCII"));
    let (one, other) = (one_address(one), one_address(other));
    if let (Some(one), Some(other)) = (one, other) {
        let same = one.local().eq_ignore_ascii_case(other.local()) && one.domain() == other.domain();
        assert_eq!(one == other, same);
    }
}

fn one_address(text: &str) -> Option<AddressKey> {
    let found = Address::parse(text);
    if let Some(expected) = ascii_key(text) {
        assert_eq!(
            found.as_ref().ok().map(|found| found.key().as_str()),
            expected.as_deref()
        );
    }
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            is_fit_to_show(&error);
            assert_eq!(
                error == AddressError::NoAt,
                text.len() <= 1024 && !text.contains('@')
            );
            return None;
        }
    };
    let key = found.key();
    assert_eq!(found.as_str(), text);
    assert_eq!(AddressKey::of(key.as_str()).as_ref(), Ok(key), "the key of a key");
    assert!(key.domain().is_ascii() && key.domain().len() <= 253);
    assert!(
        !key.as_str()
            .chars()
            .any(|c| c.is_control() || c.is_ascii_uppercase())
    );
    // The form for people is the same address.
    assert_eq!(AddressKey::of(&key.to_unicode()).as_ref(), Ok(key));
    // So is another case of what is ASCII, and another full stop.
    let (local, domain) = text.rsplit_once('@').expect("an address has an @");
    let shouted = format!("{}@{domain}", local.to_ascii_uppercase());
    assert_eq!(AddressKey::of(&shouted).as_ref(), Ok(key));
    let dotted = format!("{local}@{}", domain.replace('.', "\u{3002}"));
    assert_eq!(AddressKey::of(&dotted).as_ref(), Ok(key));
    let json = serde_json::to_string(key).expect("a text has a JSON form");
    assert_eq!(serde_json::from_str::<AddressKey>(&json).as_ref().ok(), Some(key));
    Some(key.clone())
}

/// What the key of an address is, if it is one, where that can be told from its ASCII alone.
fn ascii_key(text: &str) -> Option<Option<String>> {
    let (local, domain) = text.rsplit_once('@')?;
    let domain = domain.to_ascii_lowercase();
    if !domain.is_ascii() || domain.split('.').any(|label| label.starts_with("xn--")) {
        return None;
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_domain = domain.len() <= 253 && domain.split('.').all(is_label);
    let is_good = is_domain && is_local(local);
    Some(is_good.then(|| format!("{}@{domain}", local.to_ascii_lowercase())))
}

fn is_local(local: &str) -> bool {
    if local.is_empty() || local.len() > 64 || local.chars().any(char::is_control) {
        return false;
    }
    if !local.starts_with('"') || local.len() == 1 {
        return local
            .chars()
            .all(|c| !c.is_whitespace() && !r#"()<>[]:;@\,""#.contains(c));
    }
    // A quote ends it unless a backslash stands before; nothing else does.
    let chars: Vec<char> = local.chars().collect();
    let mut at = 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at == chars.len() - 1 && at > 1,
            _ => at += 1,
        }
    }
    false
}

/// Identifiers, digests, names of roles and kinds, prefixes of tables: by text and by JSON.
pub fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let is_id = !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.chars().any(char::is_control);
    macro_rules! id {
        ($($name:ty),*) => {$(
            match text.parse::<$name>() {
                Ok(id) => {
                    assert!(is_id);
                    assert_eq!((id.as_str(), id.to_string().as_str()), (text, text));
                    assert_eq!(by_json::<$name>(text), Some(id));
                }
                Err(error) => refused::<$name>(text, is_id, &error),
            }
        )*};
    }
    id!(JobId, KindName, ObjectId, RoleName, SystemId, TenantId);
    let reference = PrincipalRef::parse("system", text);
    assert_eq!(reference.is_ok(), is_id);
    macro_rules! digest {
        ($($name:ty => $digits:expr),*) => {$(
            let is_digest = text.len() == $digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            match text.parse::<$name>() {
                Ok(digest) => {
                    assert!(is_digest);
                    assert_eq!(digest.to_string(), text);
                    assert_eq!(by_json::<$name>(text), Some(digest));
                }
                Err(error) => refused::<$name>(text, is_digest, &error),
            }
        )*};
    }
    digest!(Digest => 64, Fingerprint => 32, OperationId => 32);
    match text.parse::<TablePrefix>() {
        Ok(prefix) => {
            assert_eq!(prefix.to_string(), text);
            assert!(text.len() <= TablePrefix::MAX_BYTES && !text.starts_with("sqlite_"));
            assert!(
                text.bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            );
        }
        Err(error) => is_fit_to_show(&error),
    }
    if let Ok(ranks) = serde_json::from_str::<RankSet>(text) {
        let json = serde_json::to_string(&ranks).expect("ranks have a JSON form");
        assert_eq!(serde_json::from_str::<RankSet>(&json).ok(), Some(ranks));
    }
}

fn by_json<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

fn refused<T: serde::de::DeserializeOwned>(text: &str, is_good: bool, error: &IdError) {
    assert!(!is_good, "{text:?} was refused: {error}");
    assert!(by_json::<T>(text).is_none());
    is_fit_to_show(error);
}
