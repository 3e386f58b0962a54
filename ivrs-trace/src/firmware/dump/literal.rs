//! Tables that a program prints as it would write them in source: byte strings with escapes, and lists of
//! decimal numbers.

use super::{
    error::{DumpError, Fault, Rank},
    form::{Form, Signature, TABLE_LIMIT, TableDump},
    whole::{complete, trailing_note},
};
use crate::firmware::amd::ivrs::HEADER_LENGTH;

/// Reads the strings and lists that begin like a table. `None` if there are none.
pub(super) fn read(text: &str, wanted: Signature) -> Option<Result<Vec<TableDump>, Fault>> {
    let name = String::from_utf8_lossy(&wanted);
    let octal = wanted.map(|byte| format!("\\{byte:03o}")).concat();
    let begins = ["'", "\""].map(|quote| [format!("{quote}{name}"), format!("{quote}{octal}")]);
    let mut found = Vec::new();
    let mut fault = None;
    let mut line = 1_usize;
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"', '\n', wanted_digit(wanted)]) {
        let (skipped, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let separate = !skipped.ends_with(|c: char| c.is_ascii_alphanumeric());
        let (bytes, left) = if begins.iter().flatten().any(|begin| after.starts_with(begin)) {
            string(after)
        } else if separate {
            decimals(after, wanted)
        } else {
            (Vec::new(), after)
        };
        let used = after.len().saturating_sub(left.len());
        // A name in quotes is no table.
        if bytes.len() < HEADER_LENGTH || !bytes.starts_with(&wanted) {
            line = line.saturating_add(usize::from(after.starts_with('\n')));
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        let end = after.get(..used).unwrap_or_default().trim_end().matches('\n').count();
        let last = line.saturating_add(end);
        match complete(&bytes) {
            Ok(trailing) => found.push(TableDump {
                form: Form::Literal,
                lines: Some((line, last)),
                table: bytes,
                headless: false,
                notes: trailing_note(trailing).into_iter().collect(),
            }),
            Err(problem) => {
                let error = DumpError::Bad { form: Form::Literal, line: Some(last), problem };
                let progress = last.saturating_sub(line);
                super::keep_further(&mut fault, Fault { rank: Rank::Wanted, progress, error });
            }
        }
        line = line.saturating_add(after.get(..used).unwrap_or_default().matches('\n').count());
        rest = left;
    }
    if found.is_empty() { fault.map(Err) } else { Some(Ok(found)) }
}

/// The first digit of the signature's first byte in decimal.
fn wanted_digit(wanted: Signature) -> char {
    let [first, ..] = wanted;
    char::from(b'0'.saturating_add(first / 10))
}

/// The bytes of the string that `text` begins with, and of those that follow on it with nothing but white
/// space between, as compilers join them; and what is left.
fn string(mut text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    while let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        text = text.get(1..).unwrap_or_default();
        while let Some(c) = text.chars().next().filter(|c| *c != quote && *c != '\n') {
            if bytes.len() > TABLE_LIMIT {
                return (bytes, text);
            }
            text = text.get(c.len_utf8()..).unwrap_or_default();
            if c == '\\' {
                let (byte, after) = escape(text);
                bytes.extend(byte);
                text = after;
            } else {
                bytes.extend(u8::try_from(u32::from(c)));
            }
        }
        text = text.strip_prefix(quote).unwrap_or(text);
        let next = text.trim_start_matches(is_gap);
        let next = next.strip_prefix('b').unwrap_or(next);
        if !next.starts_with(['\'', '"']) {
            break;
        }
        text = next;
    }
    (bytes, text)
}

/// White space, and the marks of quoted mail.
fn is_gap(c: char) -> bool {
    c == '>' || c.is_whitespace()
}

/// The byte of an escape, from behind its backslash on, and what is left.
fn escape(text: &str) -> (Option<u8>, &str) {
    let number = |from: usize, most: usize, radix: u32| {
        let digits = text.get(from..)?.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let end = from.checked_add(digits)?;
        let byte = u8::from_str_radix(text.get(from..end)?, radix).ok()?;
        Some((Some(byte), text.get(end..)?))
    };
    let Some(c) = text.chars().next() else { return (None, text) };
    let after = text.get(c.len_utf8()..).unwrap_or_default();
    let plain = |byte: u8| (Some(byte), after);
    match c {
        'x' => number(1, 2, 16).unwrap_or((None, after)),
        '0'..='7' => number(0, 3, 8).unwrap_or((None, after)),
        'a' => plain(7),
        'b' => plain(8),
        't' => plain(b'\t'),
        'n' => plain(b'\n'),
        'v' => plain(0x0b),
        'f' => plain(0x0c),
        'r' => plain(b'\r'),
        // A line that goes on.
        '\n' => (None, after),
        c => (u8::try_from(u32::from(c)).ok(), after),
    }
}

/// The numbers below 256 that `text` begins with, with commas or blanks between, and what is left. It stops
/// where they are not those of the signature, so that every number is read once.
fn decimals(mut text: &str, wanted: Signature) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    while bytes.len() <= TABLE_LIMIT {
        let digits = text.bytes().take(4).take_while(u8::is_ascii_digit).count();
        let byte = text.get(..digits).filter(|digits| digits.len() <= 3);
        let Some(byte) = byte.and_then(|digits| digits.parse().ok()) else { break };
        if wanted.get(bytes.len()).is_some_and(|of| *of != byte) {
            break;
        }
        bytes.push(byte);
        let after = text.get(digits..).unwrap_or_default();
        text = after.trim_start_matches(|c: char| c == ',' || is_gap(c));
        if text.len() == after.len() {
            break;
        }
    }
    (bytes, text)
}
