//! Texts that nobody should write.

use proptest::prelude::*;
use usersync_content::Document;

#[test]
fn a_text_that_is_not_understood_says_where() {
    let event = |inner: &str| format!("BEGIN:VCALENDAR\n{inner}END:VCALENDAR\n");
    for (text, message) in [
        (
            String::new(),
            "line 0: the text is neither a calendar nor a card; it has to begin with BEGIN:VCALENDAR or BEGIN:VCARD",
        ),
        (
            "FN:x\n".into(),
            "line 1: the text is neither a calendar nor a card; it has to begin with BEGIN:VCALENDAR or BEGIN:VCARD",
        ),
        (
            "BEGIN:VNOTE\nEND:VNOTE".into(),
            "line 2: the text is neither a calendar nor a card; it has to begin with BEGIN:VCALENDAR or BEGIN:VCARD",
        ),
        (
            "BEGIN:VCARD\nFN:x\n".into(),
            "line 2: the text ends within VCARD; it was cut short",
        ),
        (
            "BEGIN:VCARD\nFN x\nEND:VCARD".into(),
            "line 2: a line has to be a name, parameters, a colon and a value",
        ),
        (
            "BEGIN:VCARD\nFN;A=\"x:\nEND:VCARD".into(),
            "line 2: a line has to be a name, parameters, a colon and a value",
        ),
        (
            "BEGIN:VCARD\nEND:VCARD\nFN:x".into(),
            "line 3: text follows the end; one text holds one calendar or card",
        ),
        (
            "BEGIN:VCARD\nEND:VEVENT".into(),
            "line 2: VEVENT ends where VCARD is open",
        ),
        (
            event("BEGIN:VEVENT\nUID:1\nEND:VEVENT\nBEGIN:VEVENT\nUID:2\nEND:VEVENT\n"),
            "line 5: the text holds entries of different UIDs; one text holds one entry",
        ),
        (
            event("BEGIN:VEVENT\nUID:1\nEND:VEVENT\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\n"),
            "line 5: VEVENT is there twice; one text holds one entry",
        ),
        (
            "BEGIN:VCARD\n".repeat(100_000),
            "line 17: components are nested more than 16 deep",
        ),
    ] {
        let error = Document::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = Document::parse(b"BEGIN:VCARD\nFN:\xff\nEND:VCARD\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: the line is not UTF-8; store the text as UTF-8"
    );
}

proptest! {
    #[test]
    fn nothing_makes_it_fall(
        parts in prop::collection::vec(prop_oneof![
            Just(b"BEGIN:VCARD\r\n".to_vec()),
            Just(b"END:VCARD\r\n".to_vec()),
            Just(b"BEGIN:VCALENDAR\n".to_vec()),
            Just(b"END:VCALENDAR\n".to_vec()),
            Just(b"BEGIN:VEVENT\n".to_vec()),
            Just(b"END:VEVENT\n".to_vec()),
            Just(b"UID:1\n".to_vec()),
            Just(b"PHOTO;ENCODING=b:".to_vec()),
            Just(b" \xc3".to_vec()),
            Just(b"BDAY:\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4".to_vec()),
            "[ -~\r\n\\\\;:,\"]{0,20}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8),
        ], 0..12)
    ) {
        let text = parts.concat();
        if let Ok(document) = Document::parse(&text) {
            let outline = document.outline();
            let changes = outline.changes_since(&usersync_content::Outline::default());
            prop_assert_eq!(document.patched(&document, &Default::default()), text.clone());
            let patched = document.patched(&document, &changes);
            let again = Document::parse(&patched).map(|document| document.outline());
            prop_assert_eq!(again, Ok(outline), "{}", String::from_utf8_lossy(&patched));
        }
    }
}
