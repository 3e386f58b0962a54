//! Untrusted text made fit for a terminal.
//!
//! Names come from firmware, from processes and from guests. What could move the cursor, hide text
//! or turn its direction is written as an escape; everything else stays as it is.

use std::fmt::{self, Write as _};

/// `text` with every character that is not plainly visible written as `\u{..}`.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut out, c);
    }
    out
}

/// The bytes up to the first NUL as printable text; what is not UTF-8 is written as `\xNN`.
pub(crate) fn printable_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    for chunk in bytes.get(..end).unwrap_or_default().utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut out, c);
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _: fmt::Result = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn push(out: &mut String, c: char) {
    if c.is_control() || is_invisible(c) {
        out.extend(c.escape_unicode());
    } else {
        out.push(c);
    }
}

/// Characters that take no space or change the order of others: zero-width and bidirectional
/// controls, separators, variation selectors, tags and the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays() {
        assert_eq!(printable("CPU 0/KVM éß 漢"), "CPU 0/KVM éß 漢");
    }

    #[test]
    fn controls_are_written_out() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\u{a}c");
        assert_eq!(printable("x\u{202e}y\u{200b}z\u{feff}"), "x\\u{202e}y\\u{200b}z\\u{feff}");
        assert_eq!(printable("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn bytes_end_at_nul_and_need_not_be_text() {
        assert_eq!(printable_bytes(b"vfio-pci\0\0junk"), "vfio-pci");
        assert_eq!(printable_bytes(b"a\xff\x1bb"), "a\\xff\\u{1b}b");
        assert_eq!(printable_bytes(b""), "");
    }
}
