//! What a server makes of the texts that it is given.

/// What a server makes of the texts that it is given. Each is something that real ones do, and none of it is a change that
/// somebody made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewriting {
    /// Properties that it puts into the entry, or the card: whole lines.
    pub adds: Vec<String>,
    /// It leaves out properties whose names start like this.
    pub drops: Vec<String>,
    /// It folds lines so that they have at most this many characters; at least 10.
    pub folds: Option<usize>,
    /// It puts the lines between two components into another order.
    pub reorders: bool,
    /// It stamps what it stores, with a number that rises with every write.
    pub stamps: bool,
}

impl Rewriting {
    /// A server that does all of it: drops `X-`, adds a line of its own, folds, reorders and stamps.
    #[must_use]
    pub fn thorough() -> Self {
        Self {
            adds: vec!["X-SERVER-KEPT:yes".to_owned()],
            drops: vec!["X-".to_owned()],
            folds: Some(40),
            reorders: true,
            stamps: true,
        }
    }

    /// The text as the server stores it with its write of this number.
    #[must_use]
    pub(crate) fn rewrite(&self, content: &[u8], number: u64) -> Vec<u8> {
        if *self == Self::default() {
            return content.to_vec();
        }
        let text = String::from_utf8_lossy(content);
        let mut out = String::with_capacity(text.len());
        let mut block: Vec<String> = Vec::new();
        let mut open: Vec<String> = Vec::new();
        for line in unfolded(&text) {
            let name = line
                .split([':', ';'])
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            match name.as_str() {
                "BEGIN" => {
                    self.flush(&mut block, &mut out);
                    open.push(value(&line));
                    self.write(&line, &mut out);
                }
                "END" => {
                    if is_entry(open.last().map_or("", String::as_str)) {
                        block.extend(self.adds.iter().cloned());
                        if self.stamps {
                            let stamp = match open.last().map(String::as_str) {
                                Some("VCARD") => "REV",
                                _ => "LAST-MODIFIED",
                            };
                            block.retain(|line| !line.starts_with(stamp));
                            block.push(format!("{stamp}:20260101T{:06}Z", number % 1_000_000));
                        }
                    }
                    self.flush(&mut block, &mut out);
                    open.pop();
                    self.write(&line, &mut out);
                }
                _ if self.drops.iter().any(|drop| name.starts_with(drop)) => {}
                _ => block.push(line),
            }
        }
        self.flush(&mut block, &mut out);
        out.into_bytes()
    }

    fn flush(&self, block: &mut Vec<String>, out: &mut String) {
        // Cards begin with their version.
        if self.reorders {
            let (first, mut rest): (Vec<_>, Vec<_>) =
                block.drain(..).partition(|line| line.starts_with("VERSION"));
            rest.reverse();
            block.extend(first);
            block.extend(rest);
        }
        for line in block.drain(..) {
            self.write(&line, out);
        }
    }

    fn write(&self, line: &str, out: &mut String) {
        let width = self.folds.unwrap_or(usize::MAX).max(10);
        let mut used = 0;
        for c in line.chars() {
            if used == width {
                out.push_str("\r\n ");
                used = 1;
            }
            out.push(c);
            used += 1;
        }
        out.push_str("\r\n");
    }
}

fn is_entry(component: &str) -> bool {
    matches!(component, "VCARD" | "VEVENT" | "VJOURNAL" | "VTODO")
}

fn value(line: &str) -> String {
    let value = line.split_once(':').map_or("", |(_, value)| value);
    value.trim().to_ascii_uppercase()
}

/// The UID of a text, if it has one. For a text of any quality.
pub(crate) fn uid_of(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    unfolded(&text).into_iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.split(';').next().unwrap_or_default();
        (name.eq_ignore_ascii_case("UID") && !value.trim().is_empty()).then(|| value.trim().to_owned())
    })
}

fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some(last)) => last.push_str(more),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thorough_server_writes_it_otherwise() {
        let card = b"BEGIN:VCARD\nVERSION:4.0\nUID:1\nFN:Ada Sample with a name that is long enough\nX-A:b\nEND:VCARD\n";
        let rewritten = Rewriting::thorough().rewrite(card, 7);
        let expected = "BEGIN:VCARD\r\nVERSION:4.0\r\nREV:20260101T000007Z\r\nX-SERVER-KEPT:yes\r\n\
            FN:Ada Sample with a name that is long e\r\n nough\r\nUID:1\r\nEND:VCARD\r\n";
        assert_eq!(String::from_utf8_lossy(&rewritten), expected);
        assert_eq!(uid_of(&rewritten).as_deref(), Some("1"));
    }

    #[test]
    fn others_keep_every_byte() {
        let broken = b"BEGIN:VCARD\nFN:\xff";
        assert_eq!(Rewriting::default().rewrite(broken, 1), broken);
        assert_eq!(uid_of(broken), None);
    }
}
