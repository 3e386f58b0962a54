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
    pieces: Vec<Piece<'a>>,
}

/// A line of the input, or part of one.
struct Piece<'a> {
    text: &'a str,
    /// Whether it is all of its line: what stands before the time of another line may be its number.
    whole: bool,
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
            push(&mut text, piece.text);
            // A number may be broken too.
            while ends_in_digit(&text)
                && let Some(rest) = pieces.next_if(|next| next.whole && is_digits(next.text))
            {
                push(&mut text, rest.text);
            }
            last = read(&text);
            if matches!(last, Some(Ok(_))) {
                break;
            }
        }
        last
    }

    /// The line with single blanks.
    pub(super) fn text(&self) -> String {
        joined(self.pieces.iter())
    }

    /// The same without what stands before the time of the next line.
    pub(super) fn quotable(&self) -> String {
        let (first, more) = self.pieces.split_at(1);
        joined(first.iter().chain(more.iter().filter(|piece| piece.whole)))
    }
}

fn joined<'a>(pieces: impl Iterator<Item = &'a Piece<'a>>) -> String {
    let words = pieces.flat_map(|piece| piece.text.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

/// White space, also as /dev/kmsg, rsyslog and JSON escape it.
fn push(text: &mut String, piece: &str) {
    let piece = piece.replace("\\x09", " ").replace("#011", " ").replace("\\t", " ");
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
    let mut parts = lines(text).flat_map(|(number, line)| parts(number, line)).peekable();
    std::iter::from_fn(move || {
        let (line, first) = parts.next()?;
        let mut pieces = vec![first];
        while pieces.len() < PIECES
            && let Some((_, next)) =
                parts.next_if(|(_, next)| !next.text.is_empty() && !is_head(next.text))
        {
            pieces.push(next);
        }
        Some(Logged { line, pieces })
    })
}

/// A line of the input in as many parts as it has times: forums join lines.
fn parts(number: usize, line: &str) -> impl Iterator<Item = (usize, Piece<'_>)> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let (text, after) = match next_time(text) {
            Some(at) => text.split_at_checked(at).unwrap_or((text, "")),
            None => (text, ""),
        };
        rest = (!after.is_empty()).then_some(after);
        let whole = text.len() == line.len();
        Some((number, Piece { text: limited(text.trim_end()), whole }))
    })
}

/// Where the next time in `text` begins, behind its start. Xen writes times behind its own name.
fn next_time(text: &str) -> Option<usize> {
    let mut blank = false;
    text.char_indices()
        .map(|(at, c)| (at, std::mem::replace(&mut blank, c.is_whitespace())))
        .find_map(|(at, after_blank)| {
            let time = at > 0 && after_blank && is_time(text.get(at..)?);
            (time && !text.get(..at)?.trim_end().ends_with("(XEN)")).then_some(at)
        })
}

fn limited(piece: &str) -> &str {
    let end = piece.char_indices().map(|(at, _)| at).take_while(|at| *at <= PIECE).last();
    if piece.len() <= PIECE { piece } else { piece.get(..end.unwrap_or(0)).unwrap_or_default() }
}

/// What lines begin with, if nothing was put before them.
const HEADS: &[&str] = &[
    "[VT-D]",
    "[Firmware Bug]",
    "pci ",
    "vfio",
    "kvm:",
    "qemu",
    "QEMU",
    "DEV_",
    "device:",
    "BIOS vendor:",
    "...",
];

/// What no line has in its middle: it begins there or behind time, host, program or the number of a line,
/// whatever form those have.
const NAMES: &[&str] = &[
    "(XEN)",
    "AMD-Vi:",
    "DMAR:",
    "DMAR-IR:",
    "dmar:",
    "ACPI:",
    "BIOS-e820:",
    "kernel:",
    "Linux version",
    "IVMD_TYPE",
    "mmio-addr:",
    "PCI segment",
    "DRHD base:",
    "RMRR base:",
    "vfio-pci 0",
    "vfio 0",
    "qemu-system",
];

fn is_head(line: &str) -> bool {
    HEADS.iter().any(|head| line.starts_with(head))
        || NAMES.iter().any(|name| line.contains(name))
        || is_time(line)
}

/// `[    0.123456]`, `[Fri Nov 27`, `<6>[`, `Nov 27 23:`, `2026-11-27T23:`.
fn is_time(line: &str) -> bool {
    let digits = |text: &str, count: usize| {
        text.len() >= count && text.bytes().take(count).all(|byte| byte.is_ascii_digit())
    };
    let level = line
        .strip_prefix('<')
        .and_then(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix('>'));
    if let Some(inner) = level.unwrap_or(line).strip_prefix('[') {
        let inner = inner.trim_start_matches([' ', '+']);
        let seconds = inner.trim_start_matches(|c: char| c.is_ascii_digit());
        let weekday = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
        return seconds.len() < inner.len() && seconds.starts_with('.')
            || weekday.iter().any(|day| inner.starts_with(day));
    }
    let hour = |text: &str| digits(text, 2) && text.get(2..3) == Some(":");
    let month = line.get(..4).is_some_and(|month| {
        month.starts_with(|c: char| c.is_ascii_uppercase())
            && month.ends_with(' ')
            && month.get(1..3).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()))
    });
    let day = line.get(4..).unwrap_or_default().trim_start();
    month && day.split_once(' ').is_some_and(|(day, rest)| digits(day, 1) && hour(rest))
        || digits(line, 4) && line.get(4..5) == Some("-") && line.get(11..).is_some_and(hour)
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
