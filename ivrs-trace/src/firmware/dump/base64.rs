//! Base64 of a table, as people make it to paste a binary.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    error::{DumpError, Fault, Problem, Rank},
    form::{Form, Signature, TABLE_LIMIT, TableDump},
    text::{lines, name},
    whole::{complete, trailing_note},
};

/// Whatever a copy cut off: padding, or bits of the last byte.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Digits that the signature alone decides. No word begins with `SVZSU` or `RE1BU`.
const DECIDED: usize = 5;
/// A line of another table has as many digits as a terminal's `base64` prints, or nearly.
const LONG: usize = 48;

/// Reads every run of lines that begins with the base64 of a table.
pub(super) fn read(text: &str, wanted: Signature) -> Option<Result<Vec<TableDump>, Fault>> {
    let start: String = ENGINE.encode(wanted).chars().take(DECIDED).collect();
    let mut found = Vec::new();
    let mut fault = None;
    let mut other = None;
    let mut lines = lines(text).peekable();
    while let Some((first, line)) = lines.next() {
        let Some((before, begun)) = line.split_once(&start) else {
            if other.is_none() && line.len() >= LONG && is_run(line) {
                other = name(&decode(line)).map(|name| (first, name));
            }
            continue;
        };
        // Within other base64 it is no beginning.
        if before.bytes().last().is_some_and(is_digit) {
            continue;
        }
        let mut digits = start.clone();
        let mut last = first;
        let mut ended = extend(&mut digits, begun);
        while let Some((number, line)) =
            lines.next_if(|(_, line)| !ended && digits.len() / 4 * 3 <= TABLE_LIMIT && is_run(line))
        {
            if line.is_empty() {
                continue;
            }
            ended = extend(&mut digits, line);
            last = number;
        }
        let table = decode(&digits);
        match complete(&table) {
            Ok(trailing) => found.push(TableDump {
                form: Form::Base64,
                lines: Some((first, last)),
                table,
                headless: false,
                notes: trailing_note(trailing).into_iter().collect(),
            }),
            Err(problem) => {
                let error = DumpError::Bad { form: Form::Base64, line: Some(last), problem };
                let found = Fault { rank: Rank::Wanted, progress: last - first, error };
                super::keep_further(&mut fault, found);
            }
        }
    }
    if !found.is_empty() {
        return Some(Ok(found));
    }
    if let Some((line, found)) = other {
        let problem = Problem::NoSignature { found };
        let error = DumpError::Bad { form: Form::Base64, line: Some(line), problem };
        super::keep_further(&mut fault, Fault { rank: Rank::Other, progress: 1, error });
    }
    fault.map(Err)
}

fn is_run(line: &str) -> bool {
    line.trim_end_matches('=').bytes().all(is_digit)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Whether the run ends in this line, by padding or by what is no digit.
fn extend(digits: &mut String, line: &str) -> bool {
    let run = line.bytes().take_while(|byte| is_digit(*byte)).count();
    // As URLs have them.
    digits.push_str(&line.get(..run).unwrap_or_default().replace('-', "+").replace('_', "/"));
    run < line.len()
}

fn decode(digits: &str) -> Vec<u8> {
    // A single digit of a group holds no whole byte.
    let whole = digits.len().saturating_sub(usize::from(digits.len() % 4 == 1));
    ENGINE.decode(digits.get(..whole).unwrap_or_default()).unwrap_or_default()
}
