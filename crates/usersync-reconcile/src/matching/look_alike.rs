//! What an address looks like. Only ever shown: nothing is decided by it.

use std::sync::LazyLock;

use unicode_security::skeleton;
use usersync_model::AddressKey;

/// Equal for addresses that people may take for each other (UTS #39, section 4), whatever the case of their letters.
pub(super) fn look(key: &AddressKey) -> String {
    ascii_look(key.as_str()).unwrap_or_else(|| unicode_look(&key.to_unicode()))
}

fn unicode_look(text: &str) -> String {
    // Twice lower case: the skeleton of a digit may be a capital letter.
    let text = text.to_lowercase();
    skeleton(&text).collect::<String>().to_lowercase()
}

/// The same for an address of ASCII alone, letter by letter, which saves the tables; `None` where it takes them.
fn ascii_look(text: &str) -> Option<String> {
    static LETTERS: LazyLock<Vec<Option<String>>> = LazyLock::new(|| {
        let look = |letter: u8| unicode_look(&char::from(letter).to_string());
        // Only what looks like ASCII looks the same beside any other.
        (0..128)
            .map(|letter| Some(look(letter)).filter(|look| look.is_ascii()))
            .collect()
    });
    if text.contains("xn--") {
        return None;
    }
    let letters: &[Option<String>] = &LETTERS;
    let mut look = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        look.push_str(letters.get(usize::from(byte))?.as_deref()?);
    }
    Some(look)
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
    one != other && look(one) == look(other)
}

/// How many different addresses that look alike are looked through for one address: an attacker can make any number.
const MOST_ADDRESSES: usize = 64;

/// The addresses of all principals and accounts by their looks.
#[derive(Debug)]
pub(super) struct Looks<'a> {
    principals: &'a [Vec<Option<AddressKey>>],
    /// Ascending: looks, key, account.
    accounts: Vec<(String, &'a AddressKey, u32)>,
}

impl<'a> Looks<'a> {
    pub(super) fn new(
        principals: &'a [Vec<Option<AddressKey>>],
        accounts: &'a [Vec<Option<AddressKey>>],
    ) -> Self {
        let of = |(at, keys): (u32, &'a Vec<Option<AddressKey>>)| {
            keys.iter().flatten().map(move |key| (look(key), key, at))
        };
        let mut accounts: Vec<_> = (0..).zip(accounts).flat_map(of).collect();
        accounts.sort_unstable();
        accounts.dedup();
        Self { principals, accounts }
    }

    /// Accounts with an address that looks like one of this principal's and is none of them: of each such address the first few.
    pub(super) fn of(&self, principal: usize, few: usize) -> Vec<u32> {
        let own = &self.principals[principal];
        let mut found = Vec::new();
        for key in own.iter().flatten() {
            let looks = look(key);
            let from = self.accounts.partition_point(|(other, ..)| *other < looks);
            let alike = &self.accounts[from..];
            let mut rest = &alike[..alike.partition_point(|(other, ..)| *other == looks)];
            for _ in 0..MOST_ADDRESSES {
                let Some((_, other, _)) = rest.first() else {
                    break;
                };
                let (same, after) = rest.split_at(rest.partition_point(|(_, key, _)| key == other));
                rest = after;
                if !own.iter().flatten().any(|own| own == *other) {
                    found.extend(same.iter().take(few).map(|(.., account)| *account));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
