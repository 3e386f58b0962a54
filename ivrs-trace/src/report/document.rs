//! What is said of something, as blocks of text that know what they are. It does not know how they
//! look: that is for the writers ([`super::write`]).

use crate::{codes::Severity, model::Verdict};

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing special.
    Plain,
    /// To be typed or looked for as it stands, between grave accents.
    Code,
    /// What the eye shall find.
    Strong,
    /// The name of a row.
    Name,
    /// A verdict, or what stands for one.
    Verdict(Verdict),
    /// How bad something is.
    Severity(Severity),
}

/// A piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its words.
    pub(crate) text: String,
}

impl Span {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// Text of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Span>);

impl Text {
    pub(crate) fn of(kind: Kind, text: impl Into<String>) -> Self {
        Self(vec![Span::new(kind, text)])
    }

    pub(crate) fn then(mut self, more: impl Into<Self>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.0
    }

    /// The words alone.
    pub(crate) fn plain(&self) -> String {
        self.0.iter().map(|span| span.text.as_str()).collect()
    }

    /// The pieces of a part of the words.
    pub(crate) fn part(&self, start: usize, end: usize) -> Vec<Span> {
        let mut at = 0;
        let cut = |span: &Span| {
            let (from, to) = (start.saturating_sub(at), end.saturating_sub(at));
            at += span.text.len();
            let text = span.text.get(from..to.min(span.text.len()))?;
            (!text.is_empty()).then(|| Span::new(span.kind, text))
        };
        self.0.iter().filter_map(cut).collect()
    }
}

impl From<&str> for Text {
    /// What stands between grave accents is code; an accent without a second one is none.
    fn from(text: &str) -> Self {
        let parts: Vec<&str> = text.split('`').collect();
        if parts.len() < 3 || parts.len().is_multiple_of(2) {
            return Self::of(Kind::Plain, text);
        }
        let span = |(index, part): (usize, &&str)| match index % 2 {
            0 => Span::new(Kind::Plain, *part),
            _ => Span::new(Kind::Code, format!("`{part}`")),
        };
        Self(parts.iter().enumerate().map(span).filter(|span| !span.text.is_empty()).collect())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// What stands behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Words.
    Text(Text),
    /// Bytes of a table.
    Bytes(Vec<u8>),
}

impl<T: Into<Text>> From<T> for Value {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A title of what follows.
    Title(Text),
    /// A title below a title.
    Subtitle(Text),
    /// A paragraph.
    Text(Text),
    /// Names and values.
    Rows(Vec<(Text, Value)>),
    /// One after the other, each behind a mark.
    Items(char, Vec<Text>),
    /// A line, and a name behind it that is cut to the room that is left.
    Tailed(Text, String),
    /// Lines that stay as they are.
    Lines(Vec<String>),
}

/// A part, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// By how many columns it is set in.
    pub(crate) indent: usize,
    /// Whether it stands apart from what is before it.
    pub(crate) apart: bool,
    pub(crate) part: Part,
}

/// What is said of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    blocks: Vec<Block>,
    apart: bool,
}

impl Document {
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The next part stands apart.
    pub(crate) fn blank(&mut self) {
        self.apart = true;
    }

    pub(crate) fn push(&mut self, indent: usize, part: Part) {
        let apart = std::mem::take(&mut self.apart);
        self.blocks.push(Block { indent, apart, part });
    }

    pub(crate) fn title(&mut self, text: impl Into<Text>) {
        self.blank();
        self.push(0, Part::Title(text.into()));
    }

    pub(crate) fn subtitle(&mut self, text: impl Into<Text>) {
        self.blank();
        self.push(2, Part::Subtitle(text.into()));
    }

    /// A paragraph, which belongs to what is before it.
    pub(crate) fn fact(&mut self, indent: usize, text: impl Into<Text>) {
        self.push(indent, Part::Text(text.into()));
    }

    /// A fact behind a word that the eye shall find.
    pub(crate) fn headed(&mut self, indent: usize, head: &str, text: impl Into<Text>) {
        self.fact(indent, head_of(head, text));
    }

    /// A paragraph that stands for itself; the same one is not said twice. Whether it is a new one.
    pub(crate) fn text(&mut self, indent: usize, text: impl Into<Text>) -> bool {
        let text = Part::Text(text.into());
        let new = !self.says(&text);
        if new {
            self.push(indent, text);
        }
        new
    }

    pub(crate) fn says(&self, part: &Part) -> bool {
        self.blocks.iter().any(|block| block.part == *part)
    }

    /// A name and its value, after those before; nothing where the value is empty.
    pub(crate) fn row(&mut self, name: impl Into<Text>, value: impl Into<Value>) {
        self.row_at(4, name, value);
    }

    pub(crate) fn row_at(&mut self, indent: usize, name: impl Into<Text>, value: impl Into<Value>) {
        let value = value.into();
        if matches!(&value, Value::Text(text) if text.plain().is_empty()) {
            return;
        }
        match self.blocks.last_mut() {
            Some(Block { part: Part::Rows(rows), .. }) if !self.apart => {
                rows.push((name.into(), value));
            }
            _ => self.push(indent, Part::Rows(vec![(name.into(), value)])),
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.row("bytes", Value::Bytes(bytes.to_vec()));
    }

    /// Rows that stand for themselves.
    pub(crate) fn rows<'a>(&mut self, rows: impl IntoIterator<Item = (&'a str, String)>) {
        self.blank();
        for (name, value) in rows {
            self.row(name, value);
        }
    }

    pub(crate) fn items<T: Into<Text>>(&mut self, items: impl IntoIterator<Item = T>) {
        self.marked(2, '-', items);
    }

    pub(crate) fn marked<T: Into<Text>>(
        &mut self,
        indent: usize,
        mark: char,
        items: impl IntoIterator<Item = T>,
    ) {
        let items: Vec<Text> = items.into_iter().map(Into::into).collect();
        if !items.is_empty() {
            self.push(indent, Part::Items(mark, items));
        }
    }

    pub(crate) fn lines(&mut self, lines: Vec<String>) {
        if !lines.is_empty() {
            self.push(0, Part::Lines(lines));
        }
    }
}

/// Text behind a word that the eye shall find.
pub(crate) fn head_of(head: &str, text: impl Into<Text>) -> Text {
    Text::of(Kind::Strong, head).then(" ").then(text)
}

/// `1 device`, `3 devices`.
pub(crate) fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// A text that begins with a capital letter.
pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Style;

    #[test]
    fn a_paragraph_is_said_once_and_a_fact_as_often_as_it_is_one() {
        let mut document = Document::default();
        assert!(document.text(0, "What to do."));
        document.fact(0, "A fact.");
        assert!(!document.text(2, "What to do."));
        document.fact(0, "A fact.");
        assert_eq!(document.terminal(Style::default()), "What to do.\nA fact.\nA fact.\n");
    }

    #[test]
    fn colours_are_those_of_the_spans_and_stay_with_them_over_lines() {
        let mut document = Document::default();
        document.headed(0, "Cause:", "one of BLOCKED");
        document.fact(0, Text::of(Kind::Verdict(Verdict::Blocked), "two words"));
        let text = document.terminal(Style { width: 12, colour: true });
        let bold = "\u{1b}[1mCause:\u{1b}[0m one\n  of BLOCKED\n";
        assert_eq!(text, format!("{bold}\u{1b}[1;31mtwo words\u{1b}[0m\n"));
        let text = document.terminal(Style { width: 6, colour: true });
        assert!(
            text.ends_with(
                "\u{1b}[1;31mtwo\u{1b}[0m\n  \u{1b}[1;31mword\u{1b}[0m\n  \u{1b}[1;31ms\u{1b}[0m\n"
            ),
            "{text:?}"
        );
    }

    #[test]
    fn values_begin_in_one_column_and_bytes_fill_lines_of_sixteen_or_eight() {
        let mut document = Document::default();
        document.row("a", "1");
        document.row("nothing", "");
        document.bytes(&[0; 17]);
        let sixteen = format!("    a      1\n    bytes  {}\n           00\n", ["00"; 16].join(" "));
        assert_eq!(document.terminal(Style::default()), sixteen);
        let narrow = document.terminal(Style { width: 50, colour: false });
        assert!(narrow.contains(&format!("bytes  {}\n", ["00"; 8].join(" "))), "{narrow}");
    }
}
