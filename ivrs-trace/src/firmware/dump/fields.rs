//! The fields that `iasl -d` lists, where the raw data that follows them was not pasted.
//!
//! Every field has a name and a value in as many digits as it has bytes, and fields come in their order
//! in the table; so the values alone are the table. Offsets before the names, where they are there, and
//! the lengths in the table must agree with that. Bits of a field stand below it as single digits.

use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::{Form, Signature, TABLE_LIMIT, TableDump},
    text::lines,
    whole::{complete, trailing_note},
};
use crate::firmware::{
    acpi::{sum, u16_at},
    amd::ivrs::{self, HEADER_LENGTH, IvhdKind, IvmdKind},
    intel::dmar,
};

/// A line of a listing.
struct Field<'a> {
    /// The offset, where the listing has it.
    offset: Option<usize>,
    name: &'a str,
    value: Value,
}

enum Value {
    Bytes(Vec<u8>),
    Text(Vec<u8>),
}

impl<'a> Field<'a> {
    /// `None` if the line is something else, or bits of a field.
    fn of(line: &'a str) -> Option<Self> {
        let (offset, rest) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((place, rest)) => (Some(offset(place)?), rest),
            None => (None, line),
        };
        let (name, value) = rest.split_once(" : ")?;
        let name = name.split('(').next().unwrap_or(name).trim();
        let value = value.trim();
        let value = match value.strip_prefix('"').and_then(|text| text.rsplit_once('"')) {
            Some((text, _)) => Value::Text(text.as_bytes().to_vec()),
            None => Value::Bytes(bytes(value.split(['[', '/', '<']).next()?.trim())?),
        };
        (!name.is_empty() && name.len() <= 40).then_some(Self { offset, name, value })
    }

    /// The bytes, text filled up to what such a field has.
    fn bytes(&self) -> Option<Vec<u8>> {
        match &self.value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            Value::Text(text) => {
                let length = match self.name {
                    "Signature" | "Asl Compiler ID" | "Compiler ID" => 4,
                    "Oem ID" => 6,
                    "Oem Table ID" | "ACPI HID" | "ACPI CID" | "Hardware ID" | "Compatible ID" => 8,
                    _ => text.len(),
                };
                (text.len() <= length).then(|| {
                    text.iter().copied().chain(std::iter::repeat(0)).take(length).collect()
                })
            }
        }
    }

    fn is_text(&self, name: &str) -> bool {
        self.name == name && matches!(self.value, Value::Text(_))
    }

    /// The table whose block begins here. Device entries have the same name, but other types.
    fn block(&self) -> Option<Signature> {
        let Value::Bytes(bytes) = &self.value else { return None };
        match (self.name, bytes.as_slice()) {
            ("Subtable Type", [kind]) if is_ivrs_block(*kind) => Some(ivrs::SIGNATURE),
            ("Subtable Type", [_, _]) => Some(dmar::SIGNATURE),
            _ => None,
        }
    }
}

fn is_ivrs_block(kind: u8) -> bool {
    IvhdKind::from_code(kind).is_some() || IvmdKind::from_code(kind).is_some()
}

/// `030h 0048 001h`, in older versions with a decimal length.
fn offset(place: &str) -> Option<usize> {
    let digits = place.split_whitespace().next()?.strip_suffix('h')?;
    usize::from_str_radix(digits, 16).ok()
}

/// A number in full width, which is little-endian in the table; or bytes in their order.
fn bytes(value: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = value.split([',', ' ']).filter(|word| !word.is_empty()).collect();
    let mut all = Vec::new();
    for word in &words {
        let mut bytes = super::plain::pairs(word)?;
        if words.len() == 1 {
            bytes.reverse();
        } else if bytes.len() != 1 {
            return None;
        }
        all.append(&mut bytes);
    }
    (!all.is_empty()).then_some(all)
}

/// A table, or blocks of one, being read.
struct Listing {
    signature: Signature,
    /// Whether it begins with the table's header.
    whole: bool,
    bytes: Vec<u8>,
    /// Offset of its first byte in the table, if the listing says it.
    base: Option<usize>,
    first: usize,
    last: usize,
    fields: usize,
    /// Bytes of device entries that were left out of the listing.
    left_out: usize,
    problem: Option<(usize, Problem)>,
}

/// Reads the first listing of a table, or else the blocks of one. `None` if there are no such fields.
pub(super) fn read(text: &str) -> Option<Result<TableDump, Fault>> {
    let mut listing: Option<Listing> = None;
    for (line, text) in lines(text) {
        let Some(field) = Field::of(text) else {
            if text.starts_with("Raw Table Data") && listing.is_some() {
                break;
            }
            continue;
        };
        if listing.is_none() {
            listing = Listing::begin(line, &field);
        }
        if let Some(listing) = &mut listing
            && !listing.take(line, &field)
        {
            break;
        }
    }
    Some(listing?.finish())
}

impl Listing {
    /// A listing that begins with this field, if one does.
    fn begin(line: usize, field: &Field<'_>) -> Option<Self> {
        let named = field.is_text("Signature").then(|| field.bytes()).flatten();
        let signature = match named.as_deref().and_then(|bytes| bytes.first_chunk::<4>()) {
            Some(signature) => *signature,
            None => field.block()?,
        };
        let base = field.offset;
        let whole = named.is_some();
        let (bytes, fields, left_out, problem) = (Vec::new(), 0, 0, None);
        let (first, last) = (line, line);
        Some(Self { signature, whole, bytes, base, first, last, fields, left_out, problem })
    }

    /// Adds a field; false where the listing is over.
    fn take(&mut self, line: usize, field: &Field<'_>) -> bool {
        if self.fields > 0 && field.is_text("Signature") || self.bytes.len() > TABLE_LIMIT {
            return false;
        }
        let Some(bytes) = field.bytes() else { return true };
        if !self.whole && field.block() == Some(self.signature) {
            self.fill();
        }
        if let (Some(found), Some(base)) = (field.offset, self.base) {
            let expected = base.saturating_add(self.bytes.len());
            // What the specification reserves in the header of a DMAR is not always listed.
            if self.whole && (expected, found) == (38, HEADER_LENGTH) {
                self.bytes.resize(HEADER_LENGTH, 0);
            } else if expected != found {
                let (expected, found) = (wide(expected), wide(found));
                let problem = if found > expected {
                    Problem::Jump { expected, found }
                } else {
                    Problem::Back { expected, found }
                };
                self.problem = Some((line, problem));
                return false;
            }
        }
        self.bytes.extend(bytes);
        self.fields = self.fields.saturating_add(1);
        self.last = line;
        true
    }

    /// Fills an IVHD up to its length with entries that mean nothing: people list some of its device
    /// entries, and the block says how long all of them are.
    fn fill(&mut self) {
        let ends = ends(&self.bytes);
        let begin = ends.iter().rev().nth(1).copied().unwrap_or_default();
        let Some(end) = ends.last().copied().filter(|end| *end > self.bytes.len()) else { return };
        let kind = self.bytes.get(begin).copied();
        let ivhd =
            self.signature == ivrs::SIGNATURE && kind.and_then(IvhdKind::from_code).is_some();
        if ivhd && u16_at(&self.bytes, begin + 2).is_some() {
            self.left_out += end - self.bytes.len();
            self.bytes.resize(end, 0);
            self.base = None;
        }
    }

    fn finish(mut self) -> Result<TableDump, Fault> {
        if !self.whole {
            self.fill();
        }
        let Self { signature, whole, bytes, first, last, fields, left_out, problem, .. } = self;
        let failed = |line, problem| {
            let error = DumpError::Bad { form: Form::Fields, line: Some(line), problem };
            Err(Fault { rank: Rank::Wanted, progress: fields, error })
        };
        if !super::SIGNATURES.contains(&signature) {
            let found = vec![signature.escape_ascii().to_string()];
            return failed(first, Problem::OtherTables { found });
        }
        if let Some((line, problem)) = problem {
            return failed(line, problem);
        }
        let lines = Some((first, last));
        if whole {
            return match complete(&bytes) {
                Ok(trailing) => Ok(TableDump {
                    form: Form::Fields,
                    lines,
                    table: bytes,
                    headless: false,
                    notes: trailing_note(trailing).into_iter().collect(),
                }),
                Err(problem) => failed(last, problem),
            };
        }
        let ends = ends(&bytes);
        if ends.last().is_some_and(|end| *end > bytes.len()) {
            let length = ends.last().and_then(|end| u32::try_from(*end).ok());
            return failed(last, Problem::Cut { have: bytes.len(), length });
        }
        Ok(TableDump {
            form: Form::Fields,
            lines,
            table: with_header(signature, &bytes),
            headless: true,
            notes: (left_out > 0)
                .then(|| format!("the listing leaves out {left_out} bytes of device entries"))
                .into_iter()
                .collect(),
        })
    }
}

fn wide(offset: usize) -> u64 {
    u64::try_from(offset).unwrap_or(u64::MAX)
}

/// Where each block ends by its own length.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0_usize;
    while at < bytes.len() {
        let length =
            bytes.get(at..).and_then(|rest| u16_at(rest, 2)).map_or(usize::MAX, usize::from);
        // A block of no length would never end.
        at = at.saturating_add(length.max(4));
        ends.push(at);
    }
    ends
}

/// The blocks behind a header that has nothing but signature, length and checksum.
fn with_header(signature: Signature, blocks: &[u8]) -> Vec<u8> {
    let mut table = vec![0; HEADER_LENGTH];
    table.extend(blocks);
    let length = u32::try_from(table.len()).unwrap_or(u32::MAX).to_le_bytes();
    table.splice(0..4, signature);
    table.splice(4..8, length);
    table.splice(8..9, [2]);
    let checksum = sum(&table).wrapping_neg();
    table.splice(9..10, [checksum]);
    table
}
