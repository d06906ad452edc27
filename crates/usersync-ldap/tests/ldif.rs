//! The LDIF reader: the rules of RFC 2849 as tables, and properties.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail a test by them")]

use std::fmt::Write as _;
use std::io::{self, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use usersync_ldap::{LdifEntry, LdifError, LdifLimits, LdifReader};

type Shown = (String, Vec<(String, Vec<u8>)>);

fn show(entry: &LdifEntry) -> Shown {
    let attributes = entry
        .attributes()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    (entry.dn().to_string(), attributes.collect())
}

fn read(file: impl AsRef<[u8]>) -> Result<Vec<Shown>, LdifError> {
    LdifReader::new(file.as_ref())
        .map(|entry| entry.map(|entry| show(&entry)))
        .collect()
}

/// What a file holds, in one line: `dn [name=value …] …`.
fn line(file: impl AsRef<[u8]>) -> String {
    match read(file) {
        Err(error) => format!("{}@{}", error.kind.code(), error.line),
        Ok(entries) => entries
            .iter()
            .map(|(dn, attributes)| {
                let attributes: Vec<_> = attributes
                    .iter()
                    .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
                    .collect();
                format!("{dn} [{}]", attributes.join("|"))
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[test]
fn rules_of_rfc_2849() {
    for (rule, file, expected) in [
        ("an empty file has no entries", "", ""),
        ("blank lines are no entries", "\n\r\n\n", ""),
        ("version line", "version: 1\ndn: cn=a\ncn: a\n", "cn=a [cn=a]"),
        (
            "version, blank",
            "# c\nversion:1\n\ndn: cn=a\ncn: a\n",
            "cn=a [cn=a]",
        ),
        ("no version line", "dn: cn=a\ncn: a\n", "cn=a [cn=a]"),
        (
            "version is an attribute elsewhere",
            "dn: cn=a\nversion: 2\n",
            "cn=a [version=2]",
        ),
        (
            "two entries, many separators",
            "dn: cn=a\ncn: a\n\n\n\ndn: cn=b\ncn: b\n\n",
            "cn=a [cn=a] cn=b [cn=b]",
        ),
        (
            "carriage returns",
            "version: 1\r\n\r\ndn: cn=a\r\ncn: a\r\n b\r\n\r\ndn: cn=b\r\n",
            "cn=a [cn=ab] cn=b []",
        ),
        (
            "continuation drops one space",
            "dn: cn=a,\n dc=b\ncn: x\n  y\n z\n",
            "cn=a,dc=b [cn=x yz]",
        ),
        ("a continued name", "dn: cn=a\nc\n n: x\n", "cn=a [cn=x]"),
        (
            "an empty continuation",
            "dn: cn=a\ncn: x\n \n y\n",
            "cn=a [cn=xy]",
        ),
        (
            "comments",
            "# one\n#two\ndn: cn=a\n# three\ncn: a\n#\n",
            "cn=a [cn=a]",
        ),
        (
            "folded comments",
            "dn: cn=a\n# one\n cn: no\n  no\ncn: a\n",
            "cn=a [cn=a]",
        ),
        ("comments end no entry", "dn: cn=a\n# c\ncn: a\n", "cn=a [cn=a]"),
        ("base64", "dn: cn=a\ncn:: w4k=\n", "cn=a [cn=É]"),
        ("base64 dn", "dn:: Y249w4k=\ncn: a\n", "cn=É [cn=a]"),
        ("folded base64", "dn: cn=a\ncn:: w\n 4k=\n", "cn=a [cn=É]"),
        ("base64 of nothing", "dn: cn=a\ncn::\n", "cn=a [cn=]"),
        ("fill", "dn:cn=a\ncn:   a\nsn:a\n", "cn=a [cn=a|sn=a]"),
        ("no value", "dn: cn=a\ncn:\nsn: \n", "cn=a [cn=|sn=]"),
        ("trailing spaces stay", "dn: cn=a\ncn: a \n", "cn=a [cn=a ]"),
        (
            "colons and the like within",
            "dn: cn=a\nurl: x:<y#z\n",
            "cn=a [url=x:<y#z]",
        ),
        ("dn in any case", "DN: cn=a\ncn: a\n", "cn=a [cn=a]"),
        (
            "options and numbers",
            "dn: cn=a\ncn;lang-de;x: a\n2.5.4.3: b\n",
            "cn=a [cn;lang-de;x=a|2.5.4.3=b]",
        ),
        (
            "ranges",
            "dn: cn=a\nmember;range=0-*: b\n",
            "cn=a [member;range=0-*=b]",
        ),
        ("UTF-8 as it is", "dn: cn=é\ncn: é\n", "cn=é [cn=é]"),
        (
            "the root",
            "dn:\nnamingContexts: dc=a\n",
            " [namingContexts=dc=a]",
        ),
        (
            "control later",
            "dn: cn=a\ncn: a\ncontrol: b\n",
            "cn=a [cn=a|control=b]",
        ),
    ] {
        assert_eq!(line(file), expected, "{rule}");
    }
}

#[test]
fn errors() {
    for (file, expected) in [
        (&b"version: 2\n"[..], "version@1"),
        (b"version: 1 \n", "version@1"),
        (b"version:: MQ==\n", "version@1"),
        (b"version: 1\n\nversion: 1\n", "missing_dn@3"),
        (b"dn: cn=a\ncn: a\n\nversion: 1\n", "missing_dn@4"),
        (b"\xEF\xBB\xBFversion: 1\n", "byte_order_mark@1"),
        (b"\xEF\xBB\xBF", "byte_order_mark@1"),
        (b"\xFF\xFEv\0e\0r\0s\0\n\0", "byte_order_mark@1"),
        (b"\xFE\xFF\0v\0e\0r\0s", "byte_order_mark@1"),
        (b"dn: cn=a\ncn: \xFF\n", "utf8@2"),
        (b"dn: cn=\xC3\n", "utf8@1"),
        (b"dn:: /w==\n", "utf8@1"),
        (b"dn: cn=a\ncn:: YQ=\n", "base64@2"),
        (b"dn: cn=a\ncn:: YWJ\n", "base64@2"),
        (b"dn: cn=a\ncn:: Y Q==\n", "base64@2"),
        (b"dn: cn=a\ncn:: YQ==YQ==\n", "base64@2"),
        (b"dn:: Y\n", "base64@1"),
        (b"dn: cn=a\nphoto:< file:///etc/passwd\n", "url@2"),
        (b"dn:< file:///a\n", "url@1"),
        (b"dn: cn=a\ncn: :a\n", "unsafe_value@2"),
        (b"dn: cn=a\ncn: <a\n", "unsafe_value@2"),
        (b"cn: a\n", "missing_dn@1"),
        (
            b"dn: cn=a\ncn: a\n\nsearch: 2\nresult: 0 Success\n",
            "missing_dn@4",
        ),
        (b"dn: cn=a\ncn: a\ndn: cn=b\n", "repeated_dn@3"),
        (b"garbage\n", "missing_colon@1"),
        (b"dn: cn=a\n-\n", "missing_colon@2"),
        (b"dn: cn=a\n: a\n", "name@2"),
        (b"dn: cn=a\nc n: a\n", "name@2"),
        (b"dn: cn=a\nc_n: a\n", "name@2"),
        (b"dn: cn=a\ncn;: a\n", "name@2"),
        (b"dn: cn=a\n1a: a\n", "name@2"),
        (b"dn: cn=a\n-a: a\n", "name@2"),
        (b"\xC3\xA9: a\n", "name@1"),
        (b"dn: nonsense\n", "dn@1"),
        (b"dn: cn=a\nchangetype: add\ncn: a\n", "change_record@2"),
        (
            b"dn: cn=a\ncontrol: 1.2.840.113556.1.4.805 true\nchangetype: delete\n",
            "change_record@2",
        ),
        (b" dn: cn=a\n", "continuation@1"),
        (b"\n cn: a\n", "continuation@2"),
        (b"dn: cn=a\n\n b\n", "continuation@3"),
        (b"dn: cn=a\r\n\r\n b\r\n", "continuation@3"),
        (b"dn: cn=a\ncn: a\0b\n", "character@2"),
        (b"dn: cn=a\ncn: a\rb\n", "character@2"),
        (b"dn: cn=a\ncn: a\r\r\n", "character@2"),
        (b"dn: cn=a\ncn: a", "truncated@2"),
        (b"dn: cn=a\ncn: a\n b", "truncated@2"),
        (b"dn: cn=a\ncn: a\n\n# comment", "truncated@4"),
        (b"dn: cn=a\ncn: a\r", "truncated@2"),
    ] {
        assert_eq!(line(file), expected, "{:?}", String::from_utf8_lossy(file));
    }
}

#[test]
fn messages_say_what_to_do_and_repeat_no_value() {
    let error = read("dn: cn=a\nchangetype: add\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: `changetype:` makes this a file of changes; export the entries themselves, for example with `ldapsearch -LLL`"
    );
    for file in [
        "dn: cn=a\nuserPassword:: s3cret!\n",
        "dn: cn=a\nuserPassword: :s3cret\n",
        "dn: cn=a\ns3cret\n",
    ] {
        let error = read(file).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let file = "dn: cn=a\ncn: 12345\n 67890\nsn: x\n\ndn: cn=b\n";
    let fits = LdifLimits {
        line_bytes: 14,
        entry_bytes: 15,
        values: 2,
        entries: 2,
    };
    let code = |file: &str, limits| {
        LdifReader::with_limits(file.as_bytes(), limits)
            .find_map(Result::err)
            .map_or(String::from("ok"), |error| {
                assert!(error.kind.is_limit());
                format!("{}@{}", error.kind.code(), error.line)
            })
    };
    for file in [file, &file.replace('\n', "\r\n")] {
        for (limits, expected) in [
            (fits, "ok"),
            (
                LdifLimits {
                    line_bytes: 13,
                    ..fits
                },
                "line_too_long@2",
            ),
            (
                LdifLimits {
                    entry_bytes: 14,
                    ..fits
                },
                "entry_too_large@4",
            ),
            (LdifLimits { values: 1, ..fits }, "too_many_values@4"),
            (LdifLimits { entries: 1, ..fits }, "too_many_entries@6"),
        ] {
            assert_eq!(code(file, limits), expected, "{limits:?}");
        }
    }
}

/// Endless letters, counted.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'x');
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn an_endless_line_is_given_up_at_the_limit() {
    for (capacity, comment) in [(1, ""), (64, ""), (8192, "#")] {
        let mut endless = Endless(0);
        let limits = LdifLimits {
            line_bytes: 1000,
            ..LdifLimits::default()
        };
        let input = BufReader::with_capacity(capacity, comment.as_bytes().chain(&mut endless));
        let mut reader = LdifReader::with_limits(input, limits);
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.kind.code(), "line_too_long");
        assert!(reader.next().is_none());
        drop(reader);
        assert!(endless.0 < 1002 + capacity as u64, "read {} bytes", endless.0);
    }
}

/// Fails after its content.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the cable was pulled")),
            n => Ok(n),
        }
    }
}

#[test]
fn a_failing_input_ends_the_iteration_with_its_cause() {
    let input = BufReader::new(Broken(b"dn: cn=a\ncn: a\n\ndn: cn=b\n"));
    let mut reader = LdifReader::new(input);
    assert!(reader.next().unwrap().is_ok());
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!((error.kind.code(), error.line), ("read", 5));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the cable was pulled");
    assert!(reader.next().is_none(), "fused");
}

#[test]
fn values_are_found_by_description_in_any_case() {
    let file = "dn: cn=a\nCN: 1\ncn;lang-de: 2\ncn:: /w==\ncn: 3\n";
    let entry = LdifReader::new(file.as_bytes()).next().unwrap().unwrap();
    assert_eq!(entry.texts("cn").collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(entry.values("cN").count(), 3);
    assert_eq!(entry.texts("cn;LANG-de").collect::<Vec<_>>(), ["2"]);
    assert_eq!(entry.line(), 1);
}

fn entries() -> impl Strategy<Value = Vec<Shown>> {
    let name = "[a-z][a-zA-Z0-9-]{0,5}(;[a-z0-9-]{1,3})?".prop_filter("a word with a meaning", |name| {
        !["dn", "control", "changetype"].contains(&name.to_ascii_lowercase().as_str())
    });
    let value = prop_oneof![
        "[ -~]{0,30}".prop_map(String::into_bytes),
        "\\PC{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let dn = "(cn=[a-zA-Zéß]{1,30},)?dc=[a-z]{1,8}";
    prop::collection::vec((dn, prop::collection::vec((name, value), 0..6)), 0..6)
}

/// Writes entries, folding, encoding and commenting by `choices`.
fn write(entries: &[Shown], choices: &[u8]) -> Vec<u8> {
    let mut next = choices.iter().copied().cycle();
    let mut choose = move || next.next().unwrap_or(0);
    let end: &[u8] = if choose() % 2 == 0 { b"\n" } else { b"\r\n" };
    let mut file = Vec::new();
    let mut put = |line: &[u8], choose: &mut dyn FnMut() -> u8| {
        let mut rest = line;
        loop {
            let width = 1 + usize::from(choose() % 40);
            let (head, tail) = rest.split_at(width.min(rest.len()));
            file.extend_from_slice(head);
            file.extend_from_slice(end);
            rest = tail;
            if rest.is_empty() {
                break;
            }
            file.push(b' ');
        }
    };
    if choose() % 2 == 0 {
        put(b"version: 1", &mut choose);
    }
    for (dn, attributes) in entries {
        put(b"", &mut choose);
        let lines = std::iter::once(("dn", dn.as_bytes()))
            .chain(attributes.iter().map(|(name, value)| (name.as_str(), &value[..])));
        for (name, value) in lines {
            if choose() % 4 == 0 {
                put(b"# a comment: with a colon, folded or not", &mut choose);
            }
            let plain = std::str::from_utf8(value)
                .is_ok_and(|text| !text.starts_with([' ', ':', '<']) && !text.contains(['\n', '\r', '\0']));
            let mut line = String::from(name);
            if plain && choose() % 4 > 0 {
                let _ = write!(line, ": {}", std::str::from_utf8(value).unwrap());
            } else {
                let _ = write!(line, ":: {}", STANDARD.encode(value));
            }
            put(line.as_bytes(), &mut choose);
        }
    }
    file
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        entries in entries(),
        choices in prop::collection::vec(any::<u8>(), 1..200),
        capacity in 1_usize..50,
    ) {
        let file = write(&entries, &choices);
        prop_assert_eq!(&read(&file).unwrap(), &entries, "{}", String::from_utf8_lossy(&file));
        let slowly: Vec<_> = LdifReader::new(BufReader::with_capacity(capacity, &file[..]))
            .map(|entry| show(&entry.unwrap()))
            .collect();
        prop_assert_eq!(slowly, entries);
    }

    #[test]
    fn a_file_cut_within_a_line_is_an_error_after_a_prefix_of_its_entries(
        entries in entries(),
        choices in prop::collection::vec(any::<u8>(), 1..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let file = write(&entries, &choices);
        prop_assume!(!file.is_empty());
        let part = &file[..cut.index(file.len())];
        let results: Vec<_> = LdifReader::new(part).collect();
        let whole_lines = part.is_empty() || part.ends_with(b"\n");
        let seen: Vec<_> = results.iter().flatten().map(show).collect();
        if whole_lines {
            // Only the last entry may differ, and only by lines or continuations that were cut off.
            let sure = seen.len().saturating_sub(1);
            prop_assert_eq!(&seen[..sure], &entries[..sure]);
        } else {
            prop_assert!(results.last().is_some_and(Result::is_err));
            prop_assert_eq!(&seen[..], &entries[..seen.len()]);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut reader = LdifReader::new(&bytes[..]);
        while reader.next().is_some_and(|entry| entry.is_ok()) {}
        prop_assert!(reader.next().is_none());
    }

    #[test]
    fn no_nearly_right_file_panics(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "dn: ", "dn:: ", "cn=a", "cn: ", "\n", "\r\n", " ", ":", "::", ":<", "#", "=", "YQ==", "version: 1\n",
                "control: ", "changetype: ", "é", "\0", "\r", ",", "\\", "+", "\n\n", ";", "\u{feff}",
            ]),
            0..40,
        ),
    ) {
        let file = pieces.concat();
        let mut reader = LdifReader::new(file.as_bytes());
        let mut entries = 0;
        while let Some(Ok(entry)) = reader.next() {
            prop_assert!(entry.line() > 0);
            entries += 1;
        }
        prop_assert!(entries <= file.matches("\n").count());
        prop_assert!(reader.next().is_none());
    }
}
