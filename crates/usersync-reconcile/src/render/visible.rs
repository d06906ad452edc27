//! Characters that nobody sees, made visible.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with every character that is invisible, ends a line or turns the direction of its surroundings written as
/// `\u{…}`. The result is one line. For hosts that show what a directory says on a terminal or in a log; the renderings of a plan do
/// so themselves.
///
/// ```
/// # use usersync_reconcile::visible;
/// assert_eq!(visible("Ada\u{1b}[2J"), "Ada\\u{1b}[2J");
/// assert_eq!(visible("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
/// ```
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_deceptive(c) {
            write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("a string takes all that is written to it");
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, combining grapheme joiner, Arabic letter mark, Hangul fillers, Khmer inherent vowels,
            // Mongolian vowel separator.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            // Zero-width space, direction marks. The joiners U+200C and U+200D are part of ordinary words.
            | '\u{200b}' | '\u{200e}' | '\u{200f}'
            // Separators of lines and paragraphs, embeddings, overrides, isolates, invisible operators.
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Hangul fillers, byte order mark, annotations, tags.
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
