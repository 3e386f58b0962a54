//! How many entries of a table are held against the functions of a host.

use super::once::Judged;
use crate::{
    firmware::{TableName, UnityEntry},
    model::{bounds::PAIRS, known::Known},
    pci::Bdf,
};

impl Judged {
    pub(in crate::model) fn of(model: &Known) -> Self {
        let functions = model.functions().count().max(1);
        let Some(dmar) = model.dmar().dmar() else {
            return Self { ivmd: PAIRS / functions, rmrr: usize::MAX, drhd: true };
        };
        // A scope is held against a function and the bridges above it.
        let ways: usize = model.functions().map(|one| model.ways().to(one.bdf).0.len()).sum();
        let mut room = PAIRS / ways.max(1);
        let drhd = dmar.drhd.iter().map(|drhd| drhd.scopes.len()).sum::<usize>() <= room;
        let fits = dmar.rmrr.iter().take_while(|rmrr| {
            let left = room.checked_sub(rmrr.scopes.len() + 1);
            room = left.unwrap_or_default();
            left.is_some()
        });
        Self { ivmd: PAIRS / functions, rmrr: fits.count(), drhd }
    }
}

impl Known {
    pub(super) fn judged(&self) -> Judged {
        *self.judged.get_or_init(|| Judged::of(self))
    }

    /// How many entries of a table are not held against the functions of this host.
    pub(crate) fn unjudged(&self, table: TableName) -> usize {
        match table {
            TableName::Ivrs => self
                .table()
                .view()
                .map_or(0, |view| view.entries.len().saturating_sub(self.judged().ivmd)),
            TableName::Dmar => self
                .dmar()
                .dmar()
                .map_or(0, |dmar| dmar.rmrr.len().saturating_sub(self.judged().rmrr)),
        }
    }

    /// The entries of the IVRS that are judged.
    pub(super) fn entries(&self) -> &[UnityEntry] {
        let view = self.table().view().filter(|view| view.initialises());
        let entries = view.map_or(&[][..], |view| view.entries.as_slice());
        entries.get(..self.judged().ivmd).unwrap_or(entries)
    }

    /// Those that apply to a function, in the kernel's order.
    pub(super) fn entries_of(&self, bdf: Bdf) -> impl Iterator<Item = &UnityEntry> {
        self.entries().iter().filter(move |entry| entry.matches(bdf))
    }
}
