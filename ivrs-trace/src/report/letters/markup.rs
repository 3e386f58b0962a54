//! A report as blocks of text, and how they look: as plain text for a mail, or as Markdown.
//!
//! It knows nothing of what is said. Texts of its blocks may hold code between grave accents, as the
//! report's own words do; what comes from outside has none ([`crate::report::redact`]).

use std::fmt::Write as _;

use crate::{
    report::page::{Page, Style},
    width::{pad, width},
};

/// Columns of a mail: quoted once or twice, its lines still fit into 80.
pub const COLUMNS: usize = 75;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Plain text.
    Text,
    /// Markdown (`CommonMark`).
    Markdown,
}

/// A part of a report.
enum Block {
    /// A title of what follows.
    Title(String),
    /// A title below a title.
    Subtitle(String),
    /// A paragraph.
    Text(String),
    /// Names and values.
    Rows(Vec<(String, String)>),
    /// One after the other.
    Items(Vec<String>),
    /// Lines that stay as they are.
    Lines(Vec<String>),
}

/// A report being put together.
#[derive(Default)]
pub(super) struct Letter {
    blocks: Vec<Block>,
}

impl Letter {
    pub(super) fn title(&mut self, text: &str) {
        self.blocks.push(Block::Title(text.to_owned()));
    }

    pub(super) fn subtitle(&mut self, text: &str) {
        self.blocks.push(Block::Subtitle(text.to_owned()));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.blocks.push(Block::Text(text.to_owned()));
    }

    pub(super) fn rows(&mut self, rows: Vec<(&str, String)>) {
        let rows: Vec<(String, String)> = rows
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        if !rows.is_empty() {
            self.blocks.push(Block::Rows(rows));
        }
    }

    pub(super) fn items(&mut self, items: Vec<String>) {
        if !items.is_empty() {
            self.blocks.push(Block::Items(items));
        }
    }

    pub(super) fn lines(&mut self, lines: Vec<String>) {
        if !lines.is_empty() {
            self.blocks.push(Block::Lines(lines));
        }
    }

    pub(super) fn write(&self, format: Format) -> String {
        match format {
            Format::Text => self.plain(),
            Format::Markdown => self.markdown(),
        }
    }

    fn plain(&self) -> String {
        let mut page = Page::new(Style { width: COLUMNS, colour: false });
        for block in &self.blocks {
            page.blank();
            match block {
                Block::Title(text) => {
                    page.filled("", "", text);
                    page.line(&"-".repeat(width(text).min(COLUMNS)));
                }
                Block::Subtitle(text) => page.filled("  ", "    ", text),
                Block::Text(text) => page.filled("", "", text),
                Block::Rows(rows) => {
                    let widest = rows.iter().map(|(name, _)| width(name)).max();
                    let column = widest.unwrap_or_default() + 6;
                    for (name, value) in rows {
                        let first = pad(&format!("    {name}"), column);
                        page.filled(&first, &" ".repeat(column), value);
                    }
                }
                Block::Items(items) => {
                    for item in items {
                        page.filled("  - ", "    ", item);
                    }
                }
                Block::Lines(lines) => {
                    for line in lines {
                        page.line(line);
                    }
                }
            }
        }
        page.finish()
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        for block in &self.blocks {
            if !out.is_empty() {
                out.push('\n');
            }
            match block {
                Block::Title(text) => push(&mut out, format_args!("## {}", escaped(text))),
                Block::Subtitle(text) => push(&mut out, format_args!("### {}", escaped(text))),
                Block::Text(text) => push(&mut out, format_args!("{}", inline(text))),
                Block::Rows(rows) => {
                    for (name, value) in rows {
                        let (name, value) = (escaped(name), inline(value));
                        push(&mut out, format_args!("- **{name}:** {value}"));
                    }
                }
                Block::Items(items) => {
                    for item in items {
                        push(&mut out, format_args!("- {}", inline(item)));
                    }
                }
                Block::Lines(lines) => {
                    let fence = "`".repeat(fence(lines));
                    push(&mut out, format_args!("{fence}text"));
                    for line in lines {
                        push(&mut out, format_args!("{}", line.trim_end()));
                    }
                    push(&mut out, format_args!("{fence}"));
                }
            }
        }
        out
    }
}

fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _: std::fmt::Result = writeln!(out, "{line}");
}

/// So many grave accents end no code in these lines.
fn fence(lines: &[String]) -> usize {
    let mut longest = 0;
    for line in lines {
        let mut run = 0;
        for c in line.chars() {
            run = if c == '`' { run + 1 } else { 0 };
            longest = longest.max(run);
        }
    }
    (longest + 1).max(3)
}

/// A text whose code stays code.
fn inline(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // An accent without a second one is none.
    let paired = parts.len() % 2 == 1;
    if !paired {
        return escaped(text);
    }
    let part = |(index, part): (usize, &&str)| {
        if index % 2 == 1 { format!("`{part}`") } else { escaped(part) }
    };
    parts.iter().enumerate().map(part).collect()
}

/// A text of which nothing means anything in Markdown, nor calls or links anybody where it is shown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        match c {
            '@' => out.push_str("&#64;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                out.push('\\');
                out.push(c);
            }
            // A list, or a rule.
            '-' | '+' | '=' if start => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
        start = false;
    }
    out.replace("://", ":\\//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_means_anything_in_markdown() {
        let mut letter = Letter::default();
        letter.title("a # title_");
        letter.text("`ivrs-trace check` and *no* [link](http://x.y) @all <b> iommu_group");
        letter.text("an odd ` accent");
        letter.rows(vec![("name", "- | `x|y`".to_owned()), ("nothing", String::new())]);
        letter.items(vec!["1 ~ 2".to_owned()]);
        letter.lines(vec!["0000: 60 60 60  ```".to_owned()]);
        assert_eq!(
            letter.write(Format::Markdown),
            "## a \\# title\\_\n\n\
             `ivrs-trace check` and \\*no\\* \\[link\\](http:\\//x.y) &#64;all &lt;b&gt; iommu\\_group\n\n\
             an odd \\` accent\n\n\
             - **name:** \\- \\| `x|y`\n\n\
             - 1 \\~ 2\n\n\
             ````text\n0000: 60 60 60  ```\n````\n"
        );
    }

    #[test]
    fn a_mail_keeps_its_columns() {
        let mut letter = Letter::default();
        letter.title("What there is");
        letter.text(&"word ".repeat(40));
        letter.rows(vec![("long", "x".repeat(200)), ("no", "1".to_owned())]);
        letter.items(vec!["item ".repeat(30)]);
        let text = letter.write(Format::Text);
        assert!(text.lines().all(|line| width(line) <= COLUMNS), "{text}");
        assert!(text.starts_with("What there is\n-------------\n\nword word"), "{text}");
        assert!(text.contains("\n    no    1\n"), "{text}");
    }
}
