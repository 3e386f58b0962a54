//! Rows of which one is chosen and some are on the screen.

/// Rows, by number from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    rows: usize,
    chosen: usize,
    first: usize,
    height: usize,
}

impl List {
    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The chosen row, if there is any.
    pub(super) fn chosen(&self) -> Option<usize> {
        (self.chosen < self.rows).then_some(self.chosen)
    }

    /// Whether the last row is chosen, or there is none.
    pub(super) fn is_at_end(&self) -> bool {
        self.chosen + 1 >= self.rows
    }

    /// Sets how many rows there are; the chosen one stays where it can.
    pub(super) fn set_rows(&mut self, rows: usize) {
        self.rows = rows;
        self.choose(self.chosen);
    }

    /// Chooses a row, or the last one if there are not so many.
    pub(super) fn choose(&mut self, row: usize) {
        self.chosen = row.min(self.rows.saturating_sub(1));
        self.show();
    }

    /// Moves so many rows down, or up.
    pub(super) fn step(&mut self, by: isize) {
        self.choose(self.chosen.saturating_add_signed(by));
    }

    /// Moves so many screens down, or up.
    pub(super) fn page(&mut self, by: isize) {
        let screen = isize::try_from(self.height.max(2) - 1).unwrap_or(isize::MAX);
        self.step(by.saturating_mul(screen));
    }

    /// Takes rows away at the front, as they are not kept any more; the chosen row stays the same
    /// one.
    pub(super) fn drop_front(&mut self, count: usize) {
        self.chosen = self.chosen.saturating_sub(count);
        self.first = self.first.saturating_sub(count);
        self.set_rows(self.rows.saturating_sub(count));
    }

    /// Says how many rows fit on the screen.
    pub(super) fn set_height(&mut self, height: usize) {
        self.height = height;
        self.show();
    }

    /// The rows on the screen.
    pub(super) fn visible(&self) -> std::ops::Range<usize> {
        self.first..self.rows.min(self.first.saturating_add(self.height))
    }

    /// The row in this line of the screen, if there is one.
    pub(super) fn at(&self, line: usize) -> Option<usize> {
        let row = self.first.checked_add(line)?;
        self.visible().contains(&row).then_some(row)
    }

    /// Scrolls so that the chosen row is seen, and no more empty lines than needed.
    fn show(&mut self) {
        let height = self.height.max(1);
        self.first = self.first.min(self.rows.saturating_sub(height)).min(self.chosen);
        if self.chosen >= self.first.saturating_add(height) {
            self.first = self.chosen + 1 - height;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_chosen_row_is_on_the_screen() {
        let mut list = List::default();
        assert_eq!(list.chosen(), None);
        list.set_height(10);
        list.set_rows(100);
        list.choose(usize::MAX);
        assert_eq!((list.chosen(), list.visible()), (Some(99), 90..100));
        list.page(-1);
        assert_eq!((list.chosen(), list.visible()), (Some(90), 90..100));
        list.step(-1);
        assert_eq!(list.visible(), 89..99);
        assert_eq!(list.at(0), Some(89));
        assert_eq!(list.at(10), None);
        list.drop_front(80);
        assert_eq!((list.chosen(), list.visible()), (Some(9), 9..19));
        list.set_rows(3);
        assert_eq!((list.chosen(), list.visible()), (Some(2), 0..3));
    }

    proptest! {
        #[test]
        fn whatever_is_done_the_chosen_row_is_seen(
            steps in proptest::collection::vec((0..6_u8, 0..200_usize), 0..40)
        ) {
            let mut list = List::default();
            for (what, number) in steps {
                let signed = isize::try_from(number).unwrap() - 100;
                match what {
                    0 => list.set_rows(number),
                    1 => list.set_height(number % 30),
                    2 => list.choose(number),
                    3 => list.step(signed),
                    4 => list.page(signed),
                    _ => list.drop_front(number),
                }
                let visible = list.visible();
                prop_assert!(visible.end <= list.rows());
                if let Some(chosen) = list.chosen() {
                    prop_assert!(list.height == 0 || visible.contains(&chosen));
                } else {
                    prop_assert_eq!(list.rows(), 0);
                }
            }
        }
    }
}
