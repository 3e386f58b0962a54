//! What terminals, mail and forums add to text, taken off again.

use std::borrow::Cow;

/// `text` without terminal escape sequences: colours, cursor movement, titles.
///
/// A sequence that does not end ends at the line's end, so that it costs one line at most.
pub(super) fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        // The introducer, then what it introduces, never past the end of the line.
        let Some(introducer) = chars.next_if(|c| *c != '\n') else { continue };
        match introducer {
            '[' => while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {},
            ']' => while chars.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\n')).is_some() {},
            _ => continue,
        }
        // The last character of the sequence; the escape that ends a title is met by the loop.
        chars.next_if(|c| !matches!(c, '\n' | '\u{1b}'));
    }
    Cow::Owned(out)
}

/// `text` without what web pages make of it: entities, tags of markup, spaces that do not break.
pub(super) fn without_markup(text: &str) -> Cow<'_, str> {
    let odd = |c: char| blank(c) || matches!(c, '\u{200b}' | '\u{2060}');
    let markup = TAGS.iter().any(|tag| text.contains(tag))
        || ENTITIES.iter().any(|(entity, _)| text.contains(entity));
    if !markup && !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let entity = ENTITIES.iter().find_map(|(name, c)| Some((*c, rest.strip_prefix(name)?)));
            if let Some((c, after)) = entity.filter(|_| markup) {
                out.push(c);
                rest = after;
            } else if let Some((name, after)) = tag(rest).filter(|_| markup) {
                // A break that ends a line of the input is that line's end.
                if name.eq_ignore_ascii_case("br") && !after.trim_start().is_empty() {
                    out.push('\n');
                }
                rest = after;
            } else {
                if blank(c) {
                    out.push(' ');
                } else if !odd(c) {
                    out.push(c);
                }
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
    }
    Cow::Owned(out)
}

/// Spaces that do not break, and lines as hexyl draws them between columns.
fn blank(c: char) -> bool {
    c.is_whitespace() && !c.is_ascii() || matches!(c, '\u{2500}'..='\u{257f}')
}

/// Tags that nothing but a web page has.
const TAGS: [&str; 6] = ["<br", "<BR", "<pre", "<code", "<span", "</"];
const ENTITIES: [(&str, char); 9] = [
    ("&nbsp;", ' '),
    ("&#160;", ' '),
    ("&#xA0;", ' '),
    ("&gt;", '>'),
    ("&lt;", '<'),
    ("&quot;", '"'),
    ("&#34;", '"'),
    ("&#39;", '\''),
    ("&amp;", '&'),
];

/// The name of the tag that `text` begins with, and what follows it. The level of a message (`<6>`) and the
/// address of a mail are none.
fn tag(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take(TAG).position(|byte| byte == b'>')?;
    let inner = text.get(1..end).filter(|_| text.starts_with('<'))?;
    let after = text.get(end.checked_add(1)?..)?;
    let name = inner.trim_start_matches('/').split([' ', '/']).next()?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    is_name.then_some((name, after))
}

/// Tags of more bytes are looked at by nobody who pastes.
const TAG: usize = 256;

/// The lines from 1, without indentation, quote marks of mail and carriage returns.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(|line| {
        line.trim_start_matches(|c: char| c == '>' || c.is_whitespace() || c == '\u{feff}')
            .trim_end()
    }))
}

/// A word of the input, short enough for a message.
pub(super) fn excerpt(word: &str) -> String {
    word.chars().take(24).collect()
}

/// The first four bytes, if they could be the signature of an ACPI table.
pub(super) fn name(input: &[u8]) -> Option<String> {
    let name = input.first_chunk::<4>()?;
    let fits = name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    fits.then(|| name.escape_ascii().to_string())
}

/// The signature of a table, or what stands in its place, fit for a message.
pub(super) fn name_of(bytes: &[u8]) -> String {
    bytes.get(..4).unwrap_or(bytes).escape_ascii().to_string()
}

/// The bytes that a program took for Latin-1 and wrote as UTF-8; `None` if it is no such text.
pub(super) fn narrowed(input: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(input).ok()?;
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// The text of `input`: UTF-8, or UTF-16 as Windows programs write it.
pub(super) fn decoded(input: &[u8]) -> Cow<'_, str> {
    let (rest, read): (_, fn([u8; 2]) -> u16) = match input {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return String::from_utf8_lossy(input),
    };
    let units = rest.as_chunks().0.iter().map(|unit| read(*unit));
    let chars = char::decode_utf16(units);
    Cow::Owned(chars.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}
