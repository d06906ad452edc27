//! Characters that nobody sees, made visible.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with every character that is invisible, ends a line or turns the direction of its surroundings written as
/// `\u{…}`; only the joiners that ordinary words and emoji have, and the mark of an emoji behind its symbol, stay as they are. The
/// result is one line. For hosts that show what a directory says on a terminal or in a log; explanations and the renderings
/// of a plan do so themselves.
///
/// ```
/// # use usersync_model::visible;
/// assert_eq!(visible("Ada\u{1b}[2J"), "Ada\\u{1b}[2J");
/// assert_eq!(visible("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
/// ```
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    for c in text.chars() {
        let is_of_emoji = c == EMOJI && is_symbol(before);
        before = c;
        if is_deceptive(c) && !is_of_emoji {
            write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("a string takes all that is written to it");
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Asks for the colours of the symbol before it.
const EMOJI: char = '\u{fe0f}';

fn is_symbol(c: char) -> bool {
    !c.is_ascii() && !c.is_alphanumeric() && !c.is_whitespace() && !is_deceptive(c)
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, combining grapheme joiner, Arabic letter mark, Hangul fillers, Khmer inherent vowels,
            // Mongolian selectors of variants and vowel separator.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            // Zero-width space, direction marks. The joiners U+200C and U+200D are part of ordinary words.
            | '\u{200b}' | '\u{200e}' | '\u{200f}'
            // Separators of lines and paragraphs, embeddings, overrides, isolates, invisible operators.
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Hangul fillers, selectors of variants, byte order mark, annotations, tags.
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
            // Controls of shorthand and of musical notation.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
}
