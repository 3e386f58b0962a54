//! An IVRS or DMAR table, or the kernel's own account of an IVRS, out of whatever people paste.
//!
//! [`read`] takes the bytes of a file or of standard input and finds the table in them: the table
//! itself, or the text that `acpidump`, `xxd`, `hexdump`, `od` or `iasl` make of it, with prompts,
//! quote marks, indentation, colours and other tables around it. Where there is no table but a kernel
//! log written with `amd_iommu_dump`, it gives the IVMD lines of that.
//!
//! The form is told by structure alone: every form reads the whole input, and only one that arrives
//! at an IVRS table with all the bytes its header claims has read it. If none has, the error is that
//! of the form that got furthest. Nothing here does I/O, checks the checksum or decodes blocks: that is
//! [`Ivrs::parse`](super::Ivrs::parse).

mod columns;
mod error;
mod form;
mod log;
mod plain;
mod text;
mod whole;

use columns::Style;
pub use error::{DumpError, Problem};
use error::{Fault, Rank};
use form::Signature;
pub use form::{Form, INPUT_LIMIT, TABLE_LIMIT, TableDump};
pub use log::{IvmdLine, IvmdLog, LastBdf};
use whole::{complete, trailing_note};

use super::{amd::ivrs::SIGNATURE, intel::dmar};

/// What was in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// An IVRS table.
    Table(TableDump),
    /// No table, but what the kernel made of one.
    Log(IvmdLog),
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

/// Finds the table, or the IVMD lines of a kernel log, in `input`.
///
/// If there are both, the table is taken. Takes time and memory linear in the input.
///
/// # Errors
/// Where the input is too large, has no form known here, or has one that does not hold to the end of
/// the table.
pub fn read(input: &[u8]) -> Result<Dump, DumpError> {
    if input.len() > INPUT_LIMIT {
        return Err(DumpError::InputTooLarge { length: input.len() });
    }
    if is_binary(input, SIGNATURE) {
        return binary(input).map(Dump::Table);
    }
    let text = String::from_utf8_lossy(input);
    let text = text::without_escapes(&text);
    if text.trim().is_empty() {
        return Err(DumpError::Empty);
    }

    let mut fault = match from_text(&text, SIGNATURE) {
        Ok(table) => return Ok(Dump::Table(table)),
        Err(fault) => fault,
    };
    match log::read(&text) {
        None => {}
        Some(Ok(mut log)) => {
            if let Some(fault) = fault.filter(|fault| fault.rank == Rank::Wanted) {
                log.notes
                    .push(format!("the IVRS table beside the log is not used: {}", fault.error));
            }
            return Ok(Dump::Log(log));
        }
        Some(Err(found)) => keep_further(&mut fault, found),
    }
    Err(match fault {
        Some(fault) => fault.error,
        None if is_text(input) => DumpError::Unrecognised,
        None => DumpError::NotText { signature: name(input) },
    })
}

/// Finds Intel's counterpart, a DMAR table, in an input in which [`read`] found nothing. `None` where
/// there is no sign of one.
///
/// # Errors
/// Where there is the beginning of one, in a form that does not hold to the end of the table.
pub fn read_dmar(input: &[u8]) -> Result<Option<TableDump>, DumpError> {
    if input.len() > INPUT_LIMIT {
        return Err(DumpError::InputTooLarge { length: input.len() });
    }
    if is_binary(input, dmar::SIGNATURE) {
        return binary(input).map(Some);
    }
    let text = String::from_utf8_lossy(input);
    match from_text(&text::without_escapes(&text), dmar::SIGNATURE) {
        Ok(table) => Ok(Some(table)),
        Err(Some(fault)) if fault.rank == Rank::Wanted => Err(fault.error),
        Err(_) => Ok(None),
    }
}

/// Whether the input is the table itself: acpidump's text may begin with the signature too.
fn is_binary(input: &[u8], wanted: Signature) -> bool {
    let rest = input.strip_prefix(&wanted);
    rest.is_some_and(|rest| !rest.starts_with(b" @") && !is_text(input))
}

/// The table with this signature in a text, or how far the form got that got furthest.
fn from_text(text: &str, wanted: Signature) -> Result<TableDump, Option<Fault>> {
    let mut fault = None;
    let readers = [
        |text: &str, wanted| columns::read(text, wanted, Style::Colon),
        |text: &str, wanted| columns::read(text, wanted, Style::Hex),
        |text: &str, wanted| columns::read(text, wanted, Style::Octal),
        |text: &str, wanted| columns::read(text, wanted, Style::Decimal),
        plain::read,
    ];
    for reader in readers {
        match reader(text, wanted) {
            None => {}
            Some(Ok(table)) => return Ok(table),
            Some(Err(found)) => keep_further(&mut fault, found),
        }
    }
    Err(fault)
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

/// The first four bytes, if they could be the signature of an ACPI table.
fn name(input: &[u8]) -> Option<String> {
    let name = input.first_chunk::<4>()?;
    let fits = name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    fits.then(|| name.escape_ascii().to_string())
}

/// Reads `input`, which begins with the signature.
fn binary(input: &[u8]) -> Result<TableDump, DumpError> {
    let mut notes = Vec::new();
    let mut table = input;
    if let Some(limited) = input.get(..TABLE_LIMIT).filter(|limited| limited.len() < input.len()) {
        notes.push(format!("only the first {TABLE_LIMIT} of {} bytes are read", input.len()));
        table = limited;
    }
    match complete(table) {
        Ok(trailing) => {
            notes.extend(trailing_note(trailing));
            Ok(TableDump { form: Form::Binary, table: table.to_vec(), notes })
        }
        Err(problem) => Err(DumpError::Bad { form: Form::Binary, line: None, problem }),
    }
}

#[cfg(test)]
mod tests;
