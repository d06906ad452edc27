//! iCalendar and vCard.

use usersync::content::{Document, Outline};

use crate::is_fit_to_show;

/// Up to three texts, between bytes that no text has: what one place has, what it had, and what another has.
pub fn content(data: &[u8]) {
    let texts: Vec<&[u8]> = data.splitn(3, |&b| b == 0xff).collect();
    let documents: Vec<Document<'_>> = texts.iter().filter_map(|text| one(text)).collect();
    for from in &documents {
        for to in &documents {
            carried_over(to, from);
        }
    }
    if let [mine, before, theirs] = &documents[..] {
        merged(mine, before, theirs);
    }
}

fn one(text: &[u8]) -> Option<Document<'_>> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            is_fit_to_show(&error);
            return None;
        }
    };
    let outline = document.outline();
    let json = serde_json::to_string(&outline).expect("an outline has a JSON form");
    assert_eq!(
        serde_json::from_str::<Outline>(&json).ok().as_ref(),
        Some(&outline)
    );
    assert!(outline.changes_since(&outline).is_empty());
    // Nothing is carried over, and nothing changes.
    assert_eq!(
        document.patched(&document, &outline.changes_since(&outline)),
        text
    );
    for other in [10, usize::MAX]
        .into_iter()
        .filter_map(|width| refolded(text, width))
    {
        let other = Document::parse(&other).expect("the same lines are a text");
        assert_eq!(other.outline(), outline, "written another way");
        assert_eq!((other.uid(), other.title()), (document.uid(), document.title()));
    }
    let renamed = document.with_uid("another");
    let renamed = Document::parse(&renamed).expect("a text under another UID");
    if document.uid().is_some() {
        assert_eq!(renamed.uid(), Some("another"));
    }
    assert_eq!(renamed.component(), document.component());
    Some(document)
}

/// Where all that differs is carried over, both texts say the same.
fn carried_over(to: &Document<'_>, from: &Document<'_>) {
    if to.format() != from.format() {
        return;
    }
    let (old, new) = (to.outline(), from.outline());
    let changes = new.changes_since(&old);
    assert_eq!(changes.is_empty(), new == old);
    let patched = to.patched(from, &changes);
    let patched = Document::parse(&patched).expect("a patched text is a text");
    if version(to) == version(from) {
        assert_eq!(patched.outline(), new, "of {changes}:\n{patched}");
    }
    assert_eq!(old.taking(&changes, &new), new);
}

/// What changed elsewhere is carried over, and the rest stays: an entry remains an entry. Only texts of one UID are ever merged.
fn merged(mine: &Document<'_>, before: &Document<'_>, theirs: &Document<'_>) {
    if mine.format() != theirs.format() || before.format() != theirs.format() {
        return;
    }
    if mine.uid() != theirs.uid() || before.uid() != theirs.uid() {
        return;
    }
    let changes = theirs.outline().changes_since(&before.outline());
    let patched = mine.patched(theirs, &changes);
    assert!(
        Document::parse(&patched).is_ok(),
        "{}",
        String::from_utf8_lossy(&patched)
    );
}

/// The version of a card; of a calendar, there is one only.
fn version(document: &Document<'_>) -> String {
    let text = document.to_string();
    let mut lines = text
        .lines()
        .filter(|line| line.to_ascii_uppercase().starts_with("VERSION"));
    lines.next().unwrap_or_default().to_owned()
}

/// The text with other folds, other line breaks and names in another case; none for one with carriage returns that end no line.
fn refolded(text: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for physical in text.split(|&b| b == b'\n') {
        let physical = physical.strip_suffix(b"\r").unwrap_or(physical);
        match (physical, lines.last_mut()) {
            ([b' ' | b'\t', more @ ..], Some(line)) if !line.iter().all(u8::is_ascii_whitespace) => {
                line.extend_from_slice(more)
            }
            _ => lines.push(physical.to_vec()),
        }
    }
    if lines.concat().contains(&b'\r') {
        return None;
    }
    let mut out = Vec::new();
    for mut line in lines {
        let name = line.iter().position(|&b| matches!(b, b':' | b';')).unwrap_or(0);
        for byte in &mut line[..name] {
            *byte = if byte.is_ascii_lowercase() {
                byte.to_ascii_uppercase()
            } else {
                byte.to_ascii_lowercase()
            };
        }
        for (place, piece) in line.chunks(width.min(line.len().max(1))).enumerate() {
            if place > 0 {
                out.extend_from_slice(b"\n\t");
            }
            out.extend_from_slice(piece);
        }
        out.push(b'\n');
    }
    Some(out)
}
