//! Documents for a mail: plain text.

use super::lines;
use crate::report::Document;

/// Columns of a mail: quoted once or twice, its lines still fit into 80.
pub const COLUMNS: usize = 75;

pub(super) fn write(document: &Document) -> String {
    let mut out = String::new();
    for line in lines(document, COLUMNS, true) {
        let line: String = line.iter().map(|span| span.text.as_str()).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width::width;

    #[test]
    fn a_mail_keeps_its_columns() {
        let mut document = Document::default();
        document.title("What there is");
        document.text(0, "word ".repeat(40));
        document.row("long", "x".repeat(200));
        document.row("no", "1");
        document.items(["item ".repeat(30)]);
        let text = write(&document);
        assert!(text.lines().all(|line| width(line) <= COLUMNS), "{text}");
        assert!(text.starts_with("What there is\n-------------\n\nword word"), "{text}");
        assert!(text.contains("\n    no    1\n"), "{text}");
    }
}
