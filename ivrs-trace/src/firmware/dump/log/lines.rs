//! The lines of a log as the kernel wrote them: mailers, terminals and pagers break them anywhere.

use super::super::text::lines;

/// More pieces than this are of no line that is read, however narrow.
const PIECES: usize = 16;
/// Bytes of a piece that are looked at. The lines that are read here are shorter.
const PIECE: usize = 512;

/// A line and what may be its continuation.
pub(super) struct Logged<'a> {
    /// The line of the input, from 1.
    pub(super) line: usize,
    pieces: Vec<&'a str>,
}

impl Logged<'_> {
    /// Reads the line without its white space, with as few pieces as it takes: what follows may be
    /// somebody's words. `read` tells whether something is missing.
    pub(super) fn read<T>(
        &self,
        mut read: impl FnMut(&str) -> Option<Result<T, &'static str>>,
    ) -> Option<Result<T, &'static str>> {
        let mut text = String::new();
        let mut last = None;
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            push(&mut text, piece);
            // A number may be broken too.
            while ends_in_digit(&text)
                && let Some(rest) = pieces.next_if(|next| is_digits(next))
            {
                push(&mut text, rest);
            }
            last = read(&text);
            if matches!(last, Some(Ok(_))) {
                break;
            }
        }
        last
    }

    /// The line as a reader should see it.
    pub(super) fn text(&self) -> String {
        let words = self.pieces.iter().flat_map(|piece| piece.split_whitespace());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// White space, also as /dev/kmsg and rsyslog escape it.
fn push(text: &mut String, piece: &str) {
    let piece = piece.replace("\\x09", " ").replace("#011", " ");
    text.extend(piece.chars().filter(|c| !c.is_whitespace()));
}

fn ends_in_digit(text: &str) -> bool {
    text.bytes().last().is_some_and(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(piece: &str) -> bool {
    (1..=16).contains(&piece.len()) && piece.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The lines of a log, each with those that follow without a beginning of their own.
pub(super) fn logged(text: &str) -> impl Iterator<Item = Logged<'_>> {
    let mut lines = lines(text).peekable();
    std::iter::from_fn(move || {
        let (line, first) = lines.next()?;
        let mut pieces = vec![limited(first)];
        while pieces.len() < PIECES
            && let Some((_, next)) = lines.next_if(|(_, next)| !next.is_empty() && !is_head(next))
        {
            pieces.push(limited(next));
        }
        Some(Logged { line, pieces })
    })
}

fn limited(piece: &str) -> &str {
    let end = piece.char_indices().map(|(at, _)| at).take_while(|at| *at <= PIECE).last();
    if piece.len() <= PIECE { piece } else { piece.get(..end.unwrap_or(0)).unwrap_or_default() }
}

/// How lines begin: after time, host and program, with the name of a subsystem, or with what the
/// subsystem writes first.
const HEADS: &[&str] = &[
    "(XEN)",
    "[VT-D]",
    "AMD-Vi:",
    "DMAR:",
    "DMAR-IR:",
    "[Firmware Bug]",
    "ACPI:",
    "BIOS-e820:",
    "kernel:",
    "Linux version",
    "pci ",
    "vfio",
    "kvm:",
    "qemu",
    "QEMU",
    "DEV_",
    "IVMD_TYPE",
    "device:",
    "mmio-addr:",
    "PCI segment",
    "DRHD base:",
    "RMRR base:",
    "BIOS vendor:",
    "...",
];

fn is_head(line: &str) -> bool {
    HEADS.iter().any(|head| line.starts_with(head)) || is_time(line)
}

/// `[    0.123456]`, `[Fri Nov 27`, `<6>[`, `Nov 27`, `2026-11-27`.
fn is_time(line: &str) -> bool {
    let digits = |text: &str, count: usize| {
        text.len() >= count && text.bytes().take(count).all(|byte| byte.is_ascii_digit())
    };
    let level = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(_, rest)| rest);
    if let Some(inner) = level.unwrap_or(line).strip_prefix('[') {
        let inner = inner.trim_start_matches([' ', '+']);
        let seconds = inner.trim_start_matches(|c: char| c.is_ascii_digit());
        let weekday = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
        return seconds.len() < inner.len() && seconds.starts_with('.')
            || weekday.iter().any(|day| inner.starts_with(day));
    }
    let month = line.get(..4).is_some_and(|month| {
        month.starts_with(|c: char| c.is_ascii_uppercase())
            && month.ends_with(' ')
            && month.get(1..3).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()))
    });
    month && line.get(4..).is_some_and(|day| digits(day.trim_start(), 1))
        || digits(line, 4)
            && line.get(4..5) == Some("-")
            && line.get(5..).is_some_and(|rest| digits(rest, 2))
}

// Tokens of a line without white space.

/// What follows `key`.
pub(super) fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(key).map(|(_, rest)| rest)
}

/// The hexadecimal number between two keys.
pub(super) fn between(text: &str, key: &str, next: &str) -> Option<u64> {
    hex(after(text, key)?.split_once(next)?.0)
}

/// A hexadecimal number of `least` to `most` digits at the start of `text`, `0x` apart.
pub(super) fn leading(text: &str, least: usize, most: usize) -> Option<u64> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let count = text.bytes().take(most).take_while(u8::is_ascii_hexdigit).count();
    (count >= least).then(|| hex(text.get(..count)?)).flatten()
}

/// Digits only, `0x` apart: `from_str_radix` alone would take a sign.
pub(super) fn hex(digits: &str) -> Option<u64> {
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// A decimal number at the start of `text`.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..count)?.parse().ok()
}
