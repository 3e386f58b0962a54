//! How documents look: on a terminal, in a mail, as Markdown, in the dashboard.

mod mail;
mod markdown;
mod terminal;

pub use mail::COLUMNS;
pub use terminal::Style;

use super::{
    Document,
    document::{Kind, Part, Span, Text, Value},
    hex_bytes,
};
use crate::width::{cut, width, wrap};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Plain text.
    Text,
    /// Markdown (`CommonMark`).
    Markdown,
}

impl Document {
    /// As a mail, or as Markdown.
    pub(super) fn write(&self, format: Format) -> String {
        match format {
            Format::Text => mail::write(self),
            Format::Markdown => markdown::write(self),
        }
    }
}

/// Columns that a name needs to be worth showing.
const NAME: usize = 12;

/// A document in lines for a width. A `mail` has empty lines between all of its parts, and lines below
/// titles.
pub(crate) fn lines(document: &Document, columns: usize, mail: bool) -> Vec<Vec<Span>> {
    let mut page = Lines { columns, lines: Vec::new() };
    // Of the rows one below the other all values begin in one column.
    for block in document.blocks() {
        if (block.apart || mail) && page.lines.last().is_some_and(|line| !line.is_empty()) {
            page.lines.push(Vec::new());
        }
        let indent = block.indent;
        let hang = if mail { indent } else { indent + 2 };
        match &block.part {
            Part::Title(text) => {
                page.fill(blanks(indent), hang, text);
                if mail {
                    let below = "-".repeat(width(&text.plain()).min(columns));
                    page.lines.push(vec![Span::new(Kind::Plain, below)]);
                }
            }
            Part::Subtitle(text) => page.fill(blanks(indent), indent + 2, text),
            Part::Text(text) => page.fill(blanks(indent), hang, text),
            Part::Rows(rows) => {
                let widest = rows.iter().map(|(name, _)| width(&name.plain())).max();
                let column = indent + widest.unwrap_or_default() + 2;
                for (name, value) in rows {
                    page.row(indent, column, name, value);
                }
            }
            Part::Items(mark, items) => {
                let first = format!("{}{mark} ", " ".repeat(indent));
                for item in items {
                    page.fill(vec![Span::new(Kind::Plain, &first)], indent + 2, item);
                }
            }
            Part::Tailed(text, tail) => {
                let left = columns.saturating_sub(indent + width(&text.plain()) + 2);
                let tail = if left < NAME { "" } else { &format!("  {}", cut(tail, left)) };
                let text = text.clone().then(Text::of(Kind::Plain, tail.trim_end()));
                page.fill(blanks(indent), indent + 2, &text);
            }
            Part::Lines(lines) => {
                let line = |line: &String| vec![Span::new(Kind::Plain, line.trim_end())];
                page.lines.extend(lines.iter().map(line));
            }
        }
    }
    page.lines
}

fn blanks(count: usize) -> Vec<Span> {
    vec![Span::new(Kind::Plain, " ".repeat(count))]
}

/// Lines that are being filled.
struct Lines {
    columns: usize,
    lines: Vec<Vec<Span>>,
}

impl Lines {
    fn row(&mut self, indent: usize, column: usize, name: &Text, value: &Value) {
        let mut head = blanks(indent);
        let room = " ".repeat(column.saturating_sub(indent + width(&name.plain())));
        let of_name = |span: &Span| match span.kind {
            Kind::Plain => Span::new(Kind::Name, &span.text),
            _ => span.clone(),
        };
        head.extend(name.spans().iter().map(of_name));
        head.push(Span::new(Kind::Plain, room));
        match value {
            Value::Text(text) => self.fill(head, column, text),
            Value::Bytes(bytes) => {
                let room = self.columns.saturating_sub(column);
                for line in bytes.chunks(if room < 3 * 16 - 1 { 8 } else { 16 }) {
                    let head = std::mem::replace(&mut head, blanks(column));
                    self.fill(head, column, &hex_bytes(line).into());
                }
            }
        }
    }

    /// A text behind the head of its first line; the others are set in by so many columns.
    fn fill(&mut self, head: Vec<Span>, rest: usize, text: &Text) {
        let plain = text.plain();
        let first: usize = head.iter().map(|span| width(&span.text)).sum();
        let (mut head, mut indent, mut at) = (head, first, 0);
        for line in wrap(&plain, self.columns, &" ".repeat(first), &" ".repeat(rest)) {
            let line = line.get(indent..).unwrap_or_default();
            // Between two lines only blanks are left out.
            let skipped = plain.get(at..).and_then(|left| left.find(line)).unwrap_or_default();
            let start = at + skipped;
            at = start + line.len();
            head.extend(text.part(start, at));
            self.lines.push(std::mem::replace(&mut head, blanks(rest)));
            indent = rest;
        }
    }
}
