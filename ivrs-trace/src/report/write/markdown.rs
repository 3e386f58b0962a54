//! Documents as Markdown (`CommonMark`).

use super::{Kind, Part, Text, Value};
use crate::report::{Document, hex_bytes};

pub(super) fn write(document: &Document) -> String {
    let blocks: Vec<String> = document
        .blocks()
        .iter()
        .map(|block| match &block.part {
            Part::Title(text) => format!("## {}\n", inline(text)),
            Part::Subtitle(text) => format!("### {}\n", inline(text)),
            Part::Text(text) => format!("{}\n", inline(text)),
            Part::Rows(rows) => rows.iter().map(|(name, value)| row(name, value)).collect(),
            Part::Items(_, items) => {
                let items = items.iter().map(|item| format!("- {}\n", inline(item)));
                items.collect::<Vec<_>>().concat()
            }
            Part::Tailed(text, tail) => format!("- {} {}\n", inline(text), escaped(tail)),
            Part::Lines(lines) => fenced(lines),
        })
        .collect();
    blocks.join("\n")
}

fn row(name: &Text, value: &Value) -> String {
    let value = match value {
        Value::Text(text) => inline(text),
        Value::Bytes(bytes) => format!("`{}`", hex_bytes(bytes)),
    };
    format!("- **{}:** {value}\n", inline(name))
}

fn inline(text: &Text) -> String {
    let piece = |span: &super::Span| match span.kind {
        Kind::Code => span.text.clone(),
        Kind::Strong => format!("**{}**", escaped(&span.text)),
        _ => escaped(&span.text),
    };
    text.spans().iter().map(piece).collect()
}

/// Lines as they are, between accents of which they have none as long.
fn fenced(lines: &[String]) -> String {
    let runs = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len);
    let fence = "`".repeat((runs.max().unwrap_or_default() + 1).max(3));
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    format!("{fence}text\n{}\n{fence}\n", lines.join("\n"))
}

/// A text of which nothing means anything in Markdown, nor calls or links anybody where it is shown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '@' => out.push_str("&#64;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => out.extend(['\\', c]),
            // A list, or a rule.
            '-' | '+' | '=' if at == 0 => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out.replace("://", ":\\//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_means_anything_in_markdown() {
        let mut document = Document::default();
        document.title("a # title_");
        document.text(0, "`ivrs-trace check` and *no* [link](http://x.y) @all <b> iommu_group");
        document.text(0, "an odd ` accent");
        document.row("name", "- | `x|y`");
        document.row("nothing", "");
        document.items(["1 ~ 2"]);
        document.lines(vec!["0000: 60 60 60  ```".to_owned()]);
        assert_eq!(
            write(&document),
            "## a \\# title\\_\n\n\
             `ivrs-trace check` and \\*no\\* \\[link\\](http:\\//x.y) &#64;all &lt;b&gt; iommu\\_group\n\n\
             an odd \\` accent\n\n\
             - **name:** \\- \\| `x|y`\n\n\
             - 1 \\~ 2\n\n\
             ````text\n0000: 60 60 60  ```\n````\n"
        );
    }
}
