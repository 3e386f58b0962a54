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
