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
        let mut seen = 0;
        for byte in key.bytes() {
            let letter = letters[usize::from(byte)];
            self.0[end..end + Letter::MOST].copy_from_slice(&letter.look());
            end += letter.len();
            seen |= letter.0;
        }
        let is_known = seen & Letter::UNKNOWN == 0 && !(seen & Letter::HYPHEN != 0 && key.contains("xn--"));
        is_known.then_some(end)
    }
}

/// What a letter looks like beside any other, in one number, so that it is looked up at once: in the lowest two bytes what it looks
/// like, and how many of these it looks like in the third.
#[derive(Clone, Copy, Debug)]
struct Letter(u32);

impl Letter {
    /// The most ASCII letters that one looks like: an `m` is `rn`.
    const MOST: usize = 2;
    /// Only tables tell.
    const UNKNOWN: u32 = 1 << 31;
    /// Two of them may begin what is read in another form.
    const HYPHEN: u32 = 1 << 30;

    /// Only ASCII that looks like ASCII looks the same beside any other.
    fn new(letter: char) -> Self {
        let text = unicode_look(&letter.to_string());
        let is_plain = letter.is_ascii() && text.is_ascii();
        let flags = if letter == '-' { Self::HYPHEN } else { 0 };
        match (is_plain, text.as_bytes()) {
            (true, &[one]) => Self(u32::from_le_bytes([one, 0, 1, 0]) | flags),
            (true, &[one, two]) => Self(u32::from_le_bytes([one, two, 2, 0]) | flags),
            _ => Self(Self::UNKNOWN),
        }
    }

    fn look(self) -> [u8; Self::MOST] {
        (self.0 as u16).to_le_bytes()
    }

    fn len(self) -> usize {
        usize::from((self.0 >> 16) as u8)
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
