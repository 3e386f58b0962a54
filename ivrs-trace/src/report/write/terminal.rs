//! Documents for a terminal, a file or a pipe.

use super::{Kind, Span, lines};
use crate::{codes::Severity, model::Verdict, report::Document};

/// How text for people looks. Whoever prints knows the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// Whether verdicts and severities have colours, and titles weight.
    pub colour: bool,
}

/// What suits a file or a pipe.
impl Default for Style {
    fn default() -> Self {
        Self { width: 80, colour: false }
    }
}

impl Style {
    /// A word in the colour of a severity: red or yellow, none for a note.
    pub(crate) fn weigh(self, severity: Severity, word: &str) -> String {
        self.paint(Kind::Severity(severity), word)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(Kind::Strong, text)
    }

    /// What terminals call "select graphic rendition", around a text.
    fn paint(self, kind: Kind, text: &str) -> String {
        let codes = match kind {
            Kind::Strong => "1",
            Kind::Verdict(Verdict::Blocked | Verdict::NoIommu)
            | Kind::Severity(Severity::Error) => "1;31",
            Kind::Verdict(Verdict::Clear) => "1;32",
            Kind::Verdict(Verdict::Unknown) | Kind::Severity(Severity::Warning) => "1;33",
            Kind::Verdict(Verdict::Platform)
            | Kind::Plain
            | Kind::Code
            | Kind::Name
            | Kind::Severity(Severity::Note) => "",
        };
        if self.colour && !codes.is_empty() {
            format!("\u{1b}[{codes}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Document {
    /// For a terminal, a file or a pipe.
    #[must_use]
    pub fn terminal(&self, style: Style) -> String {
        let mut out = String::new();
        for line in lines(self, style.width, false) {
            let line: String =
                line.iter().map(|Span { kind, text }| style.paint(*kind, text)).collect();
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}
