//! Hex digits without offsets: `xxd -p`, `xxd -i`, `od -A n`, or digits copied by hand.

use std::borrow::Cow;

use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::{Form, Signature, TABLE_LIMIT, TableDump},
    text::{excerpt, lines, name, name_of},
    whole::{complete, trailing_note, without_padding},
};

/// A line that has fewer bytes is no reason to take text for a dump: `dead` is a word.
const FIRST_LINE: usize = 8;

/// Reads the runs of lines that begin like a table. `None` if there are no such digits at all.
pub(super) fn read(text: &str, wanted: Signature) -> Option<Result<Vec<TableDump>, Fault>> {
    let mut tables = Vec::new();
    let mut fault = None;
    let mut run: Option<Digits> = None;
    let mut other = None;
    for (number, line) in lines(text) {
        let program = line.contains(['{', '(', '=']);
        let line = Line::read(if program && run.is_none() { from_digits(line) } else { line });
        let begun = Digits::start(number, &line, wanted);
        if let (Some(digits), None) = (&mut run, &begun) {
            if !digits.extend(number, line) {
                finish(run.take(), &mut tables, &mut fault);
            }
            continue;
        }
        if let Some(begun) = begun {
            finish(run.replace(begun), &mut tables, &mut fault);
        } else if line.bytes.len() >= FIRST_LINE && line.stop.is_none() {
            other.get_or_insert_with(|| (number, line.name()));
        }
    }
    finish(run, &mut tables, &mut fault);
    if !tables.is_empty() {
        return Some(Ok(tables));
    }
    if let Some((line, found)) = other.filter(|_| fault.is_none()) {
        let problem = Problem::NoSignature { found };
        let error = DumpError::Bad { form: Form::PlainHex, line: Some(line), problem };
        fault = Some(Fault { rank: Rank::Digits, progress: 0, error });
    }
    fault.map(Err)
}

/// Adds what became of a run to the tables, or to the faults.
fn finish(run: Option<Digits>, tables: &mut Vec<TableDump>, fault: &mut Option<Fault>) {
    let Some(mut digits) = run else { return };
    match complete(&digits.bytes) {
        Ok(trailing) => {
            let word = digits.word.unwrap_or(1);
            let trailing = without_padding(&mut digits.bytes, trailing, word);
            tables.push(TableDump {
                form: Form::PlainHex,
                lines: Some((digits.first, digits.last)),
                table: digits.bytes,
                headless: false,
                notes: trailing_note(trailing).into_iter().collect(),
            });
        }
        Err(problem) => {
            let (line, problem) = match (problem, digits.stop) {
                (Problem::Cut { .. }, Some((line, token))) => (line, Problem::BadDigits { token }),
                (problem, _) => (digits.last, problem),
            };
            let error = DumpError::Bad { form: Form::PlainHex, line: Some(line), problem };
            let found = Fault { rank: Rank::Wanted, progress: digits.rows, error };
            super::keep_further(fault, found);
        }
    }
}

/// What stands between digits, also in lists and strings of programming languages.
fn is_between(c: char) -> bool {
    matches!(c, ',' | ';' | '{' | '}' | '(' | ')' | '[' | ']' | '"' | '\'' | '\\')
        || c.is_whitespace()
}

/// `line` without `/* ... */` and what follows `//`, where people write offsets and text.
fn without_comments(line: &str) -> Cow<'_, str> {
    if !line.contains("/*") && !line.contains("//") {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line.split("//").next().unwrap_or(line);
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    Cow::Owned(out + rest)
}

/// `49:56:52:53` or `49h`.
fn marked(word: &str) -> Option<Vec<u8>> {
    if let Some(digits) = word.strip_suffix(['h', 'H']).filter(|digits| digits.len() == 2) {
        return pairs(digits);
    }
    let byte = |part: &str| pairs(part).filter(|bytes| bytes.len() == 1)?.first().copied();
    word.contains(':').then(|| word.split(':').map(byte).collect()).flatten()
}

/// Words of a program that may stand before the digits.
const WORDS_BEFORE: usize = 8;

/// What is left of a line from the first word on that could begin a table.
fn from_digits(line: &str) -> &str {
    let mut rest = line;
    for _ in 0..WORDS_BEFORE {
        rest = rest.trim_start_matches(is_between);
        let Some(end) = rest.find(is_between) else { break };
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix('x')).unwrap_or(word);
        if pairs(digits).or_else(|| marked(digits)).is_some() {
            break;
        }
        rest = after;
    }
    rest
}

/// One line's bytes in the order of the digits.
struct Line {
    bytes: Vec<u8>,
    /// Bytes of each word, if all have the same.
    word: Option<usize>,
    /// The first word that is not pairs of hex digits.
    stop: Option<String>,
}

impl Line {
    fn read(line: &str) -> Self {
        let mut read = Self { bytes: Vec::new(), word: None, stop: None };
        // What follows a mark is the text column of od or hexdump.
        let line = line.split(['|', '>']).next().unwrap_or(line);
        let line = without_comments(line);
        for (number, word) in line.split(is_between).filter(|word| !word.is_empty()).enumerate() {
            let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix('x')).unwrap_or(word);
            let Some(bytes) = pairs(digits).or_else(|| marked(digits)) else {
                // A long word may hold most of a line, so what comes before the damage counts.
                let good = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
                let good = digits.get(..good.saturating_sub(good % 2)).and_then(pairs);
                read.bytes.extend(good.unwrap_or_default());
                read.stop = Some(excerpt(word));
                break;
            };
            let same = number == 0 || read.word == Some(bytes.len());
            read.word = same.then_some(bytes.len());
            read.bytes.extend(bytes);
        }
        read
    }

    /// What stands where a table has its signature, in whichever order it is one.
    fn name(&self) -> String {
        let swapped = self.word.map(|word| self.swapped(word));
        let swapped = swapped.and_then(|bytes| name(&bytes));
        swapped
            .filter(|_| name(&self.bytes).is_none() || self.word == Some(2))
            .unwrap_or_else(|| name_of(&self.bytes))
    }

    /// The bytes with each word's turned round, as `od` prints words on a little-endian machine.
    fn swapped(&self, word: usize) -> Vec<u8> {
        self.bytes.chunks(word.max(1)).flat_map(|chunk| chunk.iter().rev()).copied().collect()
    }
}

/// A table being read.
struct Digits {
    bytes: Vec<u8>,
    /// Bytes of a word whose bytes are swapped.
    word: Option<usize>,
    /// Lines that were taken.
    rows: usize,
    first: usize,
    /// The last line that was part of it.
    last: usize,
    stop: Option<(usize, String)>,
}

impl Digits {
    /// A table that begins in `line`, if one does.
    fn start(number: usize, line: &Line, wanted: Signature) -> Option<Self> {
        let stop = line.stop.clone().map(|token| (number, token));
        let digits = |bytes, word| Self { bytes, word, rows: 1, first: number, last: number, stop };
        if line.bytes.starts_with(&wanted) {
            return Some(digits(line.bytes.clone(), None));
        }
        let word = line.word.filter(|word| matches!(word, 2 | 4 | 8))?;
        let swapped = line.swapped(word);
        swapped.starts_with(&wanted).then(|| digits(swapped, Some(word)))
    }

    /// Whether it may go on after this line.
    fn extend(&mut self, number: usize, line: Line) -> bool {
        // What is not digits alone ends a table that is whole.
        let over = line.stop.is_some() && complete(&self.bytes).is_ok();
        if over || self.stop.is_some() || self.bytes.len() > TABLE_LIMIT {
            return false;
        }
        if !line.bytes.is_empty() {
            self.last = number;
            self.rows = self.rows.saturating_add(1);
        }
        self.bytes.extend(match self.word {
            Some(word) => line.swapped(word),
            None => line.bytes,
        });
        self.stop = line.stop.map(|token| (number, token));
        self.stop.is_none()
    }
}

/// The bytes that `digits` are, two each; `None` if they are anything else.
pub(super) fn pairs(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
