//! Texts, and other ways to write them.

use proptest::prelude::*;

/// A line that is not folded yet.
pub(crate) type Text = String;

/// Properties of an event, each of which may be there once.
fn event_line() -> impl Strategy<Value = Text> {
    let word = "[a-zA-Zäß€ ]{0,40}";
    prop_oneof![
        word.prop_map(|text| format!("SUMMARY:{text}")),
        word.prop_map(|text| format!("DESCRIPTION:{text}\\nsecond\\, line")),
        word.prop_map(|text| format!("LOCATION;LANGUAGE=en:{text}")),
        (1u8..28).prop_map(|day| format!("DTSTART;TZID=Europe/Paris:202601{day:02}T090000")),
        (1u8..28).prop_map(|day| format!("DTEND;TZID=Europe/Paris:202601{day:02}T100000")),
        (1u8..9).prop_map(|count| format!("RRULE:FREQ=WEEKLY;COUNT={count};BYDAY=MO,TU")),
        "[a-z]{1,8},[a-z]{1,8}".prop_map(|words| format!("CATEGORIES:{words}")),
        "[a-z]{1,8}".prop_map(|name| format!(
            "ATTENDEE;CN=\"{name}, x\";PARTSTAT=ACCEPTED:mailto:{name}@example.org"
        )),
        "[a-z]{1,8}".prop_map(|text| format!("X-ROOM;X-FLOOR=1:{text}")),
        any::<bool>().prop_map(|tentative| {
            format!("STATUS:{}", if tentative { "TENTATIVE" } else { "CONFIRMED" })
        }),
    ]
}

/// The lines of one event, one for each name, and an alarm perhaps.
pub(crate) fn event() -> impl Strategy<Value = Vec<Text>> {
    (
        prop::collection::vec(event_line(), 0..9),
        prop::option::of(1u8..60),
    )
        .prop_map(|(lines, alarm)| {
            let mut lines = one_of_each_name(lines);
            if let Some(minutes) = alarm {
                lines.push(format!(
                    "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT{minutes}M\nEND:VALARM"
                ));
            }
            lines
        })
}

fn card_line() -> impl Strategy<Value = Text> {
    let word = "[a-zA-Zäß€ ]{1,60}";
    prop_oneof![
        word.prop_map(|text| format!("FN:{text}")),
        word.prop_map(|text| format!("N:{text};Ada;;;")),
        "[0-9]{3,9}".prop_map(|number| format!("TEL;TYPE=work,voice:+1 555 {number}")),
        "[a-z]{1,8}".prop_map(|name| format!("EMAIL;TYPE=INTERNET:{name}@example.org")),
        prop::collection::vec(any::<u8>(), 1..90).prop_map(|bytes| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            format!("PHOTO;ENCODING=b;TYPE=JPEG:{text}")
        }),
        "[a-z]{1,8}".prop_map(|text| format!("X-SHOE-SIZE:{text}")),
        "[a-z]{1,8},[a-z]{1,8}".prop_map(|words| format!("CATEGORIES:{words}")),
        ("[0-9]{3,9}", "[a-z]{1,8}").prop_map(|(number, label)| format!(
            "item1.URL:http://example.org/{number}\nitem1.X-ABLABEL:{label}"
        )),
    ]
}

pub(crate) fn card() -> impl Strategy<Value = Vec<Text>> {
    prop::collection::vec(card_line(), 0..8).prop_map(one_of_each_name)
}

fn one_of_each_name(mut lines: Vec<Text>) -> Vec<Text> {
    let name = |line: &Text| line.split([';', ':']).next().unwrap_or_default().to_owned();
    lines.sort_by_key(name);
    lines.dedup_by_key(|line| name(line));
    lines
}

/// An event as a calendar in its plainest form.
pub(crate) fn calendar_of(lines: &[Text]) -> Vec<u8> {
    let body = lines.join("\n");
    let text = format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//sample//EN\nBEGIN:VEVENT\nUID:one\nDTSTAMP:20260101T000000Z\n{body}\nEND:VEVENT\nEND:VCALENDAR\n"
    );
    text.replace("\n\n", "\n").replace('\n', "\r\n").into_bytes()
}

pub(crate) fn card_of(lines: &[Text]) -> Vec<u8> {
    let body = lines.join("\n");
    let text = format!("BEGIN:VCARD\nVERSION:3.0\nUID:one\n{body}\nEND:VCARD\n");
    text.replace("\n\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// How another writer writes the same.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    fold_every: usize,
    crlf: bool,
    turn: usize,
    lower: bool,
    stamp: u8,
}

pub(crate) fn manner() -> impl Strategy<Value = Manner> {
    (5usize..80, any::<bool>(), 0usize..9, any::<bool>(), 0u8..9).prop_map(
        |(fold_every, crlf, turn, lower, stamp)| Manner {
            fold_every,
            crlf,
            turn,
            lower,
            stamp,
        },
    )
}

impl Manner {
    /// The lines in another order, as another writer would have them.
    pub(crate) fn reorder(&self, lines: &[Text]) -> Vec<Text> {
        let mut lines = lines.to_vec();
        let turn = self.turn.min(lines.len());
        lines.rotate_left(turn);
        lines.push(format!("REV:2026010{}T000000Z", self.stamp));
        lines
    }

    /// The text with other folds, which may stand within characters, other line breaks and names in another case.
    pub(crate) fn rewrite(&self, text: &[u8]) -> Vec<u8> {
        let line_break: &[u8] = if self.crlf { b"\r\n" } else { b"\n" };
        let mut out = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            let mut line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            if line.is_empty() {
                continue;
            }
            if self.lower {
                let name = line.iter().position(|byte| b";:".contains(byte)).unwrap_or(0);
                line[..name].make_ascii_lowercase();
            }
            for (place, part) in line.chunks(self.fold_every).enumerate() {
                if place > 0 {
                    out.extend_from_slice(line_break);
                    out.push(b' ');
                }
                out.extend_from_slice(part);
            }
            out.extend_from_slice(line_break);
        }
        out
    }
}
