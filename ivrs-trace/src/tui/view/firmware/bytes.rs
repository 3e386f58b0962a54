//! Bytes as text: offset, hex digits and characters, some of them lit.

use std::ops::Range;

use crate::tui::{Role, detail::Text};

/// Lines of bytes around those of the selected part.
const AROUND: usize = 1;
/// Bytes that are shown at most.
const BYTES: usize = 4096;

/// The lines that hold what is lit, and some around it.
pub(super) fn excerpt(text: &mut Text, all: &[u8], lit: &[Range<usize>]) {
    let per_line = per_line(text.width(), digits(all));
    let around = AROUND * per_line;
    let first = lit.iter().map(|range| range.start).min().unwrap_or_default();
    let end = lit.iter().map(|range| range.end).max().unwrap_or_default();
    // Whole lines.
    let from = first.saturating_sub(first % per_line).saturating_sub(around);
    let to = end.next_multiple_of(per_line).saturating_add(around);
    window(text, all, lit, from..to);
}

/// The bytes of a range, no more than [`BYTES`] of them.
pub(super) fn window(text: &mut Text, all: &[u8], lit: &[Range<usize>], range: Range<usize>) {
    let digits = digits(all);
    let per_line = per_line(text.width(), digits);
    let end = range.end.min(all.len());
    let shown_end = end.min(range.start.saturating_add(BYTES));
    let characters = digits + 5 + per_line * 4 <= text.width();
    let Some(shown) = all.get(range.start..shown_end) else { return };
    for (line, bytes) in shown.chunks(per_line).enumerate() {
        let offset = range.start + line * per_line;
        let mut pieces = vec![(Role::Dim, format!("{offset:#0width$x} ", width = digits + 2))];
        let mut before = Role::Dim;
        for (byte, at) in bytes.iter().zip(offset..) {
            let here = lit.iter().any(|range| range.contains(&at));
            let role = if here { Role::Lit } else { Role::Text };
            // What is lit is lit in one piece.
            let gap = if before == Role::Lit && here { Role::Lit } else { Role::Text };
            add(&mut pieces, gap, " ");
            add(&mut pieces, role, &format!("{byte:02x}"));
            before = role;
        }
        if characters {
            let missing = per_line - bytes.len();
            let plain: String = bytes.iter().map(|byte| character(*byte)).collect();
            add(&mut pieces, Role::Dim, &format!("{}  {plain}", "   ".repeat(missing)));
        }
        text.line(pieces);
    }
    if end > shown_end {
        let more = end - shown_end;
        text.paragraph(Role::Dim, "", &format!("and {more} more bytes, to {end:#x}"));
    }
}

/// As many bytes a line as fit: 16, 8 or 4.
fn per_line(width: usize, digits: usize) -> usize {
    let fits = |count: &usize| digits + 3 + 3 * count <= width;
    [16, 8].into_iter().find(fits).unwrap_or(4)
}

/// Hex digits of an offset, three at least.
fn digits(all: &[u8]) -> usize {
    format!("{:x}", all.len()).len().max(3)
}

fn character(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

/// Adds to the last piece if it looks the same.
fn add(pieces: &mut Vec<(Role, String)>, role: Role, text: &str) {
    match pieces.last_mut() {
        Some((last, piece)) if *last == role => piece.push_str(text),
        _ => pieces.push((role, text.to_owned())),
    }
}
