//! Hex digits without offsets: `xxd -p`, `xxd -i`, `od -A n`, or digits copied by hand.

use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::{Form, Signature, TABLE_LIMIT, TableDump},
    text::{excerpt, lines},
    whole::{complete, trailing_note, without_padding},
};

/// A line that has fewer bytes is no reason to take text for a dump: `dead` is a word.
const FIRST_LINE: usize = 8;

/// Reads the first run of lines that begins like a table. `None` if there are no such digits at all.
pub(super) fn read(text: &str, wanted: Signature) -> Option<Result<TableDump, Fault>> {
    let mut table: Option<Digits> = None;
    let mut other = None;
    for (number, line) in lines(text) {
        let line = Line::read(line);
        if let Some(digits) = &mut table {
            if !digits.extend(number, line) {
                break;
            }
            continue;
        }
        table = Digits::start(number, &line, wanted);
        if line.bytes.len() >= FIRST_LINE && line.stop.is_none() {
            other.get_or_insert(number);
        }
    }
    let bad = |line, problem| DumpError::Bad { form: Form::PlainHex, line: Some(line), problem };
    let Some(mut digits) = table else {
        let error = bad(other?, Problem::NoSignature);
        return Some(Err(Fault { rank: Rank::Digits, progress: 0, error }));
    };
    Some(match complete(&digits.bytes) {
        Ok(trailing) => {
            let word = digits.word.unwrap_or(1);
            let trailing = without_padding(&mut digits.bytes, trailing, word);
            let notes = trailing_note(trailing).into_iter().collect();
            Ok(TableDump { form: Form::PlainHex, table: digits.bytes, notes })
        }
        Err(problem) => {
            let progress = digits.rows;
            let error = match (problem, digits.stop) {
                (Problem::Cut { .. }, Some((line, token))) => {
                    bad(line, Problem::BadDigits { token })
                }
                (problem, _) => bad(digits.last, problem),
            };
            Err(Fault { rank: Rank::Wanted, progress, error })
        }
    })
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
        let words = line.split(|c: char| c == ',' || c.is_whitespace());
        for (number, word) in words.filter(|word| !word.is_empty()).enumerate() {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            let Some(bytes) = pairs(digits) else {
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
    /// The last line that was part of it.
    last: usize,
    stop: Option<(usize, String)>,
}

impl Digits {
    /// A table that begins in `line`, if one does.
    fn start(number: usize, line: &Line, wanted: Signature) -> Option<Self> {
        let stop = line.stop.clone().map(|token| (number, token));
        let digits = |bytes, word| Self { bytes, word, rows: 1, last: number, stop };
        if line.bytes.starts_with(&wanted) {
            return Some(digits(line.bytes.clone(), None));
        }
        let word = line.word.filter(|word| matches!(word, 2 | 4 | 8))?;
        let swapped = line.swapped(word);
        swapped.starts_with(&wanted).then(|| digits(swapped, Some(word)))
    }

    /// Whether it may go on after this line.
    fn extend(&mut self, number: usize, line: Line) -> bool {
        if self.stop.is_some() || self.bytes.len() > TABLE_LIMIT {
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
