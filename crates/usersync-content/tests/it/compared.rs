//! Texts that say the same have equal outlines, and others do not.

use proptest::prelude::*;
use usersync_content::{Changes, Document};

use crate::generate::{calendar_of, card, card_of, event, manner};

fn card_text(lines: &str) -> String {
    format!("BEGIN:VCARD\nVERSION:4.0\nUID:1\nFN:Ada\n{lines}\nEND:VCARD\n")
}

fn event_text(lines: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n")
}

fn changes(before: &str, after: &str) -> Changes {
    let parse = |text: &str| Document::parse(text.as_bytes()).map(|document| document.outline());
    let outline = |text| parse(text).expect("samples are well-formed");
    outline(after).changes_since(&outline(before))
}

proptest! {
    #[test]
    fn the_manner_of_writing_is_no_change(lines in event(), manner in manner()) {
        let plain = calendar_of(&lines);
        let other = manner.rewrite(&calendar_of(&manner.reorder(&lines)));
        let outline = |text: &[u8]| Document::parse(text).unwrap().outline();
        prop_assert_eq!(outline(&plain), outline(&other));
    }

    #[test]
    fn the_manner_of_writing_a_card_is_no_change(lines in card(), manner in manner()) {
        let plain = card_of(&lines);
        let other = manner.rewrite(&card_of(&manner.reorder(&lines)));
        let outline = |text: &[u8]| Document::parse(text).unwrap().outline();
        prop_assert_eq!(outline(&plain), outline(&other));
    }

    /// The oracle compares the lines themselves.
    #[test]
    fn what_differs_is_named(before in event(), after in event()) {
        let of = |lines: &[String]| Document::parse(&calendar_of(lines)).unwrap().outline();
        let names = |lines: &[String], others: &[String]| -> Vec<String> {
            let says_something = |line: &&String| !line.ends_with(':') && !line.contains("LOCATION;LANGUAGE=en:\n");
            lines
                .iter()
                .filter(|line| !others.contains(line))
                .filter(says_something)
                .map(|line| {
                    let line = line.strip_prefix("BEGIN:").unwrap_or(line);
                    line.split([';', ':', '\n']).next().unwrap().to_owned()
                })
                .collect()
        };
        let mut expected = [names(&before, &after), names(&after, &before)].concat();
        expected.sort();
        expected.dedup();
        prop_assert_eq!(of(&after).changes_since(&of(&before)).to_string(), expected.join(", "));
    }
}

#[test]
fn ways_to_say_the_same() {
    for (one, other) in [
        ("TEL;TYPE=\"work,voice\":+1", "TEL;VOICE;type=WORK:+1"),
        ("TEL;VALUE=uri:tel:+1-555", "TEL:+1-555"),
        (
            "EMAIL;TYPE=INTERNET;TYPE=PREF:a@b.example",
            "EMAIL;PREF=1:a@b.example",
        ),
        ("CATEGORIES:a,b", "CATEGORIES:b\nCATEGORIES:a"),
        ("NOTE:one\\, two\\; three", "NOTE:one, two; three"),
        ("NOTE:a\\Nb", "NOTE:a\\nb"),
        ("NOTE:", "X-EMPTY:"),
        ("N:Sample;Ada;;;", "N:Sample;Ada"),
        ("BDAY:1990-02-01", "BDAY:19900201"),
        (
            "PHOTO;ENCODING=b;TYPE=JPEG:AQID",
            "PHOTO:data:image/jpeg;base64,AQID",
        ),
        (
            "PHOTO;ENCODING=BASE64;TYPE=PNG:AQ ID",
            "PHOTO;MEDIATYPE=image/png;ENCODING=b:AQID",
        ),
        ("a.TEL:1\na.X-ABLABEL:home", "item9.X-ABLABEL:home\nitem9.TEL:1"),
        ("item1.TEL:1", "TEL:1"),
        ("REV:20260101", "PRODID:x"),
    ] {
        assert_eq!(
            changes(&card_text(one), &card_text(other)).to_string(),
            "",
            "{one} | {other}"
        );
    }
    for (one, other) in [
        (
            "DTSTART;VALUE=DATE-TIME:20260101T000000Z",
            "DTSTART:20260101T000000Z",
        ),
        (
            "RRULE:FREQ=DAILY;BYDAY=TU,MO",
            "RRULE:BYDAY=MO,TU;FREQ=DAILY;INTERVAL=1",
        ),
        ("EXDATE:20260101,20260102", "EXDATE:20260102\nEXDATE:20260101"),
        ("TRANSP:OPAQUE\nCLASS:PUBLIC\nSEQUENCE:3", "X-EMPTY:"),
        (
            "ATTENDEE;ROLE=REQ-PARTICIPANT;RSVP=FALSE:MAILTO:A@b.example",
            "ATTENDEE:mailto:a@b.example",
        ),
        ("STATUS:confirmed", "STATUS:CONFIRMED"),
    ] {
        assert_eq!(
            changes(&event_text(one), &event_text(other)).to_string(),
            "",
            "{one} | {other}"
        );
    }
}

#[test]
fn what_is_a_change() {
    for (one, other, expected) in [
        ("TEL;TYPE=work:+1", "TEL;TYPE=home:+1", "TEL"),
        ("N:Sample;Ada", "N:;Sample;Ada", "N"),
        ("NOTE:a\\nb", "NOTE:a\\\\nb", "NOTE"),
        (
            "PHOTO;ENCODING=b;TYPE=JPEG:AQID",
            "PHOTO;ENCODING=b;TYPE=JPEG:AQIE",
            "PHOTO",
        ),
        ("a.TEL:1\na.X-ABLABEL:home", "a.TEL:1\na.X-ABLABEL:work", "TEL"),
        (
            "a.TEL:1\na.X-ABLABEL:home",
            "TEL:1\nX-ABLABEL:home",
            "TEL, X-ABLABEL",
        ),
        ("EMAIL:a@b.example", "EMAIL:A@b.example", "EMAIL"),
        ("X-OURS:1", "X-OURS:2", "X-OURS"),
        ("NOTE:ß", "NOTE:ss", "NOTE"),
    ] {
        assert_eq!(
            changes(&card_text(one), &card_text(other)).to_string(),
            expected,
            "{one} | {other}"
        );
    }
    for (one, other, expected) in [
        (
            "DTSTART;TZID=Europe/Paris:20260101T000000",
            "DTSTART:20260101T000000",
            "DTSTART",
        ),
        (
            "DTSTART;VALUE=DATE:20260101",
            "DTSTART:20260101T000000Z",
            "DTSTART",
        ),
        ("RRULE:FREQ=DAILY;INTERVAL=2", "RRULE:FREQ=DAILY", "RRULE"),
        (
            "ATTENDEE;PARTSTAT=DECLINED:mailto:a@b.example",
            "ATTENDEE:mailto:a@b.example",
            "ATTENDEE",
        ),
        (
            "BEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM",
            "BEGIN:VALARM\nTRIGGER:-PT6M\nEND:VALARM",
            "VALARM",
        ),
    ] {
        assert_eq!(
            changes(&event_text(one), &event_text(other)).to_string(),
            expected,
            "{one} | {other}"
        );
    }
}

#[test]
fn a_recurring_entry_is_one_entry() {
    let text = "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:Europe/Paris\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:7\nRRULE:FREQ=DAILY\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:7\nRECURRENCE-ID:20260102T090000Z\nSUMMARY:moved\nEND:VEVENT\nEND:VCALENDAR\n";
    let document = Document::parse(text.as_bytes()).unwrap();
    assert_eq!((document.uid(), document.component()), (Some("7"), "VEVENT"));
    let other_zone = text.replace("TZID:Europe/Paris\n", "TZID:Europe/Paris\nX-LIC-LOCATION:x\n");
    assert!(changes(text, &other_zone).is_empty());
    let without = text.replace("RECURRENCE-ID:20260102", "RECURRENCE-ID:20260103");
    assert_eq!(
        changes(text, &without).to_string(),
        "BEGIN, RECURRENCE-ID, SUMMARY, UID"
    );
}

#[test]
fn an_outline_survives_storing() {
    let outline = Document::parse(event_text("SUMMARY:x").as_bytes())
        .unwrap()
        .outline();
    let stored = serde_json::to_string(&outline).unwrap();
    assert_eq!(
        serde_json::from_str::<usersync_content::Outline>(&stored).unwrap(),
        outline
    );
}

/// A group was once named with its labels.
#[test]
fn an_outline_that_was_stored_with_labels_says_the_same() {
    let text = card_text("a.URL:http://x.example\na.X-ABLABEL:home");
    let outline = Document::parse(text.as_bytes()).unwrap().outline();
    let stored = serde_json::to_string(&outline).unwrap();
    let old = stored.replace("URL\"", "URL+X-ABLABEL\"");
    assert_ne!(old, stored);
    assert_eq!(
        serde_json::from_str::<usersync_content::Outline>(&old).unwrap(),
        outline
    );
}

#[test]
fn changes_meet_where_one_makes_sense_only_with_the_other() {
    for (here, there, meet) in [
        ("SUMMARY:A", "SUMMARY:B", true),
        ("SUMMARY:A", "LOCATION:B", false),
        ("DTSTART:20260102T090000Z", "DTEND:20260102T100000Z", true),
        ("DTSTART:20260102T090000Z", "RRULE:FREQ=DAILY", true),
        ("DUE:20260102T090000Z", "PRIORITY:1", false),
        ("BEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM", "SUMMARY:B", false),
    ] {
        let (here_changes, there_changes) = (
            changes(&event_text(""), &event_text(here)),
            changes(&event_text(""), &event_text(there)),
        );
        assert_eq!(here_changes.meets(&there_changes), meet, "{here} {there}");
        assert_eq!(there_changes.meets(&here_changes), meet, "{there} {here}");
    }
    let occurrence = |lines: &str| {
        let occurrence =
            format!("\nBEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20260109T090000Z\n{lines}\nEND:VEVENT");
        event_text("SUMMARY:A").replace("END:VEVENT", &format!("END:VEVENT{occurrence}"))
    };
    let gone = changes(&occurrence("SUMMARY:B"), &event_text("SUMMARY:A"));
    assert!(gone.meets(&changes(&occurrence("SUMMARY:B"), &occurrence("SUMMARY:C"))));
    assert!(!gone.meets(&changes(&event_text("SUMMARY:A"), &event_text("SUMMARY:Z"))));
}

proptest! {
    /// Outlines taken apart and put together by what changed.
    #[test]
    fn outlines_add_up(base in event(), here in event(), there in event()) {
        let of = |lines: &[String]| Document::parse(&calendar_of(lines)).unwrap().outline();
        let (base, here, there) = (of(&base), of(&here), of(&there));
        let (mine, theirs) = (here.changes_since(&base), there.changes_since(&base));
        prop_assert_eq!(&base.taking(&mine, &here), &here);
        prop_assert_eq!(base.taking(&mine, &there).changes_since(&there).among(&mine), Changes::default());
        let apart = here.changes_since(&there);
        prop_assert_eq!(&mine.among(&apart).or(&theirs.among(&apart)), &apart);
        prop_assert_eq!(here.changes_since(&here.common(&there)).or(&there.changes_since(&here.common(&there))), apart);
        prop_assert_eq!(here.known_to(&there), there.known_to(&here).taking(&here.changes_since(&there).among(&here.known_to(&there).changes_since(&Default::default())), &here));
        prop_assert_eq!(mine.meets(&theirs), theirs.meets(&mine));
    }
}
