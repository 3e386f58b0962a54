//! Text being put together: paragraphs, tables of two columns, and how they look.

use textwrap::{Options, WordSplitter};

use crate::{
    codes::Severity,
    model::Verdict,
    width::{pad, width},
};

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
    /// A word in the colour of a verdict: red, green or yellow.
    pub(super) fn paint(self, verdict: Verdict, word: &str) -> String {
        self.sgr(
            match verdict {
                Verdict::Blocked => "1;31",
                Verdict::Clear => "1;32",
                Verdict::Unknown => "1;33",
            },
            word,
        )
    }

    /// A word in the colour of a severity: red or yellow, none for a note.
    pub(super) fn weigh(self, severity: Severity, word: &str) -> String {
        match severity {
            Severity::Error => self.sgr("1;31", word),
            Severity::Warning => self.sgr("1;33", word),
            Severity::Note => word.to_owned(),
        }
    }

    /// A title.
    pub(super) fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// What a terminal calls "select graphic rendition", around `text`.
    fn sgr(self, codes: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{codes}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Text being put together.
pub(super) struct Page {
    text: String,
    style: Style,
}

impl Page {
    pub(super) fn new(style: Style) -> Self {
        Self { text: String::new(), style }
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// An empty line between two paragraphs.
    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// A paragraph; lines after the first are set in by two more columns.
    pub(super) fn text(&mut self, indent: usize, text: &str) {
        self.filled(&" ".repeat(indent), &" ".repeat(indent + 2), text);
    }

    /// A row of a table of two columns.
    pub(super) fn row(&mut self, name: &str, text: &str) {
        let first = format!("    {}", pad(name, 8));
        self.filled(&first, &" ".repeat(width(&first)), text);
    }

    /// Text broken into lines, the first of which begins with `before` and a word that is as wide as
    /// it is without colour.
    pub(super) fn marked(
        &mut self,
        before: &str,
        (word, painted): (&str, &str),
        text: &str,
        rest: &str,
    ) {
        let start = self.text.len();
        self.filled(&format!("{before}{word}"), rest, text);
        let at = start + before.len();
        self.text.replace_range(at..at + word.len(), painted);
    }

    /// Text broken into lines, of which the first begins in another way than the rest.
    pub(super) fn filled(&mut self, first: &str, rest: &str, text: &str) {
        let options = Options::new(self.style.width)
            .initial_indent(first)
            .subsequent_indent(rest)
            .break_words(true)
            .word_splitter(WordSplitter::NoHyphenation);
        self.line(&textwrap::fill(text, options));
    }
}
