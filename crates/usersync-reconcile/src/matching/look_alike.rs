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
        if !self.take_ascii(key) {
            let key = AddressKey::of(key).expect("the key of an address is an address");
            self.0.clear();
            self.0
                .extend_from_slice(unicode_look(&key.to_unicode()).as_bytes());
        }
        &self.0
    }

    /// The same for an address of ASCII alone, letter by letter, which saves the tables; answers `false` where it takes them.
    fn take_ascii(&mut self, key: &str) -> bool {
        static LETTERS: LazyLock<Vec<Option<Letter>>> =
            LazyLock::new(|| (0..128).map(|letter| Letter::new(char::from(letter))).collect());
        if key.contains("xn--") {
            return false;
        }
        let letters: &[Option<Letter>] = &LETTERS;
        self.0.clear();
        self.0.resize(key.len() * Letter::MOST, 0);
        let mut end = 0;
        for byte in key.bytes() {
            let Some(Some(letter)) = letters.get(usize::from(byte)) else {
                return false;
            };
            self.0[end..end + Letter::MOST].copy_from_slice(&letter.look);
            end += letter.len;
        }
        self.0.truncate(end);
        true
    }
}

/// What an ASCII letter looks like beside any other.
#[derive(Clone, Copy, Debug)]
struct Letter {
    look: [u8; Self::MOST],
    len: usize,
}

impl Letter {
    /// The most ASCII letters that one looks like: an `m` is `rn`.
    const MOST: usize = 2;

    /// Only what looks like ASCII looks the same beside any other.
    fn new(letter: char) -> Option<Self> {
        let text = unicode_look(&letter.to_string());
        let mut look = [0; Self::MOST];
        look.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        text.is_ascii().then_some(Self {
            look,
            len: text.len(),
        })
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
        let is_ascii = look.take_ascii(text);
        is_ascii.then(|| String::from_utf8(look.0).expect("ASCII"))
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
