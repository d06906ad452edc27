//! Values of attributes as values of records.

use std::collections::BTreeSet;

use usersync_model::Value;

use crate::entry::Entry;

/// How the values of an attribute are read. Equal sets of values give equal results, whatever their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ValueForm {
    /// Any bytes; of several values the least.
    Bytes,
    /// `TRUE` or `FALSE`, in any case.
    Flag,
    /// A whole number of at most 64 bits, with its sign.
    Integer,
    /// Text; of several values the least, in the order of their bytes.
    Text,
    /// All values, as texts.
    Texts,
}

/// A value is not in the form expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongForm;

impl ValueForm {
    /// The value of an attribute; none when the entry does not show it.
    pub(crate) fn read(self, entry: &Entry, attribute: &str) -> Result<Option<Value>, WrongForm> {
        let mut values = entry.values(attribute);
        Ok(match self {
            Self::Bytes => values.min().map(|bytes| Value::Bytes(bytes.to_vec())),
            Self::Flag => one(values, flag)?.map(Value::Flag),
            Self::Integer => one(values, integer)?.map(Value::Integer),
            Self::Text => {
                let texts: Vec<&str> = values.map(text).collect::<Result<_, _>>()?;
                texts.into_iter().min().map(|text| Value::Text(text.to_owned()))
            }
            Self::Texts => {
                let texts: BTreeSet<String> = values
                    .by_ref()
                    .map(|value| text(value).map(str::to_owned))
                    .collect::<Result<_, _>>()?;
                (!texts.is_empty()).then_some(Value::Set(texts))
            }
        })
    }
}

/// The one value there is. Several that mean the same are one, others are none that anybody could choose from.
fn one<'a, T: PartialEq>(
    values: impl Iterator<Item = &'a [u8]>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, WrongForm> {
    let mut found = None;
    for value in values {
        let value = read(text(value)?.trim()).ok_or(WrongForm)?;
        if found.as_ref().is_some_and(|found| *found != value) {
            return Err(WrongForm);
        }
        found = Some(value);
    }
    Ok(found)
}

fn text(value: &[u8]) -> Result<&str, WrongForm> {
    std::str::from_utf8(value).map_err(|_| WrongForm)
}

fn flag(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("TRUE") => Some(true),
        _ if text.eq_ignore_ascii_case("FALSE") => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}
