//! Distinguished names.

use usersync_ldap::Dn;

use crate::{is_fit_to_show, parts};

/// What no name is longer than, in bytes, and what no key is longer than.
const MOST_BYTES: usize = 16 << 10;
const MOST_COMPONENTS: usize = 256;

/// A name, and a value for a component below it or another name.
pub fn dn(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let [name, other] = parts(text.as_bytes()).map(|part| std::str::from_utf8(part).expect("split at ASCII"));
    let Some(name) = one(name) else {
        return;
    };
    below(&name, other);
    if let Some(other) = one(other) {
        assert_eq!(name == other, name.key() == other.key());
        assert_eq!(name.cmp(&other), name.key().cmp(other.key()));
        // By going up, as long as there is a way.
        let ups = std::iter::successors(Some(name.clone()), Dn::parent);
        assert_eq!(name.is_within(&other), ups.into_iter().any(|up| up == other));
    }
}

fn one(text: &str) -> Option<Dn> {
    let dn = match Dn::parse(text) {
        Ok(dn) => dn,
        Err(error) => {
            is_fit_to_show(&error);
            return None;
        }
    };
    assert_eq!(dn.to_string(), text);
    assert!(text.len() <= MOST_BYTES && dn.key().len() <= MOST_BYTES);
    assert_eq!(dn.is_root(), text.trim_matches(' ').is_empty());
    let key = Dn::parse(dn.key()).expect("a key is a name");
    assert_eq!((key.key(), &key), (dn.key(), &dn), "the key of a key");
    // The components, one by one: what is above is a name in its own right, whose key is the end of this one's.
    let mut rest = dn.clone();
    for depth in 0.. {
        assert!(depth <= MOST_COMPONENTS);
        let Some(parent) = rest.parent() else {
            assert!(rest.is_root());
            break;
        };
        assert_eq!(Dn::parse(&parent.to_string()).as_ref(), Ok(&parent));
        assert_eq!(Dn::parse(parent.key()).as_ref(), Ok(&parent));
        assert!(rest.key().ends_with(parent.key()) && rest.is_within(&parent) && !parent.is_within(&rest));
        let own = &rest.key()[..rest.key().len() - parent.key().len()];
        let own = own.strip_suffix(',').filter(|_| !parent.is_root()).unwrap_or(own);
        let own = Dn::parse(own).expect("a component is a name");
        assert_eq!(own.parent().is_some_and(|above| above.is_root()), !own.is_root());
        rest = parent;
    }
    Some(dn)
}

/// Whatever a value is, it is one value of one component.
fn below(dn: &Dn, value: &str) {
    let Ok(child) = dn.child("cn", value) else {
        assert!(
            dn.to_string().len() + dn.key().len() + 20 * value.len() > MOST_BYTES
                || dn.key().matches(',').count() >= 255
        );
        return;
    };
    assert_eq!(child.parent().as_ref(), Some(dn));
    let child = child.to_string();
    let own = if dn.is_root() {
        &child
    } else {
        let above = format!(",{dn}");
        child
            .strip_suffix(&above)
            .expect("a name ends with the one above")
    };
    assert_eq!(unescaped(own), format!("cn={value}"));
}

/// What escapes stand for (RFC 4514, section 3), in a text that has no others than those written there.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next().expect("an escape is whole") {
                '0' if rest.as_str().starts_with('0') => {
                    rest.next();
                    '\0'
                }
                special => special,
            },
            c => c,
        });
    }
    plain
}
