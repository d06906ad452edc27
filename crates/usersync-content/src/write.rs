//! Lines as text, and lines of one version of vCard in another.

use crate::canonical::{is_base64, media_type};
use crate::line::{Line, Param};

/// The longest line in octets, its break aside (RFC 5545 section 3.1, RFC 6350 section 3.2).
const OCTETS: usize = 75;

/// The line as text, folded, with its break.
pub(crate) fn folded(line: &Line, line_break: &str) -> Vec<u8> {
    let text = unfolded(line);
    let mut out = String::with_capacity(text.len() + text.len() / OCTETS * 3 + 2);
    let mut used = 0;
    for c in text.chars() {
        if used + c.len_utf8() > OCTETS {
            out.push_str(line_break);
            out.push(' ');
            used = 1;
        }
        out.push(c);
        used += c.len_utf8();
    }
    out.push_str(line_break);
    out.into_bytes()
}

fn unfolded(line: &Line) -> String {
    let mut text = String::new();
    if let Some(group) = &line.group {
        text.push_str(group);
        text.push('.');
    }
    text.push_str(&line.name);
    for Param { name, values } in &line.params {
        text.push(';');
        text.push_str(name);
        for (place, value) in values.iter().enumerate() {
            text.push(if place == 0 { '=' } else { ',' });
            let needs_quotes = value.contains([':', ';', ',']);
            let quote = if needs_quotes { "\"" } else { "" };
            text.extend([quote, value, quote]);
        }
    }
    text.push(':');
    text.push_str(&line.value);
    text
}

/// The line as a card of version 3.0 or 4.0 says it; `None` where both say it alike.
pub(crate) fn translated(line: &Line, to_version: &str) -> Option<Line> {
    let mut line = line.clone();
    let before = line.clone();
    let is_binary = matches!(line.name.as_str(), "KEY" | "LOGO" | "PHOTO" | "SOUND");
    match to_version {
        "4.0" => {
            if is_binary && is_base64(&line) {
                let media = media_type(&line).unwrap_or_default();
                line.params
                    .retain(|param| !matches!(param.name.as_str(), "ENCODING" | "TYPE" | "VALUE"));
                line.value = format!("data:{media};base64,{}", line.value.trim());
            }
            line.params.retain(|param| param.name != "CHARSET");
            let mut is_preferred = false;
            for param in line.params.iter_mut().filter(|param| param.name == "TYPE") {
                let count = param.values.len();
                param.values.retain(|value| !value.eq_ignore_ascii_case("pref"));
                is_preferred |= param.values.len() < count;
            }
            line.params.retain(|param| !param.values.is_empty());
            if is_preferred {
                line.params.push(param("PREF", "1"));
            }
        }
        "3.0" => {
            let inline = line.value.trim().strip_prefix("data:").filter(|_| is_binary);
            if let Some((media, data)) = inline.and_then(|data| data.split_once(";base64,")) {
                let format = media.rsplit('/').next().unwrap_or(media).to_ascii_uppercase();
                let data = data.to_owned();
                line.params
                    .retain(|param| !matches!(param.name.as_str(), "MEDIATYPE" | "VALUE"));
                line.params.push(param("ENCODING", "b"));
                if !format.is_empty() {
                    line.params.push(param("TYPE", &format));
                }
                line.value = data;
            }
            // Version 3.0 knows one preference only.
            let is_preferred = line.param("PREF").any(|preference| preference == "1");
            line.params.retain(|param| param.name != "PREF");
            if is_preferred {
                line.params.push(param("TYPE", "pref"));
            }
        }
        _ => {}
    }
    (line != before).then_some(line)
}

fn param(name: &str, value: &str) -> Param {
    Param {
        name: name.to_owned(),
        values: vec![value.to_owned()],
    }
}
