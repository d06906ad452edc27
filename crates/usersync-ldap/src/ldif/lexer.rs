//! Physical lines to logical ones: line ends, folding and comments.

use std::io::{self, BufRead};

use super::error::{LdifError, LdifErrorKind};

/// What stands next in the file. The text of a line is in [`Lexer::line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Blank,
    End,
    /// A logical line with the number of its first physical line.
    Line(u64),
}

#[derive(Debug)]
pub(super) struct Lexer<R> {
    input: R,
    /// Physical lines read so far.
    lines: u64,
    line_bytes: usize,
    buffer: Vec<u8>,
    /// The comment that nothing but blank lines has followed so far.
    comment: Option<Vec<u8>>,
}

impl<R: BufRead> Lexer<R> {
    pub(super) fn new(input: R, line_bytes: usize) -> Self {
        Self {
            input,
            lines: 0,
            line_bytes,
            buffer: Vec::new(),
            comment: None,
        }
    }

    pub(super) fn line(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn comment(&self) -> Option<&[u8]> {
        self.comment.as_deref()
    }

    pub(super) fn next(&mut self) -> Result<Token, LdifError> {
        loop {
            let Some(first) = self.peek()? else {
                return Ok(Token::End);
            };
            let number = self.lines + 1;
            self.buffer.clear();
            if first == b' ' {
                return Err(LdifError::new(number, LdifErrorKind::Continuation));
            }
            self.logical_line(number)?;
            if first == b'#' {
                let comment = self.comment.get_or_insert_default();
                comment.clear();
                comment.extend_from_slice(&self.buffer[1..]);
                continue;
            }
            if self.buffer.is_empty() {
                return Ok(Token::Blank);
            }
            self.comment = None;
            if self.buffer.iter().any(|&b| b == b'\0' || b == b'\r') {
                return Err(LdifError::new(number, LdifErrorKind::Character));
            }
            return Ok(Token::Line(number));
        }
    }

    fn logical_line(&mut self, number: u64) -> Result<(), LdifError> {
        self.physical_line(number)?;
        if number == 1 && has_byte_order_mark(&self.buffer) {
            return Err(LdifError::new(number, LdifErrorKind::ByteOrderMark));
        }
        // What follows an empty line continues nothing (RFC 2849, note 2); the next call refuses it.
        while !self.buffer.is_empty() && self.peek()? == Some(b' ') {
            self.input.consume(1);
            self.physical_line(number)?;
        }
        Ok(())
    }

    /// Appends what is left of the physical line, without its end.
    fn physical_line(&mut self, number: u64) -> Result<(), LdifError> {
        let start = self.buffer.len();
        loop {
            // One more than the limit, for the carriage return that may turn out to end the line.
            let room = self
                .line_bytes
                .saturating_add(1)
                .saturating_sub(self.buffer.len());
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LdifError::new(number, LdifErrorKind::Read(error))),
            };
            if chunk.is_empty() {
                let kind = if number == 1 && has_byte_order_mark(&self.buffer) {
                    LdifErrorKind::ByteOrderMark
                } else {
                    LdifErrorKind::Truncated
                };
                return Err(LdifError::new(number, kind));
            }
            let end = chunk.iter().position(|&b| b == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            if text.len() > room {
                return Err(self.too_long(number));
            }
            self.buffer.extend_from_slice(text);
            let used = text.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.lines += 1;
        if self.buffer[start..].ends_with(b"\r") {
            self.buffer.pop();
        }
        if self.buffer.len() > self.line_bytes {
            return Err(self.too_long(number));
        }
        Ok(())
    }

    fn too_long(&self, number: u64) -> LdifError {
        LdifError::new(number, LdifErrorKind::LineTooLong { max: self.line_bytes })
    }

    fn peek(&mut self) -> Result<Option<u8>, LdifError> {
        loop {
            match self.input.fill_buf() {
                Ok(chunk) => return Ok(chunk.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(LdifError::new(self.lines + 1, LdifErrorKind::Read(error)));
                }
            }
        }
    }
}

fn has_byte_order_mark(line: &[u8]) -> bool {
    [&b"\xEF\xBB\xBF"[..], b"\xFE\xFF", b"\xFF\xFE"]
        .iter()
        .any(|mark| line.starts_with(mark))
}
