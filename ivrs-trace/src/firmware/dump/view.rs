//! What mail, diffs and other programs do to a text, undone. Every function leaves a line where it is, so
//! that the numbers of lines stay those of the input.

use super::text::lines;

/// What was undone before a table was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Quoted-printable, as mail is encoded.
    QuotedPrintable,
    /// One side of a diff was taken.
    Diff(Side),
    /// What stood before the bytes in each line was cut off.
    Unprefixed,
}

/// A side of a unified diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The lines after the change.
    New,
    /// The lines before it.
    Old,
}

/// `text` with its quoted-printable undone; `None` if it has none. Joined lines leave empty ones behind.
pub(super) fn quoted_printable(text: &str) -> Option<String> {
    let soft = |line: &str| line.trim_end_matches('\r').ends_with('=');
    if !text.lines().any(|line| soft(line) || line.contains("=3D") || line.contains("=09")) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut joined = 0_usize;
    for line in text.lines() {
        let line = line.trim_end_matches('\r');
        let (line, soft) = line.strip_suffix('=').map_or((line, false), |line| (line, true));
        decode(line, &mut out);
        joined = joined.saturating_add(1);
        if !soft {
            out.extend(std::iter::repeat_n('\n', joined));
            joined = 0;
        }
    }
    Some(out)
}

/// Undoes `=3D`. What is no code stays as it is, and so does one of a byte that no text of these has.
fn decode(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('=') {
        out.push_str(before);
        let code = after.get(..2).filter(|code| !code.contains(|c: char| c.is_ascii_lowercase()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        rest = if let Some(byte) = byte.filter(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            out.push(char::from(byte));
            after.get(2..).unwrap_or_default()
        } else {
            out.push('=');
            after
        };
    }
    out.push_str(rest);
}

/// Whether the text is a unified diff.
pub(super) fn is_diff(text: &str) -> bool {
    let (mut new, mut old) = (false, false);
    lines(text).any(|(_, line)| {
        new |= line.starts_with('+');
        old |= line.starts_with('-');
        line.starts_with("@@ -") || new && old
    })
}

/// One side of a diff: its lines and those that both have.
pub(super) fn side(text: &str, side: Side) -> String {
    let (kept, dropped) = if side == Side::New { ('+', '-') } else { ('-', '+') };
    let head = |line: &str| ["+++ ", "--- ", "@@ -"].iter().any(|head| line.starts_with(head));
    let mut out = String::with_capacity(text.len());
    for (_, line) in lines(text) {
        if !head(line) && !line.starts_with(dropped) {
            out.push_str(line.strip_prefix(kept).unwrap_or(line));
        }
        out.push('\n');
    }
    out
}

/// How many words before the bytes are looked at. Times, hosts and names of programs have fewer.
const PREFIX_WORDS: usize = 12;

/// Each line from the offset of its bytes on; `None` if no line has anything before that.
pub(super) fn unprefixed(text: &str) -> Option<String> {
    let mut cut = false;
    let mut out = String::with_capacity(text.len());
    for (_, line) in lines(text) {
        let row = row(line);
        cut |= row.len() < line.len();
        out.push_str(row);
        out.push('\n');
    }
    cut.then_some(out)
}

/// What is left of a line from the first word on that is an offset with bytes behind it.
fn row(line: &str) -> &str {
    let mut rest = line;
    for _ in 0..PREFIX_WORDS {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let after = after.trim_start();
        let ends = after.is_empty() && (word == "*" || word.starts_with('0') && is_offset(word));
        if ends || is_offset(word) && is_bytes(after) {
            return rest;
        }
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    line
}

fn is_offset(word: &str) -> bool {
    let digits = word.strip_suffix(':').unwrap_or(word);
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let least = if word.ends_with(':') { 4 } else { 6 };
    (least..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_bytes(text: &str) -> bool {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    (2..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_where_they_are() {
        let text = "a=\nb=3Dc\nd=\n=\ne\n";
        let undone = quoted_printable(text).unwrap();
        assert_eq!(undone, "ab=c\n\nde\n\n\n");
        assert_eq!(undone.lines().count(), text.lines().count());
        assert_eq!(quoted_printable("a = b\n"), None);
        assert_eq!(side("> @@ -1 +1 @@\n> -a\n> +b\n>  c\n", Side::New), "\n\nb\nc\n");
        assert_eq!(side("> @@ -1 +1 @@\n> -a\n> +b\n>  c\n", Side::Old), "\na\n\nc\n");
    }

    #[test]
    fn a_prefix_ends_where_the_offset_of_bytes_begins() {
        for (line, row) in [
            ("HV XXD: bb3d0000:  444d 4152", "bb3d0000:  444d 4152"),
            ("[    0.123456] x: 00000000: 49 56", "00000000: 49 56"),
            ("Nov 27 23:50:47 host kernel: 0000: 49 56 52 53", "0000: 49 56 52 53"),
            ("1234 00000000  49 56 |IV|", "00000000  49 56 |IV|"),
        ] {
            assert_eq!(unprefixed(line), Some(format!("{row}\n")), "{line}");
        }
        for line in ["00000000: 49 56", "dead beef", "no row: here", "DEV_SELECT devid: 00:00.0"] {
            assert_eq!(unprefixed(line), None, "{line}");
        }
    }
}
