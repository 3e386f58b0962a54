//! Words that were typed, of which a text must have every one.

/// Words to look for, whatever their case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// The words of a text.
    pub(super) fn of(typed: &str) -> Self {
        Self(typed.split_whitespace().map(str::to_lowercase).collect())
    }

    /// Whether a text has them all. The text is not made where there are no words: there may be ten
    /// thousand rows, at every drawing.
    pub(super) fn are_in(&self, text: impl FnOnce() -> String) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let text = text().to_lowercase();
        self.0.iter().all(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_be_there_and_no_words_ask_for_no_text() {
        let words = Words::of("  NVMe blocked ");
        assert!(words.are_in(|| "0000:01:00.0 Blocked nvme".to_owned()));
        assert!(!words.are_in(|| "0000:01:00.0 clear nvme".to_owned()));
        assert!(Words::of(" ").are_in(|| unreachable!()));
    }
}
