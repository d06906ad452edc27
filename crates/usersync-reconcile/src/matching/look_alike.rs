//! What an address looks like. Only ever shown: nothing is decided by it.

use std::sync::LazyLock;

use unicode_security::skeleton;
use usersync_model::AddressKey;

/// Takes the looks of addresses, one after the other in the same memory: equal for addresses that people may take for each other
/// (UTS #39, section 4), whatever the case of their letters.
#[derive(Debug, Default)]
pub(super) struct Look(Vec<u8>);

impl Look {
    /// What an address looks like, of which this is the key.
    pub(super) fn of(&mut self, key: &str) -> &[u8] {
        if let Some(len) = self.take_ascii(key) {
            return &self.0[..len];
        }
        let key = AddressKey::of(key).expect("the key of an address is an address");
        self.0.clear();
        self.0
            .extend_from_slice(unicode_look(&key.to_unicode()).as_bytes());
        &self.0
    }

    /// The same for an address of ASCII alone, letter by letter, which saves the tables; answers how long it is, and `None` where
    /// it takes the tables.
    fn take_ascii(&mut self, key: &str) -> Option<usize> {
        static LETTERS: LazyLock<[Letter; 256]> =
            LazyLock::new(|| std::array::from_fn(|byte| Letter::new(byte as u8 as char)));
        let letters: &[Letter; 256] = &LETTERS;
        let most = key.len() * Letter::MOST;
        if self.0.len() < most {
            self.0.resize(most, 0);
        }
        let mut end = 0;
        let mut are_known = true;
        for byte in key.bytes() {
            let letter = letters[usize::from(byte)];
            self.0[end..end + Letter::MOST].copy_from_slice(&letter.look);
            end += usize::from(letter.len);
            are_known &= letter.len > 0;
        }
        (are_known && !key.contains("xn--")).then_some(end)
    }
}

/// What a letter looks like beside any other.
#[derive(Clone, Copy, Debug, Default)]
struct Letter {
    look: [u8; Self::MOST],
    /// How many of `look` it looks like; none if only tables tell.
    len: u8,
}

impl Letter {
    /// The most ASCII letters that one looks like: an `m` is `rn`.
    const MOST: usize = 2;

    /// Only ASCII that looks like ASCII looks the same beside any other.
    fn new(letter: char) -> Self {
        let text = unicode_look(&letter.to_string());
        let is_plain = letter.is_ascii() && text.is_ascii();
        match (is_plain, text.as_bytes()) {
            (true, &[one]) => Self {
                look: [one, 0],
                len: 1,
            },
            (true, &[one, two]) => Self {
                look: [one, two],
                len: 2,
            },
            _ => Self::default(),
        }
    }
}

fn unicode_look(text: &str) -> String {
    // Twice lower case: the skeleton of a digit may be a capital letter.
    let text = text.to_lowercase();
    skeleton(&text).collect::<String>().to_lowercase()
}

/// Whether people may take one address for the other although they are two.
///
/// ```
/// use usersync_model::AddressKey;
/// use usersync_reconcile::looks_like;
///
/// let anna = AddressKey::of("anna@paypal.example")?;
/// assert!(looks_like(&anna, &AddressKey::of("anna@paypa1.example")?));
/// assert!(looks_like(&anna, &AddressKey::of("аnnа@paypal.example")?), "with Cyrillic letters");
/// assert!(!looks_like(&anna, &AddressKey::of("Anna@paypal.example")?), "that is the same address");
/// # Ok::<(), usersync_model::AddressError>(())
/// ```
#[must_use]
pub fn looks_like(one: &AddressKey, other: &AddressKey) -> bool {
    one != other && Look::default().of(one.as_str()) == Look::default().of(other.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascii_look(text: &str) -> Option<String> {
        let mut look = Look::default();
        let len = look.take_ascii(text)?;
        Some(String::from_utf8(look.0[..len].to_vec()).expect("ASCII"))
    }

    #[test]
    fn letter_by_letter_ascii_looks_as_it_does_as_a_whole() {
        let ascii = || (0..128).map(|letter: u8| char::from(letter));
        for one in ascii() {
            for other in ascii() {
                let text = format!("{one}{other}{one}");
                let look = ascii_look(&text);
                assert_eq!(
                    look.unwrap_or_else(|| unicode_look(&text)),
                    unicode_look(&text),
                    "{text:?}"
                );
            }
        }
        assert_eq!(
            ascii_look("m0l1@paypal.example").as_deref(),
            Some("rnoll@paypal.exarnple")
        );
        assert_eq!(
            ascii_look("anna@xn--mnchen-3ya.example"),
            None,
            "the domain is read in its Unicode form"
        );
        assert_eq!(ascii_look("ännä@paypal.example"), None);
    }
}
