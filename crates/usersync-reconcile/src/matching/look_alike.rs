//! What an address looks like. Only ever shown: nothing is decided by it.

use unicode_security::skeleton;
use usersync_model::AddressKey;

/// Equal for addresses that people may take for each other (UTS #39, section 4), whatever the case of their letters.
pub(super) fn look(key: &AddressKey) -> String {
    // Twice lower case: the skeleton of a digit may be a capital letter.
    let text = key.to_unicode().to_lowercase();
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
