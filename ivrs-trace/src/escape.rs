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
    if is_hidden(c) {
        out.extend(c.escape_unicode());
    } else {
        out.push(c);
    }
}

/// Characters that move the cursor, take no space or change the order of others: controls, formats,
/// separators of lines, what Unicode has not given out, and the rest of what it says to ignore where
/// it cannot be shown (`Default_Ignorable_Code_Point`: fillers, joiners and variation selectors).
pub(crate) fn is_hidden(c: char) -> bool {
    use unicode_general_category::GeneralCategory as Is;
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let category = unicode_general_category::get_general_category(c);
    matches!(
        category,
        Is::Control | Is::Format | Is::LineSeparator | Is::ParagraphSeparator | Is::Unassigned
    ) || matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
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
    fn no_character_that_is_not_shown_gets_through() {
        // Default_Ignorable_Code_Point of Unicode 16, and formats beside it.
        let ranges = [
            0xad..=0xad,
            0x34f..=0x34f,
            0x600..=0x605,
            0x61c..=0x61c,
            0x6dd..=0x6dd,
            0x70f..=0x70f,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xfff0..=0xfffb,
            0x110bd..=0x110bd,
            0x13430..=0x1343f,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0000..=0xe0fff,
            0x80..=0x9f,
            0..=0x1f,
        ];
        for c in ranges.into_iter().flatten().filter_map(char::from_u32) {
            let shown = printable(&c.to_string());
            assert!(shown.is_ascii() && shown.starts_with("\\u{"), "{:x}: {shown}", u32::from(c));
        }
        assert_eq!(printable("日本 é Ω … ü 🖥"), "日本 é Ω … ü 🖥");
    }

    #[test]
    fn bytes_end_at_nul_and_need_not_be_text() {
        assert_eq!(printable_bytes(b"vfio-pci\0\0junk"), "vfio-pci");
        assert_eq!(printable_bytes(b"a\xff\x1bb"), "a\\xff\\u{1b}b");
        assert_eq!(printable_bytes(b""), "");
    }
}
