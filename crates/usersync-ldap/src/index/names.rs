//! Texts that entries are named by, as dense numbers, and what each of them stands for.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::table::Table;
use super::tree::Tree;
use crate::dn::parent_key;

/// What a name is a name in. Equal texts of different kinds are different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum NameKind {
    Address,
    /// A canonical DN.
    Dn,
    /// The `gidNumber` of a group.
    Gid,
    /// The key of an entry, in hexadecimal digits.
    Key,
    Login,
    /// What should be a DN and is none; it never stands for anything.
    NoDn,
    /// The SID of a group.
    Sid,
}

/// How an entry counts that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Principal,
    /// It is no principal.
    Other,
    /// Nobody can tell, so that the name stands for nothing.
    Unclear,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// More than one entry.
    Many,
    /// An entry that is no principal.
    Other,
    /// The principal with this number.
    Principal(u32),
    /// Nothing that was seen.
    Unseen,
}

/// An entry that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) name: u32,
    pub(super) rank: Rank,
    pub(super) slot: u32,
}

/// All names, each stored once. Those that nobody has or uses any more stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Seeded at random, since directories choose the texts. Serves look-ups only and never reaches an output.
    hasher: RandomState,
    names: Table<Name>,
    texts: Texts,
    /// Part of the hash, and the name.
    by_hash: Tree<(u32, u32)>,
    /// The same while everything is read, which is quicker and not to be shared.
    loading: Option<HashTable<(u32, u32)>>,
    /// DNs and those directly below them.
    below: Tree<(u32, u32)>,
    claims: Tree<Claim>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    text: Span,
    /// The name of the entry above, if it is a DN; then the text is the first component alone.
    above: Option<Above>,
    kind: NameKind,
}

/// A number plus one, which makes its absence free.
type Above = std::num::NonZeroU32;

impl Names {
    /// No names; many are to come.
    pub(super) fn loading() -> Self {
        Self {
            loading: Some(HashTable::new()),
            ..Self::default()
        }
    }

    pub(super) fn end_loading(&mut self) {
        if let Some(loading) = self.loading.take() {
            let mut names: Vec<(u32, u32)> = loading.into_iter().collect();
            names.sort_unstable();
            self.by_hash = Tree::from_sorted(&names);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of the name, which is new if need be. A DN is in its canonical form.
    pub(super) fn number(&mut self, kind: NameKind, text: &str) -> u32 {
        let hash = self.hash(kind, text);
        if let Some(number) = self.find_hashed(hash, kind, text) {
            return number;
        }
        if kind != NameKind::Dn {
            return self.add(hash, kind, text, None);
        }
        // The DN and those above it that are new, the longest first.
        let mut new = vec![(hash, text)];
        let mut at = text;
        let mut above = None;
        while let Some(up) = parent_key(at) {
            let hash = self.hash(kind, up);
            above = self.find_hashed(hash, kind, up);
            if above.is_some() {
                break;
            }
            new.push((hash, up));
            at = up;
        }
        let mut number = above;
        for (hash, text) in new.into_iter().rev() {
            let first = parent_key(text).map_or("", |up| {
                let rest = if up.is_empty() { 0 } else { up.len() + 1 };
                &text[..text.len() - rest]
            });
            let added = self.add(hash, kind, first, number);
            if let Some(above) = number {
                self.below.insert((above, added));
            }
            number = Some(added);
        }
        number.expect("the DN itself was new")
    }

    pub(super) fn find(&self, kind: NameKind, text: &str) -> Option<u32> {
        self.find_hashed(self.hash(kind, text), kind, text)
    }

    pub(super) fn kind(&self, name: u32) -> NameKind {
        self.name(name).kind
    }

    pub(super) fn text(&self, name: u32) -> String {
        let mut text = self.texts.text(self.name(name).text).to_owned();
        let mut at = name;
        while let Some(above) = self.above(at) {
            // The root is above DNs of one component, and is no component.
            if self.above(above).is_some() {
                text.push(',');
                text.push_str(self.texts.text(self.name(above).text));
            }
            at = above;
        }
        text
    }

    /// Whether it is the empty text, the DN of the root among them.
    pub(super) fn is_empty(&self, name: u32) -> bool {
        let name = self.name(name);
        name.above.is_none() && name.text.len == 0
    }

    /// The DN above the DN `name`.
    pub(super) fn above(&self, name: u32) -> Option<u32> {
        self.name(name).above.map(|above| above.get() - 1)
    }

    /// The DNs directly below the DN `name`, in no order that means anything.
    pub(super) fn below(&self, name: u32) -> impl Iterator<Item = u32> + '_ {
        self.below
            .iter_from((name, 0))
            .take_while(move |&(above, _)| above == name)
            .map(|(_, below)| below)
    }

    /// The first component of the DN `name` below the DN `above`, with what lies above it.
    pub(super) fn moved_below(&mut self, name: u32, above: u32) -> u32 {
        let first = self.texts.text(self.name(name).text).to_owned();
        let above = self.text(above);
        let comma = if above.is_empty() { "" } else { "," };
        self.number(NameKind::Dn, &[&first, comma, &above].concat())
    }

    pub(super) fn claim(&mut self, claim: Claim) {
        self.claims.insert(claim);
    }

    pub(super) fn release(&mut self, claim: Claim) {
        self.claims.remove(&claim);
    }

    /// Who has the name, the most telling rank first.
    pub(super) fn claims(&self, name: u32) -> impl Iterator<Item = Claim> + '_ {
        let from = Claim {
            name,
            rank: Rank::Principal,
            slot: 0,
        };
        self.claims
            .iter_from(from)
            .take_while(move |claim| claim.name == name)
    }

    /// All that is claimed, by name.
    pub(super) fn all_claims(&self) -> impl Iterator<Item = Claim> + '_ {
        self.claims.iter()
    }

    pub(super) fn meaning(&self, name: u32) -> Meaning {
        let mut claims = self.claims(name);
        let first = claims.next();
        meaning(first.into_iter().chain(claims.next()))
    }

    fn add(&mut self, hash: u32, kind: NameKind, text: &str, above: Option<u32>) -> u32 {
        let text = self.texts.push(text);
        let above = above.and_then(|above| Above::new(above + 1));
        let number = self.names.push(Name { text, above, kind });
        match &mut self.loading {
            Some(loading) => {
                loading.insert_unique(spread(hash), (hash, number), |&(hash, _)| spread(hash));
            }
            None => {
                self.by_hash.insert((hash, number));
            }
        }
        number
    }

    fn hash(&self, kind: NameKind, text: &str) -> u32 {
        // Half of the hash is enough: what it finds is compared.
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash is meant")]
        let half = self.hasher.hash_one((kind, text)) as u32;
        half
    }

    fn find_hashed(&self, hash: u32, kind: NameKind, text: &str) -> Option<u32> {
        let is_it = |number: u32| self.kind(number) == kind && self.is(number, text);
        if let Some(loading) = &self.loading {
            let same = |&(other, number): &(u32, u32)| other == hash && is_it(number);
            return loading.find(spread(hash), same).map(|&(_, number)| number);
        }
        self.by_hash
            .iter_from((hash, 0))
            .take_while(|&(other, _)| other == hash)
            .map(|(_, number)| number)
            .find(|&number| is_it(number))
    }

    fn is(&self, name: u32, text: &str) -> bool {
        let mut rest = text;
        let mut at = name;
        loop {
            let Some(after) = rest.strip_prefix(self.texts.text(self.name(at).text)) else {
                return false;
            };
            let Some(above) = self.above(at) else {
                return after.is_empty();
            };
            at = above;
            if self.above(at).is_none() {
                return after.is_empty();
            }
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => return false,
            }
        }
    }

    fn name(&self, name: u32) -> Name {
        *self.names.get(name).expect("a name has a number of this table")
    }
}

/// Tables take the bits of both ends.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// What a name stands for that has these claims: the first two of them are enough, in their order.
pub(super) fn meaning(claims: impl IntoIterator<Item = Claim>) -> Meaning {
    let mut claims = claims.into_iter();
    match (claims.next(), claims.next().map(|claim| claim.rank)) {
        (
            Some(Claim {
                rank: Rank::Principal,
                ..
            }),
            Some(Rank::Principal | Rank::Other),
        ) => Meaning::Many,
        (
            Some(Claim {
                rank: Rank::Principal,
                slot,
                ..
            }),
            _,
        ) => Meaning::Principal(slot),
        (
            Some(Claim {
                rank: Rank::Other, ..
            }),
            _,
        ) => Meaning::Other,
        (
            Some(Claim {
                rank: Rank::Unclear, ..
            })
            | None,
            _,
        ) => Meaning::Unseen,
    }
}

/// Texts, one after the other.
#[derive(Clone, Debug, Default)]
struct Texts {
    chunks: Table<Arc<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    chunk: u32,
    start: u32,
    len: u32,
}

impl Texts {
    /// What is copied at most when a clone shares the last chunk.
    const CHUNK: usize = 4096;

    fn push(&mut self, text: &str) -> Span {
        let last = u32::try_from(self.chunks.len()).expect("memory ends before 2^32 chunks are kept");
        let has_room = |chunk: &Arc<String>| chunk.len() + text.len() <= Self::CHUNK;
        let chunk = match last.checked_sub(1) {
            Some(last) if self.chunks.get(last).is_some_and(has_room) => last,
            _ => self.chunks.push(Arc::default()),
        };
        let content = Arc::make_mut(self.chunks.get_mut(chunk).expect("the chunk is there"));
        let number = |at: usize| u32::try_from(at).expect("limits end texts before 4 GiB");
        let start = number(content.len());
        content.push_str(text);
        Span {
            chunk,
            start,
            len: number(text.len()),
        }
    }

    fn text(&self, span: Span) -> &str {
        let chunk = self.chunks.get(span.chunk).expect("a span is in a chunk");
        &chunk[span.start as usize..][..span.len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_numbers() {
        let mut names = Names::default();
        let texts = [
            "uid=a,ou=b,dc=x",
            "dc=x",
            "",
            "cn=\\,,dc=x",
            "uid=a",
            "uid=a,ou=bb,dc=x",
            "ou=b,dc=x",
        ];
        let numbers: Vec<u32> = texts
            .iter()
            .map(|text| names.number(NameKind::Dn, text))
            .collect();
        let before = names.clone();
        let login = names.number(NameKind::Login, "uid=a");
        for (text, &number) in texts.iter().zip(&numbers) {
            assert_eq!(names.text(number), *text);
            assert_eq!(names.number(NameKind::Dn, text), number, "{text}");
            assert_eq!(before.find(NameKind::Dn, text), Some(number), "{text}");
        }
        assert!(!numbers.contains(&login));
        assert_eq!(before.find(NameKind::Login, "uid=a"), None);
        assert_eq!(names.find(NameKind::Dn, "uid=a,ou=b"), None);
        assert_eq!(names.find(NameKind::Dn, "uid=a,ou=b,dc=x,dc=x"), None);
        let [a, x, root, _, _, _, b] = numbers[..] else {
            panic!()
        };
        assert_eq!(
            (names.above(a), names.above(b), names.above(x), names.above(root)),
            (Some(b), Some(x), Some(root), None)
        );
        assert_eq!(names.below(b).collect::<Vec<_>>(), [a]);
        assert!(names.is_empty(root) && !names.is_empty(x));
        let moved = names.moved_below(a, x);
        assert_eq!(names.text(moved), "uid=a,dc=x");
        let moved = names.moved_below(a, root);
        assert_eq!(names.text(moved), "uid=a");
    }
}
