//! Text that is put together line by line: that of `decode`.

pub(super) use super::write::Style;
use crate::width::wrap;

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

    /// Text broken into lines, of which the first begins in another way than the rest.
    pub(super) fn filled(&mut self, first: &str, rest: &str, text: &str) {
        for line in wrap(text, self.style.width, first, rest) {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }
}
