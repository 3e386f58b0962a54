//! Text about the chosen row: lines with what they are, fitted to a width, and how far it is
//! scrolled.

use ratatui::text::{Line, Span};

use super::{Role, pane::Look};
use crate::{
    codes::Severity,
    model::Verdict,
    report::{
        Document,
        document::{Kind, Span as Piece},
        write,
    },
    width::{pad, width, wrap},
};

/// Text being put together for a width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    width: usize,
    lines: Vec<Vec<(Role, String)>>,
}

impl Text {
    pub(super) fn new(width: usize) -> Self {
        Self { width: width.max(1), lines: Vec::new() }
    }

    /// Columns that a line can have.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// An empty line, but not at the beginning and not two of them.
    pub(super) fn blank(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.lines.push(Vec::new());
        }
    }

    /// A title on a line of its own, after an empty one.
    pub(super) fn title(&mut self, text: &str) {
        self.blank();
        self.paragraph(Role::Title, "", text);
    }

    /// A paragraph; lines after the first are set in by two columns.
    pub(super) fn text(&mut self, text: &str) {
        self.paragraph(Role::Text, "", text);
    }

    /// A name and what it is.
    pub(super) fn row(&mut self, name: &str, text: &str) {
        self.painted_row(name, Role::Text, text);
    }

    /// A name and what it is, in the look of a role.
    pub(super) fn painted_row(&mut self, name: &str, role: Role, text: &str) {
        let first = format!("{} ", pad(name, 10));
        let indent = " ".repeat(width(&first));
        let lines = wrap(text, self.width, &indent, &indent);
        for (index, line) in lines.into_iter().enumerate() {
            let line = line.get(indent.len()..).unwrap_or_default().to_owned();
            let head = if index == 0 { first.clone() } else { indent.clone() };
            self.lines.push(vec![(Role::Dim, head), (role, line)]);
        }
    }

    /// A paragraph in the look of a role, set in as `indent` is; lines after the first by two more
    /// columns.
    pub(super) fn paragraph(&mut self, role: Role, indent: &str, text: &str) {
        let rest = format!("{indent}  ");
        let lines = wrap(text, self.width, indent, &rest).into_iter();
        self.lines.extend(lines.map(|line| vec![(role, line)]));
    }

    /// A line as it is, in pieces; what does not fit is not shown.
    pub(super) fn line(&mut self, pieces: Vec<(Role, String)>) {
        self.lines.push(pieces);
    }

    /// What a report says, each piece in the look of what it is.
    pub(super) fn document(&mut self, document: &Document) {
        let line =
            |line: Vec<Piece>| line.into_iter().map(|span| (role(span.kind), span.text)).collect();
        self.lines.extend(write::lines(document, self.width, false).into_iter().map(line));
    }

    /// Lines that are made already.
    pub(super) fn report(&mut self, text: &str) {
        self.lines.extend(text.lines().map(|line| vec![(Role::Text, line.to_owned())]));
    }

    /// The text alone, to be copied.
    pub(super) fn plain(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let line: String = line.iter().map(|(_, piece)| piece.as_str()).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Some lines, to be drawn.
    pub(super) fn drawn(&self, from: usize, count: usize, look: Look) -> Vec<Line<'static>> {
        let spans = |line: &Vec<(Role, String)>| {
            let span =
                |(role, text): &(Role, String)| Span::styled(text.clone(), look.style(*role));
            Line::from(line.iter().map(span).collect::<Vec<_>>())
        };
        self.lines.iter().skip(from).take(count).map(spans).collect()
    }
}

fn role(kind: Kind) -> Role {
    match kind {
        Kind::Verdict(Verdict::Blocked | Verdict::NoIommu) | Kind::Severity(Severity::Error) => {
            Role::Bad
        }
        Kind::Verdict(Verdict::Clear) => Role::Good,
        Kind::Verdict(Verdict::Unknown) | Kind::Severity(Severity::Warning) => Role::Doubtful,
        Kind::Strong => Role::Title,
        Kind::Name | Kind::Verdict(Verdict::Platform) => Role::Dim,
        Kind::Plain | Kind::Code | Kind::Severity(Severity::Note) => Role::Text,
    }
}

/// How far a text is scrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    first: usize,
}

impl Scroll {
    pub(super) fn first(self) -> usize {
        self.first
    }

    /// Moves so many lines down, or up.
    pub(super) fn step(&mut self, by: isize) {
        self.first = self.first.saturating_add_signed(by);
    }

    pub(super) fn to(&mut self, line: usize) {
        self.first = line;
    }

    /// Does not go beyond the end of so many lines.
    pub(super) fn limit(&mut self, lines: usize, height: usize) {
        self.first = self.first.min(lines.saturating_sub(height));
    }
}
