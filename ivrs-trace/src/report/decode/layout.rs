//! What the texts of all tables share: paragraphs beside a label, the rows of a table's header, the
//! title and the bytes of a block, and the list of findings.

use std::collections::BTreeSet;

use crate::{
    codes::{Code, Severity},
    escape::printable_bytes,
    firmware::{Finding, acpi::Header},
    fmt::hex_bytes,
    hex::Hex,
    report::page::{Page, Style},
    width::pad,
};

/// Where the text beside an offset begins.
pub(super) const BLOCK: usize = 7;
/// Where the text beside a name in a block begins.
const FIELD: usize = 16;
/// Where the text beside a name in the summary begins.
const SUMMARY: usize = 11;

/// A paragraph behind `label`, which stands in column `indent`; the text is set in to column
/// `column` (or behind the label, if that is longer), all of its lines.
pub(super) fn labelled(page: &mut Page, indent: usize, label: &str, column: usize, text: &str) {
    let first = pad(&format!("{}{label}", " ".repeat(indent)), column);
    page.filled(&first, &" ".repeat(column), text);
}

/// A paragraph in column `indent`.
pub(super) fn paragraph(page: &mut Page, indent: usize, text: &str) {
    labelled(page, indent, "", indent, text);
}

/// A row of the summary.
pub(super) fn summary_row(page: &mut Page, name: &str, text: &str) {
    labelled(page, 0, name, SUMMARY, text);
}

/// A row of a block.
pub(super) fn field(page: &mut Page, name: &str, text: &str) {
    labelled(page, BLOCK, name, FIELD, text);
}

/// The first line of a block, beside its offset.
pub(super) fn title(page: &mut Page, offset: usize, title: &str) {
    labelled(page, 0, &place(offset), BLOCK, title);
}

/// The same for a block that Linux reads.
pub(super) fn bold_title(page: &mut Page, offset: usize, text: &str) {
    let text = page.style().bold(text);
    title(page, offset, &text);
}

/// The block that starts there; all are in table order.
pub(super) fn block_at<T>(blocks: &[T], at: usize, offset: fn(&T) -> usize) -> Option<&T> {
    blocks.get(blocks.binary_search_by_key(&at, offset).ok()?)
}

/// The bytes of a block.
pub(super) fn bytes(page: &mut Page, bytes: &[u8]) {
    for (number, line) in bytes.chunks(16).enumerate() {
        field(page, if number == 0 { "bytes" } else { "" }, &hex_bytes(line));
    }
}

/// What the ACPI header says.
pub(super) fn header(page: &mut Page, header: &Header) {
    let checksum = if header.checksum_ok { "right" } else { "wrong" };
    let text = format!(
        "{} bytes, revision {}, checksum {:#04x} ({checksum})",
        header.length, header.revision, header.checksum
    );
    summary_row(page, "Table", &text);
    let text = format!(
        "{}, table {}, revision {:#x}; made by {} {:#x}",
        quoted(&header.oem_id),
        quoted(&header.oem_table_id),
        header.oem_revision,
        quoted(&header.creator_id),
        header.creator_revision
    );
    summary_row(page, "OEM", &text);
}

/// How many findings there are.
pub(super) fn findings_row(page: &mut Page, found: &[Finding]) {
    let number = |severity, one| {
        count(found.iter().filter(|finding| finding.severity == severity).count(), one)
    };
    let text = if found.is_empty() {
        "none".to_owned()
    } else {
        format!(
            "{}, {}, {}; they are at the end",
            number(Severity::Error, "error"),
            number(Severity::Warning, "warning"),
            number(Severity::Note, "note")
        )
    };
    summary_row(page, "Findings", &text);
}

/// The findings, each code once.
pub(super) fn findings(page: &mut Page, found: &[Finding]) {
    if found.is_empty() {
        return;
    }
    // By weight; then in the order in which the codes are listed.
    let codes: BTreeSet<_> =
        found.iter().map(|one| (std::cmp::Reverse(one.severity), one.code)).collect();
    let style = page.style();
    page.blank();
    paragraph(page, 0, &style.bold("Findings"));
    for (_, code) in codes {
        page.blank();
        paragraph(page, 2, &finding_title(code, style));
        let mut rest: Vec<&Finding> = found.iter().filter(|one| one.code == code).collect();
        while let Some(first) = rest.first().copied() {
            let (same, others): (Vec<&Finding>, _) = rest.into_iter().partition(|one| {
                std::ptr::eq(*one, first)
                    || predicate(first).is_some() && predicate(one) == predicate(first)
            });
            let label = first.place.map_or_else(String::new, |at| place(at.offset));
            labelled(page, 4, &label, 4 + BLOCK, &message(first, &same));
            rest = others;
        }
    }
    page.blank();
    let text = "`ivrs-trace explain CODE` explains a finding, and what to do about it.";
    paragraph(page, 0, text);
}

/// The message without the IVMD block that it starts with.
fn predicate(finding: &Finding) -> Option<&str> {
    finding.message.strip_prefix(&format!("ivmd:{}", finding.ivmd?))
}

/// One sentence for the findings of `same`, which say the same of different IVMD blocks.
fn message(first: &Finding, same: &[&Finding]) -> String {
    match predicate(first) {
        Some(predicate) if same.len() > 1 => {
            let ivmds = same.iter().filter_map(|one| one.ivmd);
            let names: Vec<String> = ivmds.map(|ivmd| format!("ivmd:{ivmd}")).collect();
            format!("Each of {}{predicate}", names.join(", "))
        }
        _ => first.message.clone(),
    }
}

/// The long text of a code.
#[must_use]
pub fn explanation(code: Code, style: Style) -> String {
    let known = code.explanation();
    let mut page = Page::new(style);
    paragraph(&mut page, 0, &finding_title(code, style));
    let sections: [(_, Vec<String>); 2] =
        [("What it means", known.meaning().collect()), ("What to do", known.advice().collect())];
    for (title, paragraphs) in sections {
        page.blank();
        paragraph(&mut page, 0, &style.bold(title));
        for (number, text) in paragraphs.iter().enumerate() {
            if number > 0 {
                page.blank();
            }
            paragraph(&mut page, 2, text);
        }
    }
    for (number, one) in known.switches().enumerate() {
        if number == 0 {
            page.blank();
            let title = "Settings that users reported to help (no promise for another board)";
            paragraph(&mut page, 0, &style.bold(title));
        }
        paragraph(&mut page, 2, one.board);
        labelled(&mut page, 4, "setting", 12, one.setting);
        labelled(&mut page, 4, "source", 12, one.source);
    }
    page.finish()
}

/// Every code with its title, a line each.
#[must_use]
pub fn codes(style: Style) -> String {
    let mut page = Page::new(style);
    let width = Code::ALL.iter().map(|code| code.as_str().len()).max().unwrap_or_default();
    for code in Code::ALL {
        let known = code.explanation();
        let label = format!("{code:<width$}  {:<7}", known.severity.as_str());
        labelled(&mut page, 0, &label, width + 11, known.title);
    }
    page.finish()
}

/// Code, title and severity.
fn finding_title(code: Code, style: Style) -> String {
    let known = code.explanation();
    let severity = style.weigh(known.severity, known.severity.as_str());
    format!("{}: {} ({severity})", style.bold(code.as_str()), known.title)
}

pub(super) fn count(number: usize, one: &str) -> String {
    match one.strip_suffix('y') {
        _ if number == 1 => format!("1 {one}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {one}s"),
    }
}

pub(super) fn place(offset: usize) -> String {
    Hex::<_, 3>(offset).to_string()
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", printable_bytes(bytes).trim_end_matches(' '))
}
