//! Lines of text that keep within a width. All output of `decode` goes through here.

use textwrap::{Options, WordSplitter};

use crate::{report::Style, width::pad};

/// A page under construction.
pub(super) struct Page {
    text: String,
    style: Style,
}

impl Page {
    /// An empty page.
    pub(super) fn new(style: Style) -> Self {
        Self { text: String::new(), style }
    }

    /// How it looks.
    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A paragraph behind `label`, which stands in column `indent`; the text is set in to column
    /// `column` (or behind the label, if that is longer), all of its lines.
    pub(super) fn labelled(&mut self, indent: usize, label: &str, column: usize, text: &str) {
        let first = pad(&format!("{}{label}", " ".repeat(indent)), column);
        let rest = " ".repeat(column);
        let options = Options::new(self.style.width)
            .initial_indent(&first)
            .subsequent_indent(&rest)
            .break_words(true)
            .word_splitter(WordSplitter::NoHyphenation);
        for line in textwrap::wrap(text, options) {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    /// A paragraph in column `indent`.
    pub(super) fn text(&mut self, indent: usize, text: &str) {
        self.labelled(indent, "", indent, text);
    }
}
