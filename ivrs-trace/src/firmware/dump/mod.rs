//! An IVRS or DMAR table, or the kernel's own account of one, out of whatever people paste.
//!
//! [`read`] takes the bytes of a file or of standard input and finds the tables in them: the table
//! itself, or the text that `acpidump`, `xxd`, `hexdump`, `od`, `base64` or `iasl` make of it, with
//! prompts, quote marks, indentation, colours and other tables around it, in mail, in a diff, or behind
//! what another program writes in front of each line. Where there is no table but a kernel log, it
//! gives what that tells of the table.
//!
//! The form is told by structure alone: every form reads the whole input, and only one that arrives
//! at a table with all the bytes its header claims has read it. If none has, the error is that of the
//! form that got furthest. Nothing here does I/O, checks the checksum or decodes blocks: that is
//! [`Ivrs::parse`](super::Ivrs::parse).

mod base64;
mod columns;
mod error;
mod fields;
mod form;
mod literal;
mod log;
mod plain;
mod text;
mod view;
mod whole;

use std::borrow::Cow;

use columns::Style;
pub use error::{DumpError, Problem};
use error::{Fault, Rank};
use form::Signature;
pub use form::{Form, INPUT_LIMIT, TABLE_LIMIT, TableDump};
pub use log::{
    DamagedLine, IvmdLine, LastBdf, Log, LoggedEntry, LoggedIommu, LoggedScope, LoggedUnit,
    MemoryLine, Other, OtherLine, Refusal, RefusalKind, Remark, RemarkKind, RmrrLine, XenIvmd,
};
pub use view::{Side, View};
use whole::{complete, trailing_note};

use super::{acpi::sum, amd::ivrs, intel::dmar};

/// The tables that are looked for.
const SIGNATURES: [Signature; 2] = [ivrs::SIGNATURE, dmar::SIGNATURE];
/// More tables than this are not taken from one input; a paste of all of a machine's has one or two.
const TABLES_LIMIT: usize = 64;

/// What was in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// An IVRS or DMAR table.
    Table(TableDump),
    /// No table, but what a kernel or Xen logged of one.
    Log(Box<Log>),
}

impl Dump {
    /// What a reader of the result should know about the input, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Table(table) => &table.notes,
            Self::Log(log) => &log.notes,
        }
    }
}

/// Finds the tables, or what a kernel log tells of one, in `input`: at least one, the tables in the
/// order of the input.
///
/// If there are both, the tables are taken. Takes time and memory linear in the input.
///
/// # Errors
/// Where the input is too large, has no form known here, or has one that does not hold to the end of
/// a table.
pub fn read(input: &[u8]) -> Result<Vec<Dump>, DumpError> {
    if input.len() > INPUT_LIMIT {
        return Err(DumpError::InputTooLarge { length: input.len() });
    }
    if SIGNATURES.into_iter().any(|signature| is_binary(input, signature)) {
        return binary(input).map(|table| vec![Dump::Table(table)]);
    }
    let text = text::decoded(input);
    let text = text::without_escapes(&text);
    let text = text::without_markup(&text);
    if text.trim().is_empty() {
        return Err(DumpError::Empty);
    }

    let (mut found, text) = tables(&text);
    if !found.tables.is_empty() {
        return Ok(found.sorted());
    }
    // Only where there are no bytes: a listing may be cut short of what the raw data has.
    match fields::read(&text) {
        None => {}
        Some(Ok(table)) => return Ok(vec![Dump::Table(table)]),
        Some(Err(fault)) => found.faults.push(fault),
    }
    match log::read(&text) {
        None => {}
        Some(Ok(mut log)) => {
            if let Some(fault) = found.worst().filter(|fault| fault.rank == Rank::Wanted) {
                log.notes.push(format!("the table beside the log is not used: {}", fault.error));
            }
            return Ok(vec![Dump::Log(Box::new(log))]);
        }
        Some(Err(fault)) => found.faults.push(fault),
    }
    if let Some(line) = columns::characters(&text) {
        let problem = Problem::Characters;
        return Err(DumpError::Bad { form: Form::Od, line: Some(line), problem });
    }
    Err(match found.worst() {
        Some(fault) => fault.error,
        None if is_text(text.as_bytes()) => DumpError::Unrecognised,
        None => DumpError::NotText { signature: text::name(input) },
    })
}

/// The tables in a text, and the text as it reads once its mail or diff is undone.
fn tables(text: &str) -> (Found, Cow<'_, str>) {
    let mut found = Found::default();
    found.search(text, None);
    let mut text = Cow::Borrowed(text);
    if let Some(undone) = view::quoted_printable(&text) {
        found.search(&undone, Some(View::QuotedPrintable));
        text = Cow::Owned(undone);
    }
    if found.tables.is_empty() && view::is_diff(&text) {
        let new = view::side(&text, Side::New);
        found.search(&new, Some(View::Diff(Side::New)));
        if found.tables.is_empty() {
            found.search(&view::side(&text, Side::Old), Some(View::Diff(Side::Old)));
        }
        text = Cow::Owned(new);
    }
    if let Some(cut) = view::unprefixed(&text) {
        found.search(&cut, Some(View::Unprefixed));
    }
    (found, text)
}

/// What was found in a text so far.
#[derive(Default)]
struct Found {
    tables: Vec<TableDump>,
    /// Why not more.
    faults: Vec<Fault>,
}

impl Found {
    /// Adds what a view of the text has beside what was found in others.
    fn search(&mut self, text: &str, view: Option<View>) {
        let mut tables = Vec::new();
        for wanted in SIGNATURES {
            for read in [
                columns::read(text, wanted, Style::Colon),
                columns::read(text, wanted, Style::Hex),
                columns::read(text, wanted, Style::Octal),
                columns::read(text, wanted, Style::Decimal),
                plain::read(text, wanted),
                base64::read(text, wanted),
                literal::read(text, wanted),
            ] {
                match read {
                    None => {}
                    Some(Ok(read)) => self.add(&mut tables, read),
                    Some(Err(fault)) => self.keep(fault, view),
                }
            }
        }
        if let Some(View::Diff(side)) = view {
            let (side, sign) = if side == Side::New { ("new", '+') } else { ("old", '-') };
            let note = format!("this is a diff: the {side} table is read (the \"{sign}\" side)");
            for table in &mut tables {
                table.notes.push(note.clone());
            }
        }
        self.tables.append(&mut tables);
    }

    /// Takes the tables whose lines are not those of one that is there.
    fn add(&self, tables: &mut Vec<TableDump>, read: Vec<TableDump>) {
        for table in read {
            let known = |other: &TableDump| overlap(other.lines, table.lines);
            if tables.len() < TABLES_LIMIT && !self.tables.iter().chain(&*tables).any(known) {
                tables.push(table);
            }
        }
    }

    fn keep(&mut self, fault: Fault, view: Option<View>) {
        let error = match view {
            Some(view) => DumpError::In { view, error: Box::new(fault.error) },
            None => fault.error,
        };
        self.faults.push(Fault { error, ..fault });
    }

    /// The fault that explains best why no table was found, or not another one. Those within a table
    /// are of forms that it does not have.
    fn worst(&mut self) -> Option<Fault> {
        let mut worst = None;
        for fault in self.faults.drain(..) {
            let place = fault.error.line().map(|line| (line, line));
            if !self.tables.iter().any(|table| overlap(table.lines, place)) {
                keep_further(&mut worst, fault);
            }
        }
        worst
    }

    fn sorted(mut self) -> Vec<Dump> {
        self.tables.sort_by_key(|table| table.lines);
        let worst = self.worst().filter(|fault| fault.rank == Rank::Wanted);
        if let (Some(fault), [first, ..]) = (worst, self.tables.as_mut_slice()) {
            first.notes.push(format!("another table is not used: {}", fault.error));
        }
        self.tables.into_iter().map(Dump::Table).collect()
    }
}

fn overlap(one: Option<(usize, usize)>, other: Option<(usize, usize)>) -> bool {
    one.zip(other).is_some_and(|((a, b), (c, d))| a <= d && c <= b)
}

/// Whether the input is the table itself: acpidump's text may begin with the signature too.
fn is_binary(input: &[u8], wanted: Signature) -> bool {
    let rest = input.strip_prefix(&wanted);
    rest.is_some_and(|rest| !rest.starts_with(b" @") && !is_text(input))
}

/// Keeps the fault that found more; of equals the one that was there first.
fn keep_further(kept: &mut Option<Fault>, found: Fault) {
    let key = |fault: &Fault| (fault.rank, fault.progress);
    if kept.as_ref().is_none_or(|kept| key(&found) > key(kept)) {
        *kept = Some(found);
    }
}

/// Text has no control characters but those for lines, tabs, pages, backspace, bell and escapes.
fn is_text(input: &[u8]) -> bool {
    !input.iter().any(|byte| matches!(byte, 0..=6 | 0x0e..=0x1a | 0x1c..=0x1f))
}

/// Whether it is a whole table with a right checksum.
fn adds_up(table: &[u8]) -> bool {
    let length = complete(table).ok().and_then(|trailing| table.len().checked_sub(trailing));
    length.and_then(|length| table.get(..length)).is_some_and(|table| sum(table) == 0)
}

/// Reads `input`, which begins with the signature.
fn binary(input: &[u8]) -> Result<TableDump, DumpError> {
    let mut notes = Vec::new();
    let mut table = input;
    if let Some(limited) = input.get(..TABLE_LIMIT).filter(|limited| limited.len() < input.len()) {
        notes.push(format!("only the first {TABLE_LIMIT} of {} bytes are read", input.len()));
        table = limited;
    }
    let mut table = Cow::Borrowed(table);
    if !adds_up(&table) {
        if let Some(bytes) = text::narrowed(&table).filter(|bytes| adds_up(bytes)) {
            notes.push("the bytes had been turned into UTF-8 text, which is undone".to_owned());
            table = Cow::Owned(bytes);
        } else if table.windows(3).any(|three| three == "\u{fffd}".as_bytes()) {
            let problem = Problem::Replaced;
            return Err(DumpError::Bad { form: Form::Binary, line: None, problem });
        }
    }
    match complete(&table) {
        Ok(trailing) => {
            notes.extend(trailing_note(trailing));
            Ok(TableDump {
                form: Form::Binary,
                lines: None,
                table: table.into_owned(),
                headless: false,
                notes,
            })
        }
        Err(problem) => Err(DumpError::Bad { form: Form::Binary, line: None, problem }),
    }
}

#[cfg(test)]
mod tests;
