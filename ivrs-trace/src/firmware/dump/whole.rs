//! Whether a table that was found is all there.

use super::{error::Problem, form::TABLE_LIMIT};
use crate::firmware::{acpi::u32_at, amd::ivrs::HEADER_LENGTH};

/// Whether `table`, which begins with the signature, has all the bytes that its header claims, and how
/// many it has beyond those.
pub(super) fn complete(table: &[u8]) -> Result<usize, Problem> {
    let have = table.len();
    let length = u32_at(table, 4);
    let cut = Problem::Cut { have, length };
    let Some(claimed) = length.and_then(|length| usize::try_from(length).ok()) else {
        return Err(cut);
    };
    if claimed > TABLE_LIMIT {
        return Err(Problem::TooLong { length: claimed });
    }
    // A header that claims less than itself is left to the parser, which says so.
    have.checked_sub(claimed.max(HEADER_LENGTH)).ok_or(cut)
}

/// Takes off the zeros that fill up the last word of a table whose end no offset tells, and says how
/// many bytes still follow the table's end.
pub(super) fn without_padding(table: &mut Vec<u8>, trailing: usize, word: usize) -> usize {
    let end = table.len().saturating_sub(trailing);
    let zeros = table.iter().skip(end).all(|byte| *byte == 0);
    if trailing == 0 || trailing >= word || !zeros {
        return trailing;
    }
    table.truncate(end);
    0
}

pub(super) fn trailing_note(trailing: usize) -> Option<String> {
    (trailing > 0).then(|| format!("{trailing} bytes follow the table's end"))
}
