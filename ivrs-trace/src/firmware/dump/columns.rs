//! Dumps whose lines begin with an offset: acpidump, iasl, xxd, hexdump and od.
//!
//! The offsets are what makes a missing or damaged line visible, so every line must follow on the one
//! before it. Lines that are no part of a dump may stand anywhere between.

use std::cell::Cell;

use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::{Form, INPUT_LIMIT, Signature, TABLE_LIMIT, TableDump},
    plain::pairs,
    text::{excerpt, lines, name_of},
    whole::{complete, trailing_note, without_padding},
};

/// Bytes that the first line may have; the tools print 16 unless told otherwise. It sets the limit for
/// the others.
const LONGEST_ROW: usize = 256;
/// No table has its beginning so far before its first line that is left: what begins higher is memory.
const PAGE: u64 = 0x1000;
/// Other tables that an error names.
const NAMED_TABLES: usize = 8;

/// How offset and bytes stand in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `0000: ` in hex, then groups of bytes, then perhaps two spaces and text.
    Colon,
    /// `0000000 ` in hex, then words of equal size, then perhaps text after `|` or `>`.
    Hex,
    /// The same with the offset in octal.
    Octal,
    /// The same with the offset in decimal.
    Decimal,
}

impl Style {
    fn offset(self, digits: &str) -> Option<u64> {
        let (lengths, radix) = match self {
            Self::Colon => (4..=16, 16),
            Self::Hex => (6..=16, 16),
            Self::Octal => (6..=16, 8),
            Self::Decimal => (6..=16, 10),
        };
        let all = digits.chars().all(|c| c.is_digit(radix)) && lengths.contains(&digits.len());
        all.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
    }
}

/// One line of the input.
enum Line<'a> {
    Row {
        offset: u64,
        /// How many digits the offset has.
        digits: usize,
        /// What follows it.
        cells: &'a str,
    },
    /// An offset alone: where the dump ends.
    End(u64),
    /// `*`: the row before it, again and again.
    Repeat,
    /// What acpidump writes before a table: its signature.
    Header(&'a str),
    /// What iasl writes before the bytes.
    RawData,
    Other,
}

impl<'a> Line<'a> {
    fn of(line: &'a str, style: Style) -> Self {
        if line == "*" {
            return Self::Repeat;
        }
        if style == Style::Colon {
            if line.starts_with("Raw Table Data") {
                return Self::RawData;
            }
            if let Some((name, _)) = line.split_once(" @ 0x").filter(|(name, _)| name.len() == 4) {
                return Self::Header(name);
            }
            let row = line.split_once(':').and_then(|(digits, cells)| {
                let digits = digits.strip_prefix("0x").unwrap_or(digits);
                let separate = cells.is_empty() || cells.starts_with(char::is_whitespace);
                let offset = style.offset(digits).filter(|_| separate)?;
                Some(Self::Row { offset, digits: digits.len(), cells })
            });
            return row.unwrap_or(Self::Other);
        }
        let (digits, cells) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        // A table is small, so its offsets have leading zeros; words made of hex digits have none.
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        // So an address in memory has to have the digits of one, and bytes behind it.
        let is_offset = |_: &u64| digits.starts_with('0') || digits.len() >= 8 && is_words(cells);
        match style.offset(digits).filter(is_offset) {
            None => Self::Other,
            Some(offset) if cells.is_empty() => Self::End(offset),
            Some(offset) => Self::Row { offset, digits: digits.len(), cells },
        }
    }
}

/// Whether it begins with more than one word as dumps have them.
fn is_words(cells: &str) -> bool {
    let mut words = cells.split_whitespace();
    let mut one = || {
        words.next().is_some_and(|word| Word::of(word).is_some_and(|of| of.read(word).is_some()))
    };
    one() && one()
}

/// How one word of a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    digits: usize,
    radix: u32,
    /// Little-endian, as every machine with an AMD IOMMU prints them.
    bytes: usize,
}

/// The words of hexdump and od: each number of digits stands for one of them only.
const WORDS: [Word; 7] = [
    Word { digits: 2, radix: 16, bytes: 1 },
    Word { digits: 3, radix: 8, bytes: 1 },
    Word { digits: 4, radix: 16, bytes: 2 },
    Word { digits: 5, radix: 10, bytes: 2 },
    Word { digits: 6, radix: 8, bytes: 2 },
    Word { digits: 8, radix: 16, bytes: 4 },
    Word { digits: 16, radix: 16, bytes: 8 },
];

impl Word {
    fn of(text: &str) -> Option<Self> {
        WORDS.into_iter().find(|word| word.digits == text.len())
    }

    fn read(self, text: &str) -> Option<Vec<u8>> {
        if text.len() != self.digits || !text.chars().all(|c| c.is_digit(self.radix)) {
            return None;
        }
        let value = u64::from_str_radix(text, self.radix).ok()?.to_le_bytes();
        let (bytes, beyond) = value.split_at_checked(self.bytes)?;
        beyond.iter().all(|byte| *byte == 0).then(|| bytes.to_vec())
    }
}

/// The bytes of one row.
struct Row<'a> {
    bytes: Vec<u8>,
    /// How its words are written; none for [`Style::Colon`], where bytes stand in their order.
    word: Option<Word>,
    /// The first word that is not part of the bytes: text, or a damaged number.
    stop: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn read(cells: &'a str, style: Style, word: Option<Word>, longest: usize) -> Self {
        let mut row = Self { bytes: Vec::new(), word, stop: None };
        let area = if style == Style::Colon { before_gap(cells) } else { before_mark(cells) };
        // EFI's shell and DEBUG.EXE write a dash in the middle.
        let texts = area.split(|c: char| c.is_whitespace() || c == '-');
        for text in texts.filter(|text| !text.is_empty()) {
            let bytes = if style == Style::Colon {
                number(text).or_else(|| pairs(text))
            } else {
                row.word = row.word.or_else(|| Word::of(text));
                row.word.and_then(|word| word.read(text))
            };
            match bytes {
                Some(bytes) if row.bytes.len().saturating_add(bytes.len()) <= longest => {
                    row.bytes.extend(bytes);
                }
                _ => {
                    row.stop = Some(text);
                    break;
                }
            }
        }
        row
    }
}

/// A number as gdb and QEMU's monitor write it: little-endian.
fn number(text: &str) -> Option<Vec<u8>> {
    let mut bytes = pairs(text.strip_prefix("0x")?)?;
    bytes.reverse();
    Some(bytes)
}

/// What stands before a tab or two spaces: behind those is the text column. Numbers have tabs between.
fn before_gap(cells: &str) -> &str {
    let cells = cells.trim_start();
    if cells.starts_with("0x") {
        return cells;
    }
    let mut spaces = 0;
    for (at, c) in cells.char_indices() {
        spaces = if c.is_whitespace() { spaces + 1 } else { 0 };
        if spaces == 2 || c == '\t' {
            return cells.get(..at).unwrap_or(cells);
        }
    }
    cells
}

fn before_mark(cells: &str) -> &str {
    cells.split(['|', '>']).next().unwrap_or(cells)
}

/// Bytes that all the `*` of an input may stand for. A line of two bytes could stand for a table of
/// [`TABLE_LIMIT`], and reading would take as long as all of them.
const FILL_LIMIT: usize = INPUT_LIMIT;

/// A table being read.
struct Section<'a> {
    form: Form,
    /// Offset of the first row: 0, the address of a table in memory, or the beginning is missing.
    base: u64,
    /// The line it starts at.
    first_line: usize,
    /// The last line that was part of it.
    last_line: usize,
    /// What acpidump says it is.
    header: Option<[u8; 4]>,
    /// The signature of the table that is looked for.
    wanted: Signature,
    bytes: Vec<u8>,
    word: Option<Word>,
    /// Bytes of the first row.
    width: usize,
    /// Lines that were taken.
    rows: usize,
    /// Whether a `*` was filled in.
    filled: bool,
    /// Whether the dump's own last line was seen.
    ended: bool,
    /// The line and word at which the last row ended too early, if it did.
    stop: Option<(usize, String)>,
    /// The line of a `*` that is still to be filled in.
    repeat: Option<usize>,
    /// Where it stopped making sense.
    problem: Option<(usize, Problem)>,
    /// Whether lines that come are still looked at.
    open: bool,
    /// Bytes that may still be filled in, here and in what follows.
    fillable: &'a Cell<usize>,
}

impl<'a> Section<'a> {
    /// An acpidump header whose rows are yet to come.
    fn announced(
        form: Form,
        line: usize,
        header: Option<[u8; 4]>,
        Search { wanted, fillable }: Search<'a>,
    ) -> Self {
        Self {
            form,
            base: 0,
            first_line: line,
            last_line: line,
            header,
            wanted,
            bytes: Vec::new(),
            word: None,
            width: 0,
            rows: 0,
            filled: false,
            ended: false,
            stop: None,
            repeat: None,
            problem: None,
            open: true,
            fillable,
        }
    }

    fn expected(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }

    /// Ends it. If the table is whole, what is wrong behind it does not matter.
    fn fail(&mut self, line: usize, problem: Problem) {
        self.open = false;
        if complete(&self.bytes).is_err() {
            self.problem = Some((line, problem));
        }
    }

    /// Whether a line whose offset is `offset` follows on what was read; if not, it ends here.
    fn go_on(&mut self, line: usize, offset: u64) -> bool {
        if self.repeat.take().is_some() {
            self.fill_to(offset);
        }
        let expected = self.expected();
        if offset == expected {
            return true;
        }
        let problem = match self.stop.take() {
            Some((stopped, token)) if offset > expected => {
                self.fail(stopped, Problem::BadDigits { token });
                return false;
            }
            _ if offset > expected => Problem::Jump { expected, found: offset },
            _ => Problem::Back { expected, found: offset },
        };
        self.fail(line, problem);
        false
    }

    /// Repeats the last row up to `offset`, if that is a whole number of times, no table is longer and
    /// enough may be filled in.
    fn fill_to(&mut self, offset: u64) {
        let length = self.bytes.len();
        let end = offset.checked_sub(self.base).and_then(|end| usize::try_from(end).ok());
        let Some(gap) =
            end.filter(|end| *end <= TABLE_LIMIT).and_then(|end| end.checked_sub(length))
        else {
            return;
        };
        let row = length.checked_sub(self.width).and_then(|start| self.bytes.get(start..));
        let row = row.unwrap_or_default().to_vec();
        let left = self.fillable.get().checked_sub(gap);
        if let Some(left) = left.filter(|_| gap.is_multiple_of(row.len())) {
            self.fillable.set(left);
            self.bytes.extend(row.iter().cycle().take(gap));
            self.filled = true;
        }
    }

    fn add(&mut self, line: usize, row: Row<'_>) {
        if self.bytes.is_empty() {
            self.width = row.bytes.len();
        }
        self.word = row.word;
        self.bytes.extend(row.bytes);
        self.last_line = line;
        self.rows = self.rows.saturating_add(1);
        self.stop = row.stop.map(|token| (line, excerpt(token)));
        let length = self.bytes.len();
        if length > TABLE_LIMIT {
            self.bytes.truncate(TABLE_LIMIT);
            self.fail(line, Problem::TooLong { length });
        }
    }

    /// The dump's last line says where it ends, so the padding of the last word is known.
    fn end(&mut self, line: usize, offset: u64) {
        let padding = self.expected().checked_sub(offset).and_then(|n| usize::try_from(n).ok());
        let word = self.word.map_or(1, |word| word.bytes);
        let zeros = |count: &usize| self.bytes.iter().rev().take(*count).all(|byte| *byte == 0);
        let padding = padding.filter(|count| *count > 0 && *count < word && zeros(count));
        if let Some(padding) = padding {
            self.bytes.truncate(self.bytes.len().saturating_sub(padding));
        }
        if padding.is_some() || self.go_on(line, offset) {
            self.last_line = line;
            self.rows = self.rows.saturating_add(1);
            self.ended = true;
        }
    }

    /// Takes a line that may follow. A word before a colon is an offset only at its place or with bytes.
    fn row(&mut self, line: usize, offset: u64, cells: &str, style: Style) {
        let row = Row::read(cells, style, self.word, self.width);
        let is_row = style != Style::Colon || !row.bytes.is_empty() || offset == self.expected();
        if is_row && self.go_on(line, offset) {
            self.add(line, row);
        }
    }

    /// Takes a `*`.
    fn repeat(&mut self, line: usize) {
        if !self.bytes.is_empty() {
            self.repeat = Some(line);
        }
    }

    fn finish(self) -> Finished {
        let word = self.word.filter(|_| !self.ended).map_or(1, |word| word.bytes);
        let Self { form, base, first_line, last_line, header, wanted, mut bytes, .. } = self;
        let Self { rows: progress, filled, stop, repeat, problem, .. } = self;
        let failed = |rank, line, problem| {
            let error = DumpError::Bad { form, line: Some(line), problem };
            Finished::Failed(Fault { rank, progress, error })
        };
        let ours = header == Some(wanted);
        if base != 0 && !bytes.starts_with(&wanted) && !swapped(wanted, &bytes) {
            let rank = if ours { Rank::Wanted } else { Rank::Other };
            let problem = if base < PAGE {
                Problem::NoStart { offset: base }
            } else {
                Problem::NoTableAt { address: base }
            };
            return failed(rank, first_line, problem);
        }
        if !bytes.starts_with(&wanted) {
            if let Some((line, token)) = &stop
                && wanted.starts_with(&bytes)
            {
                return failed(Rank::Wanted, *line, Problem::BadDigits { token: token.clone() });
            }
            if swapped(wanted, &bytes) {
                return failed(Rank::Wanted, first_line, Problem::Swapped);
            }
            if ours && !bytes.is_empty() {
                return failed(
                    Rank::Wanted,
                    first_line,
                    Problem::NoSignature { found: name_of(&bytes) },
                );
            }
            if !ours {
                let name = header.as_ref().map_or_else(|| name_of(&bytes), |name| name_of(name));
                return Finished::Other { form, line: first_line, name, progress };
            }
        }
        if let Some((line, problem)) = problem {
            return failed(Rank::Wanted, line, problem);
        }
        match (complete(&bytes), stop) {
            (Ok(trailing), _) => {
                let table = bytes.len().saturating_sub(trailing);
                let sum = bytes.iter().take(table).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
                let trailing = without_padding(&mut bytes, trailing, word);
                let mut notes: Vec<_> = trailing_note(trailing).into_iter().collect();
                if filled && sum != 0 {
                    notes.push(
                        "the checksum is wrong, and a line missing beside a `*` cannot be seen: \
                         dump with -v if the table is in use"
                            .to_owned(),
                    );
                }
                let lines = Some((first_line, last_line));
                Finished::Table(TableDump { form, lines, table: bytes, headless: false, notes })
            }
            (Err(Problem::Cut { .. }), Some((line, token))) => {
                failed(Rank::Wanted, line, Problem::BadDigits { token })
            }
            (Err(problem), _) => failed(Rank::Wanted, repeat.unwrap_or(last_line), problem),
        }
    }
}

/// What became of a section.
enum Finished {
    /// A table that was looked for.
    Table(TableDump),
    /// Another table.
    Other {
        form: Form,
        line: usize,
        name: String,
        progress: usize,
    },
    Failed(Fault),
}

/// Whether it would begin with the signature if the bytes of words of two, four or eight were swapped.
fn swapped([a, b, c, d]: Signature, bytes: &[u8]) -> bool {
    bytes.starts_with(&[b, a, d, c])
        || bytes.starts_with(&[d, c, b, a])
        || bytes.get(4..8) == Some(&[d, c, b, a])
}

/// What is looked for, and how much `*` may still stand for.
#[derive(Clone, Copy)]
struct Search<'a> {
    wanted: Signature,
    fillable: &'a Cell<usize>,
}

/// Reads the tables with this signature in dumps of one style. `None` if there is no line of such a
/// dump.
pub(super) fn read(
    text: &str,
    wanted: Signature,
    style: Style,
) -> Option<Result<Vec<TableDump>, Fault>> {
    let mut found = Found { wanted, ..Found::default() };
    let fillable = Cell::new(FILL_LIMIT);
    let search = Search { wanted, fillable: &fillable };
    let mut section: Option<Section<'_>> = None;
    for (number, line) in lines(text) {
        match Line::of(line, style) {
            Line::Other => {}
            Line::Header(name) => {
                found.add(section.take());
                let header = name.as_bytes().first_chunk().copied();
                section = Some(Section::announced(Form::Acpidump, number, header, search));
            }
            Line::RawData => {
                found.add(section.take());
                section = Some(Section::announced(Form::Iasl, number, None, search));
            }
            Line::Repeat => {
                if let Some(section) = section.as_mut().filter(|section| section.open) {
                    section.repeat(number);
                }
            }
            Line::End(offset) => {
                if let Some(section) = section.as_mut().filter(|section| section.open) {
                    section.end(number, offset);
                }
            }
            Line::Row { offset, digits, cells } => {
                let begun = section.as_mut().filter(|section| !section.bytes.is_empty());
                let next = begun.as_ref().is_some_and(|section| section.expected() == offset);
                let row = Row::read(cells, style, None, LONGEST_ROW);
                // A table elsewhere in memory.
                let elsewhere = !next && row.bytes.starts_with(&wanted);
                if let Some(section) = begun.filter(|_| offset != 0 && !elsewhere) {
                    if section.open {
                        section.row(number, offset, cells, style);
                    }
                    continue;
                }
                if row.bytes.is_empty() {
                    continue;
                }
                let announced = section.take_if(|section| section.bytes.is_empty());
                found.add(section.take());
                let form = form_of(style, digits, &row, cells, announced.as_ref());
                let header = announced.and_then(|section| section.header);
                let mut new =
                    Section { base: offset, ..Section::announced(form, number, header, search) };
                new.add(number, row);
                section = Some(new);
            }
        }
    }
    found.add(section);
    found.result()
}

/// The line at which `od -c` or `hexdump -c` begins a table.
pub(super) fn characters(text: &str) -> Option<usize> {
    let begins = |line: &str| {
        let mut words = line.split_whitespace();
        let offset = words
            .next()
            .is_some_and(|word| word.len() >= 6 && pairs(word).is_some() || word == "0000000");
        let name: String = words.take(4).collect();
        offset && super::SIGNATURES.iter().any(|known| known == name.as_bytes())
    };
    lines(text).find(|(_, line)| begins(line)).map(|(number, _)| number)
}

/// Which tool writes such a first line.
fn form_of(
    style: Style,
    digits: usize,
    row: &Row<'_>,
    cells: &str,
    announced: Option<&Section<'_>>,
) -> Form {
    match style {
        Style::Colon if digits >= 8 => Form::Xxd,
        Style::Colon => match announced {
            Some(section) => section.form,
            None if cells.contains("// ") => Form::Iasl,
            None => Form::Acpidump,
        },
        Style::Hex if digits == 8 && row.word.is_some_and(|word| word.digits == 2) => {
            Form::HexdumpC
        }
        Style::Hex if digits >= 7 => Form::Hexdump,
        Style::Hex | Style::Octal | Style::Decimal => Form::Od,
    }
}

/// What was found in the input so far.
#[derive(Default)]
struct Found {
    /// The signature of the table that is looked for.
    wanted: Signature,
    /// The whole tables with it.
    tables: Vec<TableDump>,
    fault: Option<Fault>,
    /// Another table, if there is one: form, line and bytes.
    other: Option<(Form, usize, usize)>,
    /// The names of the first other tables.
    names: Vec<String>,
}

impl Found {
    fn add(&mut self, section: Option<Section<'_>>) {
        let Some(section) = section else { return };
        if section.bytes.is_empty() && section.header != Some(self.wanted) {
            return;
        }
        match section.finish() {
            Finished::Table(table) => self.tables.push(table),
            Finished::Failed(fault) => super::keep_further(&mut self.fault, fault),
            Finished::Other { form, line, name, progress } => {
                self.other.get_or_insert((form, line, progress));
                if self.names.len() < NAMED_TABLES && !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
        }
    }

    fn result(self) -> Option<Result<Vec<TableDump>, Fault>> {
        let Self { tables, mut fault, other, names, .. } = self;
        if !tables.is_empty() {
            return Some(Ok(tables));
        }
        if let Some((form, line, progress)) = other {
            let problem = Problem::OtherTables { found: names };
            let error = DumpError::Bad { form, line: Some(line), problem };
            super::keep_further(&mut fault, Fault { rank: Rank::Other, progress, error });
        }
        fault.map(Err)
    }
}
