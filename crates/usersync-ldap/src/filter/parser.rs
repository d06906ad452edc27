//! The string form of filters (RFC 4515, section 3), read without recursion and written in its canonical form.

use super::{Filter, FilterError, MAX_BYTES, MAX_DEPTH, is_description, is_rule, push_byte};
use crate::dn::hex_byte;

/// Reads the text of a filter.
pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAX_BYTES {
        return Err(FilterError::TooLarge);
    }
    let mut parser = Parser {
        bytes: text.trim_end_matches(is_space).as_bytes(),
        at: 0,
        filter: Filter::empty(),
    };
    parser.filter()?;
    parser.filter.checked()
}

/// A term whose filters are being read.
struct Open {
    /// Where its parenthesis stands.
    at: usize,
    expects: Expects,
}

#[derive(PartialEq)]
enum Expects {
    /// Any number of filters, after `&` and `|`.
    Any,
    /// The filter of `!` was read.
    Nothing,
    /// The filter of `!` is to come.
    One,
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What was read until now. Its depth is that of the deepest term.
    filter: Filter,
}

impl<'a> Parser<'a> {
    fn filter(&mut self) -> Result<(), FilterError> {
        self.spaces();
        if !matches!(self.peek(), None | Some(b'(' | b')')) {
            self.begin(1)?;
            self.item()?;
        } else {
            self.terms()?;
        }
        self.spaces();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(FilterError::Trailing { at: self.at }),
        }
    }

    /// Reads one term and what it consists of.
    fn terms(&mut self) -> Result<(), FilterError> {
        let mut stack = vec![];
        loop {
            self.spaces();
            match self.peek() {
                Some(b'(') => {
                    if let Some(Open { expects, .. }) = stack.last_mut() {
                        match expects {
                            Expects::Any => {}
                            Expects::Nothing => return Err(FilterError::Trailing { at: self.at }),
                            Expects::One => *expects = Expects::Nothing,
                        }
                    }
                    let depth = stack.len() + 1;
                    stack.extend(self.term(depth)?);
                }
                Some(b')') => {
                    if stack.pop().is_none_or(|open| open.expects == Expects::One) {
                        return Err(FilterError::Term { at: self.at });
                    }
                    self.at += 1;
                    self.filter.text.push(')');
                }
                Some(_) => return Err(FilterError::Term { at: self.at }),
                None => {
                    return Err(stack.last().map_or(FilterError::Term { at: self.at }, |open| {
                        FilterError::Unclosed { at: open.at }
                    }));
                }
            }
            if stack.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads a term to its end, or to the filters in it.
    fn term(&mut self, depth: usize) -> Result<Option<Open>, FilterError> {
        let start = self.at;
        self.at += 1;
        self.spaces();
        self.begin(depth)?;
        match self.peek() {
            Some(operator @ (b'&' | b'|')) => {
                self.at += 1;
                self.filter.text.push(char::from(operator));
                Ok(Some(Open {
                    at: start,
                    expects: Expects::Any,
                }))
            }
            Some(b'!') => {
                self.at += 1;
                self.filter.text.push('!');
                self.spaces();
                if matches!(self.peek(), None | Some(b'(' | b')')) {
                    return Ok(Some(Open {
                        at: start,
                        expects: Expects::One,
                    }));
                }
                self.begin(depth + 1)?;
                self.item()?;
                self.filter.text.push(')');
                self.end(start)
            }
            _ => {
                self.item()?;
                self.end(start)
            }
        }
    }

    fn begin(&mut self, depth: usize) -> Result<(), FilterError> {
        let filter = &mut self.filter;
        filter.depth = filter.depth.max(depth);
        filter.terms += 1;
        filter.text.push('(');
        // The stack grows with the depth.
        if filter.depth > MAX_DEPTH {
            return Err(FilterError::TooLarge);
        }
        Ok(())
    }

    /// Steps over the parenthesis at the end of the comparison that began at `start`.
    fn end(&mut self, start: usize) -> Result<Option<Open>, FilterError> {
        // The closing parenthesis was written with the comparison.
        if self.peek() != Some(b')') {
            return Err(FilterError::Unclosed { at: start });
        }
        self.at += 1;
        Ok(None)
    }

    /// Reads a comparison, and stops at the parenthesis after it or at the end.
    fn item(&mut self) -> Result<(), FilterError> {
        let start = self.at;
        let attribute = self.name(|b| b == b';');
        let lacks_attribute = attribute.is_empty() && self.peek() == Some(b':');
        if !lacks_attribute && !is_description(attribute) {
            return Err(FilterError::Attribute { at: start });
        }
        self.copy(attribute);
        match (self.peek(), self.bytes.get(self.at + 1)) {
            (Some(b'='), _) => {
                self.at += 1;
                self.filter.text.push('=');
                self.value()?;
                while self.peek() == Some(b'*') {
                    self.at += 1;
                    self.filter.push_asterisk();
                    self.value()?;
                }
            }
            (Some(operator @ (b'>' | b'<' | b'~')), Some(b'=')) => {
                self.at += 2;
                self.filter.text.extend([char::from(operator), '=']);
                self.last_value()?;
            }
            (Some(b':'), _) => {
                self.rule(lacks_attribute)?;
                self.last_value()?;
            }
            _ => return Err(FilterError::Operator { at: self.at }),
        }
        self.filter.text.push(')');
        Ok(())
    }

    /// Reads `:dn`, `:rule`, both in this order, or neither, and `:=`.
    fn rule(&mut self, demanded: bool) -> Result<(), FilterError> {
        let (mut flag, mut rule) = (false, false);
        loop {
            self.at += 1;
            if self.peek() == Some(b'=') && (rule || !demanded) {
                self.at += 1;
                self.filter.text.push_str(":=");
                return Ok(());
            }
            let start = self.at;
            let name = self.name(|_| false);
            if name.eq_ignore_ascii_case(b"dn") && !flag && !rule {
                flag = true;
                self.filter.text.push_str(":dn");
            } else if is_rule(name) && !rule {
                rule = true;
                self.filter.text.push(':');
                self.copy(name);
            } else {
                return Err(FilterError::Rule { at: start });
            }
            if self.peek() != Some(b':') {
                return Err(FilterError::Operator { at: self.at });
            }
        }
    }

    fn last_value(&mut self) -> Result<(), FilterError> {
        self.value()?;
        match self.peek() {
            Some(b'*') => Err(FilterError::Unescaped { at: self.at }),
            _ => Ok(()),
        }
    }

    /// Reads a value, or a part of one, and stops at the asterisk or the parenthesis after it or at the end.
    fn value(&mut self) -> Result<(), FilterError> {
        loop {
            let at = self.at;
            let byte = match self.peek() {
                None | Some(b')' | b'*') => return Ok(()),
                Some(b'(' | b'\0') => return Err(FilterError::Unescaped { at }),
                Some(b'\\') => {
                    let digits = self.bytes.get(at + 1).zip(self.bytes.get(at + 2));
                    self.at += 3;
                    digits
                        .and_then(|(&high, &low)| hex_byte(high, low))
                        .ok_or(FilterError::Escape { at })?
                }
                Some(byte) => {
                    self.at += 1;
                    byte
                }
            };
            push_byte(byte, &mut self.filter.text);
        }
    }

    fn name(&mut self, more: impl Fn(u8) -> bool) -> &'a [u8] {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || more(b))
        {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    fn copy(&mut self, name: &[u8]) {
        self.filter.text.extend(name.iter().copied().map(char::from));
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(|b| is_space(char::from(b))) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
