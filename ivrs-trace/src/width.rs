//! How many columns of a terminal text takes.
//!
//! A character of Chinese takes two, an accent that stands for itself none. They are added up one by
//! one, as terminals and `textwrap` do.

use textwrap::{Options, WordSplitter};
use unicode_width::UnicodeWidthChar;

/// The columns of a text.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(of).sum()
}

fn of(c: char) -> usize {
    c.width().unwrap_or_default()
}

/// The text, and spaces up to so many columns.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// As much of the beginning of a text as fits into so many columns, and the rest.
pub(crate) fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut taken = 0;
    let over = text.char_indices().find(|(_, c)| {
        taken += of(*c);
        taken > columns
    });
    text.split_at(over.map_or(text.len(), |(at, _)| at))
}

/// The text, cut to so many columns with a mark where it is longer.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mark = if columns < 2 { "" } else { ".." };
    let (kept, _) = split(text, columns - mark.len());
    format!("{}{mark}", kept.trim_end())
}

/// A text in lines of so many columns, which begin as `first` and `rest` do. A word that is longer
/// than a line is broken.
pub(crate) fn wrap(text: &str, columns: usize, first: &str, rest: &str) -> Vec<String> {
    let options = Options::new(columns.max(1))
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(true)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options).into_iter();
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The end of a text, after a mark where the beginning does not fit.
#[cfg(feature = "live")]
pub(crate) fn last(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let over = width(text).saturating_sub(columns.saturating_sub(1));
    let mut skipped = 0;
    let rest = text.chars().skip_while(|c| {
        let skip = skipped < over || of(*c) == 0;
        skipped += of(*c);
        skip
    });
    std::iter::once('…').chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_not_characters() {
        for (text, columns) in [("abc", 3), ("漢字", 4), ("ｶﾅ", 2), ("e\u{301}", 1), ("", 0)]
        {
            assert_eq!(width(text), columns, "{text}");
            assert_eq!(width(&pad(text, 7)), 7, "{text}");
        }
        assert_eq!(pad("漢字", 3), "漢字");
        assert_eq!(cut("漢字漢字", 8), "漢字漢字");
        assert_eq!(cut("漢字漢字", 7), "漢字..");
        assert_eq!(cut("ab", 1), "a");
        assert_eq!(split("a漢b", 2), ("a", "漢b"));
        assert_eq!(split("e\u{301}a", 1), ("e\u{301}", "a"));
        assert_eq!(last("漢字漢字", 5), "…漢字");
        assert_eq!(last("漢字漢字", 4), "…字");
        assert_eq!(last("ae\u{301}b", 2), "…b");
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(text in ".{0,24}", columns in 0..30_usize) {
            prop_assert!(width(&cut(&text, columns)) <= columns);
            prop_assert!(width(&last(&text, columns)) <= columns.max(1));
            let (head, rest) = split(&text, columns);
            prop_assert_eq!(format!("{head}{rest}"), text.clone());
            prop_assert!(width(head) <= columns && width(&pad(&text, columns)) >= columns);
        }
    }
}
