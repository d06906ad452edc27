//! Values as caseIgnoreMatch compares them (RFC 4518).

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Gives the characters of `text`, prepared for comparison, to `push` one by one. Allocates nothing for ASCII.
///
/// Preparing what was prepared changes nothing.
pub(super) fn each(text: &str, push: impl FnMut(char)) {
    if text.is_ascii() {
        let mapped = text.chars().filter_map(map_ascii);
        words(mapped.map(|c| c.to_ascii_lowercase()), push);
    } else {
        // Normalization uncovers capitals, such as those of mathematical letters, so that both steps are needed twice.
        let once = text.chars().filter_map(map).flat_map(char::to_lowercase).nfkc();
        words(once.flat_map(char::to_lowercase).nfkc(), push);
    }
}

/// Leaves out the spaces at both ends and all but one of those that follow each other (section 2.6.1). What a
/// combining mark follows is no such space.
fn words(chars: impl Iterator<Item = char>, mut push: impl FnMut(char)) {
    let mut chars = chars.peekable();
    let mut begun = false;
    let mut space = false;
    while let Some(c) = chars.next() {
        if c == ' '
            && !chars
                .peek()
                .is_some_and(|&next| !next.is_ascii() && is_combining_mark(next))
        {
            space = begun;
            continue;
        }
        if std::mem::take(&mut space) {
            push(' ');
        }
        push(c);
        begun = true;
    }
}

/// The step "Map" (section 2.2) without the folding of case: none for a character that is left out.
fn map(c: char) -> Option<char> {
    match c {
        '\0'..='\u{7f}' => map_ascii(c),
        '\u{85}'
        | '\u{a0}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200a}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{202f}'
        | '\u{205f}'
        | '\u{3000}' => Some(' '),
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{1806}'
        | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2063}'
        | '\u{206a}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffc}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}'
        | '\u{e0020}'..='\u{e007f}' => None,
        _ => Some(c),
    }
}

fn map_ascii(c: char) -> Option<char> {
    match c {
        '\t'..='\r' => Some(' '),
        _ if c.is_ascii_control() => None,
        _ => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> String {
        let mut out = String::new();
        each(text, |c| out.push(c));
        out
    }

    #[test]
    fn examples() {
        for (text, expected) in [
            ("", ""),
            (" \t\r\n", ""),
            ("\0a\u{7f}B\u{b}c", "ab c"),
            ("JÖRG", "jörg"),
            ("JO\u{308}RG", "jörg"),
            ("İ", "i\u{307}"),
            ("ı", "ı"),
            ("Straße", "straße"),
            ("STRAẞE", "straße"),
            ("ΣΟΦΟΣ", "σοφοσ"),
            ("\u{212b}ngström", "ångström"),
            ("ﬁ ＡＢＣ，", "fi abc,"),
            ("𝐀ℂ㏆", "acc\u{2215}kg"),
            ("soft\u{ad}\u{200b}\u{feff}hyphen", "softhyphen"),
            ("a\u{a0}\u{3000}b\u{2028}", "a b"),
            (" \u{308}a  \u{308}", " \u{308}a  \u{308}"),
            ("¨", " \u{308}"),
            ("Ⅷ", "viii"),
        ] {
            assert_eq!(prepared(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_character_is_prepared_once_and_for_all() {
        for c in '\0'..=char::MAX {
            let first = prepared(c.encode_utf8(&mut [0; 4]));
            assert_eq!(prepared(&first), first, "{c:?}");
            let decomposed: String = [c].into_iter().nfd().collect();
            assert_eq!(prepared(&decomposed), first, "{c:?} decomposed");
            let folded: String = c.to_lowercase().collect();
            assert_eq!(prepared(&folded), first, "{c:?} in lower case");
        }
    }

    #[test]
    fn ascii_is_prepared_alike_on_both_ways() {
        for c in '\0'..='\x7f' {
            let ascii = prepared(&format!("a{c}b"));
            assert_eq!(prepared(&format!("a{c}bé")), format!("{ascii}é"), "{c:?}");
        }
    }
}
