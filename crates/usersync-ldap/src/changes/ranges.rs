//! Attributes with more values than the server returns at once ([MS-ADTS] 3.1.1.3.1.3.3).

use usersync_connector::{Error, ErrorKind};
use usersync_model::{PartialKind, PartialReason};

use crate::client::{Base, Control, FoundEntry, Item, Search, Session, reason};
use crate::entry::Entry;
use crate::filter::Filter;
use crate::url::Scope;

/// How often an attribute is read from its beginning because it changed under the reader.
const ATTEMPTS: u32 = 4;

/// What bounds the values of one attribute, and with which controls the entry was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeLimits<'a> {
    /// How many values an attribute may have.
    pub(crate) values: usize,
    /// Those that change how values look, such as the one for extended DNs.
    pub(crate) controls: &'a [Control],
}

/// The values `low` to `high` of an attribute, counted from zero; to the last one without `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: Option<u64>,
}

/// The entry with all values of its attributes, and no range in their names; together with the reason why some may be
/// missing, if the server does not show them.
///
/// # Errors
/// Those of the connection. That the entry is gone meanwhile, say, is a reason.
pub(crate) async fn complete_ranges(
    session: &mut Session,
    found: FoundEntry,
    limits: RangeLimits<'_>,
) -> Result<(Entry, Option<PartialReason>), Error> {
    let cut = |name: &str| matches!(split(name), Ok((_, Some(_))) | Err(()));
    if !found.entry.attributes().any(|(name, _)| cut(name)) {
        return Ok((found.entry, None));
    }
    let mut whole = Entry::new(found.entry.dn().clone());
    let mut pieces: Vec<Piece> = Vec::new();
    let mut missing = None;
    for (name, value) in found.entry.attributes() {
        match split(name) {
            Ok((_, None)) => whole.push(name, value),
            Ok((attribute, Some(range))) => match pieces.iter_mut().find(|piece| piece.is(&attribute, range))
            {
                Some(piece) => piece.values.push(value.to_vec()),
                None => pieces.push(Piece {
                    attribute,
                    range,
                    values: vec![value.to_vec()],
                }),
            },
            Err(()) => {
                missing = Some(partial(format!(
                    "the server shows a part of an attribute, `{name}`, that is none"
                )))
            }
        }
    }
    let base = found
        .entry
        .values("objectGUID")
        .next()
        .and_then(|guid| guid.try_into().ok());
    let base = base.map_or_else(|| Base::Dn(found.entry.dn().clone()), Base::Guid);
    for piece in pieces {
        let attribute = piece.attribute.clone();
        let mut reader = Reader::new(limits.values);
        let mut next = reader.take(piece);
        while let Ok(Next::From(low)) = next {
            next = match read(session, &base, &attribute, low, limits.controls).await? {
                Ok(piece) => reader.take(piece),
                Err(reason) => Err(reason),
            };
        }
        if let Err(reason) = next {
            missing.get_or_insert(reason);
        }
        for value in &reader.values {
            whole.push(&attribute, value);
        }
    }
    Ok((whole, missing))
}

/// Some values of an attribute, as the server gave them.
#[derive(Clone, Debug)]
struct Piece {
    attribute: String,
    range: Range,
    values: Vec<Vec<u8>>,
}

impl Piece {
    fn is(&self, attribute: &str, range: Range) -> bool {
        self.range == range && self.attribute.eq_ignore_ascii_case(attribute)
    }
}

/// What to ask for after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Done,
    From(u64),
}

/// Puts pieces together. Each piece but the first begins with the last value of the one before it: where it does not,
/// values came or went meanwhile, and one of them may have slipped from a piece not yet read into one that was.
#[derive(Clone, Debug)]
struct Reader {
    values: Vec<Vec<u8>>,
    limit: usize,
    attempts: u32,
}

impl Reader {
    fn new(limit: usize) -> Self {
        Self {
            values: Vec::new(),
            limit,
            attempts: 1,
        }
    }

    fn take(&mut self, piece: Piece) -> Result<Next, PartialReason> {
        let Piece {
            attribute,
            range,
            values,
        } = piece;
        let count = values.len() as u64;
        let stated = range
            .high
            .map(|high| high.checked_sub(range.low).and_then(|n| n.checked_add(1)));
        if stated.is_some_and(|stated| stated != Some(count)) {
            return Err(partial(format!(
                "the server shows {count} values of `{attribute}`, and says that they are others"
            )));
        }
        let known = self.values.len() as u64;
        if known == 0 && range.low == 0 {
            self.values = values;
        } else if known == 0 || range.low != known - 1 {
            return Err(partial(format!(
                "the server shows values of `{attribute}` that were not asked for"
            )));
        } else if values.first() == self.values.last() {
            self.values.extend(values.into_iter().skip(1));
        } else if self.attempts == ATTEMPTS {
            return Err(partial(format!(
                "`{attribute}` changes faster than it can be read"
            )));
        } else {
            self.attempts += 1;
            self.values.clear();
            return Ok(Next::From(0));
        }
        if self.values.len() > self.limit {
            let limit = self.limit;
            self.values.truncate(limit);
            let text =
                format!("`{attribute}` has more than {limit} values; raise the limit if they are real");
            return Err(PartialReason::new(PartialKind::Limit, text));
        }
        match range.high {
            None => Ok(Next::Done),
            Some(_) if self.values.len() as u64 == known => Err(partial(format!(
                "the server does not go on showing values of `{attribute}`"
            ))),
            Some(high) => Ok(Next::From(high)),
        }
    }
}

async fn read(
    session: &mut Session,
    base: &Base,
    attribute: &str,
    low: u64,
    controls: &[Control],
) -> Result<Result<Piece, PartialReason>, Error> {
    let search = Search {
        base: base.clone(),
        scope: Scope::Base,
        filter: Filter::present("objectClass").expect("`objectClass` is an attribute"),
        attributes: vec![format!("{attribute};range={low}-*")],
        controls: controls.to_vec(),
    };
    let mut found = session.search(&search).await?;
    let mut entry = None;
    while let Some(item) = found.next().await? {
        if let Item::Entry(found) = item
            && entry.replace(found.entry).is_some()
        {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "the server shows several entries with one name",
            ));
        }
    }
    let (code, _) = found.end().await;
    if !code.is_success() {
        return Ok(Err(reason(&code.error())));
    }
    let Some(entry) = entry else {
        return Ok(Err(partial(
            "the entry went away while its values were read".to_owned(),
        )));
    };
    let mut piece: Option<Piece> = None;
    for (name, value) in entry.attributes() {
        let range = match split(name) {
            Ok((other, range)) if other.eq_ignore_ascii_case(attribute) => range,
            Ok(_) => continue,
            Err(()) => {
                return Ok(Err(partial(format!(
                    "the server shows a part of `{attribute}` that is none"
                ))));
            }
        };
        // Without a range, these are all values.
        let range = range.unwrap_or(Range { low: 0, high: None });
        match &mut piece {
            Some(piece) if piece.range == range => piece.values.push(value.to_vec()),
            Some(_) => {
                return Ok(Err(partial(format!(
                    "the server shows two parts of `{attribute}` at once"
                ))));
            }
            None => {
                piece = Some(Piece {
                    attribute: attribute.to_owned(),
                    range,
                    values: vec![value.to_vec()],
                });
            }
        }
    }
    Ok(piece.ok_or_else(|| {
        partial(format!(
            "the server does not go on showing values of `{attribute}`"
        ))
    }))
}

/// The name of an attribute without its range, and the range, if it has one.
pub(super) fn split(description: &str) -> Result<(String, Option<Range>), ()> {
    let mut parts = description.split(';');
    let mut name = parts.next().unwrap_or_default().to_owned();
    let mut range = None;
    for option in parts {
        match option.split_once('=') {
            Some((key, bounds)) if key.eq_ignore_ascii_case("range") => {
                if range.replace(bounds_of(bounds).ok_or(())?).is_some() {
                    return Err(());
                }
            }
            _ => {
                name.push(';');
                name.push_str(option);
            }
        }
    }
    Ok((name, range))
}

fn bounds_of(text: &str) -> Option<Range> {
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    let (low, high) = text.split_once('-')?;
    let low = number(low)?;
    let high = match high {
        "*" => None,
        high => Some(number(high).filter(|&high| low <= high)?),
    };
    Some(Range { low, high })
}

fn partial(text: String) -> PartialReason {
    PartialReason::new(PartialKind::Failed, text)
}
