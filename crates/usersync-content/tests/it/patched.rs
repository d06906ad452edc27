//! Changes carried over: what changed arrives, and nothing else moves.

use proptest::prelude::*;
use usersync_content::Document;

use crate::generate::{calendar_of, card, card_of, event, manner};

fn check(before: &[u8], after: &[u8], elsewhere: &[u8], foreign: &str) -> Result<(), TestCaseError> {
    let parse = |text| Document::parse(text).expect("generated texts are well-formed");
    let (before, after, there) = (parse(before), parse(after), parse(elsewhere));
    let changes = after.outline().changes_since(&before.outline());
    let patched = there.patched(&after, &changes);
    let result = Document::parse(&patched)
        .map_err(|error| TestCaseError::fail(format!("{error}\n{}", String::from_utf8_lossy(&patched))))?;
    // The foreign line of the other side is the only difference left.
    let left = result.outline().changes_since(&after.outline());
    prop_assert_eq!(left.to_string(), foreign, "{}", result);
    if changes.is_empty() {
        prop_assert_eq!(&patched, elsewhere);
    }
    // Carrying it over again changes nothing.
    let again = result.patched(&after, &after.outline().changes_since(&after.outline()));
    prop_assert_eq!(again, patched.clone());
    Ok(())
}

proptest! {
    #[test]
    fn the_result_says_what_the_other_says(before in event(), after in event(), manner in manner()) {
        let mut there = manner.reorder(&before);
        there.push("X-FOREIGN:kept".to_owned());
        check(&calendar_of(&before), &calendar_of(&after), &manner.rewrite(&calendar_of(&there)), "X-FOREIGN")?;
    }

    #[test]
    fn a_card_says_what_the_other_says(before in card(), after in card(), manner in manner()) {
        let mut there = manner.reorder(&before);
        there.push("item1.X-FOREIGN:kept".to_owned());
        there.push("item1.X-MORE:kept".to_owned());
        // The groups of both sides have the same label and nothing in common.
        let there: Vec<String> = there.iter().map(|line| match line.contains("X-ABLABEL") {
            true => line.replace("item1.", "item2."),
            false => line.clone(),
        }).collect();
        check(&card_of(&before), &card_of(&after), &manner.rewrite(&card_of(&there)), "X-FOREIGN+X-MORE")?;
    }

    #[test]
    fn other_lines_stay_byte_for_byte(lines in event(), manner in manner(), title in "[a-z]{1,200}") {
        let text = manner.rewrite(&calendar_of(&lines));
        let mut after = lines.clone();
        after.retain(|line| !line.starts_with("SUMMARY"));
        after.push(format!("SUMMARY:{title}!"));
        let (before, changed) = (calendar_of(&lines), calendar_of(&after));
        let (before, changed) = (Document::parse(&before).unwrap(), Document::parse(&changed).unwrap());
        let changes = changed.outline().changes_since(&before.outline());
        let patched = Document::parse(&text).unwrap().patched(&changed, &changes);
        let mut rest: Vec<Vec<u8>> = whole_lines(&text);
        let is_ours = |line: &Vec<u8>| {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase().replace(['\r', '\n', ' '], "");
            line.starts_with("SUMMARY") || line.starts_with("DTSTAMP")
        };
        rest.retain(|line| !is_ours(line));
        let mut now = whole_lines(&patched);
        now.retain(|line| !is_ours(line));
        prop_assert_eq!(rest, now);
    }
}

/// The lines with their folds and breaks.
fn whole_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match lines.last_mut() {
            Some(last) if line.starts_with(b" ") => last.extend_from_slice(line),
            _ => lines.push(line.to_vec()),
        }
    }
    lines
}

fn patched(before: &str, after: &str, there: &str) -> String {
    let [before, after, there] =
        [before, after, there].map(|text| Document::parse(text.as_bytes()).expect("a sample"));
    let changes = after.outline().changes_since(&before.outline());
    String::from_utf8(there.patched(&after, &changes)).expect("samples are UTF-8")
}

#[test]
fn occurrences_come_and_go_whole_and_bring_their_time_zone() {
    let calendar = |inner: &str| format!("BEGIN:VCALENDAR\nVERSION:2.0\n{inner}END:VCALENDAR\n");
    let main = "BEGIN:VEVENT\nUID:7\nRRULE:FREQ=DAILY\nEND:VEVENT\n";
    let zone = "BEGIN:VTIMEZONE\nTZID:Own Zone\nEND:VTIMEZONE\n";
    let moved =
        "BEGIN:VEVENT\nUID:7\nRECURRENCE-ID:20260102\nDTSTART;TZID=Own Zone:20260102T000000\nEND:VEVENT\n";
    let before = calendar(main);
    let after = calendar(&format!("{zone}{main}{moved}"));
    assert_eq!(patched(&before, &after, &before), after);
    assert_eq!(patched(&after, &before, &after), before);
    let known = zone.replace("Own Zone", "Europe/Paris");
    let moved = moved.replace("Own Zone", "Europe/Paris");
    let after = calendar(&format!("{known}{main}{moved}"));
    assert_eq!(
        patched(&before, &after, &before),
        calendar(&format!("{known}{main}{moved}"))
    );
}

#[test]
fn a_card_keeps_its_version() {
    let card =
        |version: &str, lines: &str| format!("BEGIN:VCARD\nVERSION:{version}\nUID:1\n{lines}END:VCARD\n");
    let old = "PHOTO;ENCODING=b;TYPE=JPEG:AQID\nEMAIL;TYPE=PREF:a@b.example\n";
    let new = "EMAIL;PREF=1:a@b.example\nPHOTO:data:image/jpeg;base64,AQID\n";
    assert_eq!(
        patched(&card("3.0", ""), &card("3.0", old), &card("4.0", "")),
        card("4.0", new)
    );
    let back = "EMAIL;TYPE=pref:a@b.example\nPHOTO;ENCODING=b;TYPE=JPEG:AQID\n";
    assert_eq!(
        patched(&card("4.0", ""), &card("4.0", new), &card("3.0", "")),
        card("3.0", back)
    );
}

#[test]
fn a_copy_has_another_uid_and_nothing_else_of_its_own() {
    let text = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:7\r\nX-A:\r\n b\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nuid:7\r\nRECURRENCE-ID:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let copy = Document::parse(text.as_bytes()).unwrap().with_uid("7-copy");
    let expected = text.replace("UID:7", "UID:7-copy").replace("uid:7", "UID:7-copy");
    assert_eq!(String::from_utf8(copy).unwrap(), expected);
}

fn carried(before: &[u8], after: &[u8], elsewhere: &[u8]) -> String {
    let parse = |text| Document::parse(text).expect("samples are well-formed");
    let changes = parse(after).outline().changes_since(&parse(before).outline());
    let patched = parse(elsewhere).patched(&parse(after), &changes);
    String::from_utf8(patched).expect("samples are text")
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

/// The other side dropped the label, or put in one of its own.
#[test]
fn a_line_is_the_same_whether_or_not_it_has_a_label() {
    let labelled = |url: &str| {
        card_of(&lines(&[
            &format!("item1.URL:http://{url}.example"),
            "item1.X-ABLABEL:home",
        ]))
    };
    let before = labelled("one");
    for elsewhere in [
        lines(&["URL:http://one.example"]),
        lines(&["a.URL:http://one.example", "a.X-ABLABEL:_$!<HomePage>!$_"]),
    ] {
        let elsewhere = card_of(&elsewhere);
        let text = carried(&before, &labelled("two"), &elsewhere);
        assert_eq!(text.matches("URL:").count(), 1, "{text}");
        assert!(text.contains("http://two.example"), "{text}");
        assert_eq!(text.matches("X-ABLABEL").count(), 1, "{text}");
        let text = carried(&before, &card_of(&[]), &elsewhere);
        assert!(!text.contains("URL") && !text.contains("X-ABLABEL"), "{text}");
    }
}

/// The other side says how long what this one says the end of.
#[test]
fn an_end_takes_the_place_of_a_duration() {
    let event = |end: &str| calendar_of(&lines(&["DTSTART:20260105T090000Z", end]));
    let (before, elsewhere) = (event("DTEND:20260105T100000Z"), event("DURATION:PT1H"));
    let text = carried(&before, &event("DTEND:20260105T110000Z"), &elsewhere);
    assert!(
        text.contains("DTEND:20260105T110000Z") && !text.contains("DURATION"),
        "{text}"
    );
    let text = carried(&before, &event("SUMMARY:No end"), &elsewhere);
    assert!(!text.contains("DURATION") && !text.contains("DTEND"), "{text}");
    let text = carried(&elsewhere, &event("DURATION:PT2H"), &before);
    assert!(
        text.contains("DURATION:PT2H") && !text.contains("DTEND"),
        "{text}"
    );
}

/// What the other side keeps and this one never did is no less there for a change beside it.
#[test]
fn a_change_of_one_line_leaves_others_of_its_property() {
    let mails = |names: &[&str]| {
        let mails: Vec<String> = names
            .iter()
            .map(|name| format!("EMAIL:{name}@x.example"))
            .collect();
        card_of(&mails)
    };
    let (before, elsewhere) = (mails(&["a", "b"]), mails(&["a", "b", "c"]));
    for (after, expected) in [
        (mails(&["a", "z"]), ["a", "c", "z"].as_slice()),
        (mails(&["b"]), &["b", "c"]),
        (mails(&["a", "b", "z"]), &["a", "b", "c", "z"]),
        (mails(&[]), &["c"]),
    ] {
        let text = carried(&before, &after, &elsewhere);
        let mut left: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("EMAIL:")?.strip_suffix("@x.example"))
            .collect();
        left.sort_unstable();
        assert_eq!(left, expected, "{text}");
    }
    // Where it was written otherwise, all of it is carried over: what went cannot be told from what stays.
    let otherwise = card_of(&lines(&["EMAIL;TYPE=work:a@x.example", "EMAIL:b@x.example"]));
    let text = carried(&before, &mails(&["b", "z"]), &otherwise);
    assert_eq!(text.matches("EMAIL").count(), 2, "{text}");
}
