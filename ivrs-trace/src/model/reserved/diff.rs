//! What differs between the tables of two hosts.

use super::{amd_diff, intel_diff};
use crate::{
    escape::printable,
    firmware::TableName,
    model::{
        diff_blocks::{Block, BlockChange, Field, Named, blocks, fields},
        known::Known,
        table::Table,
    },
};

/// What differs between two tables.
#[derive(Default)]
pub(crate) struct TableDiff {
    /// Of the header and of the table as a whole.
    pub(crate) fields: Vec<Field>,
    /// Of the blocks that describe IOMMUs, of those that ask for memory, and of the others.
    pub(crate) sections: [Vec<BlockChange>; 3],
    /// What could not be compared, a sentence each.
    pub(crate) notices: Vec<String>,
}

/// The parts of a table that was read.
type Parts = (Vec<Named>, [Vec<Block>; 3]);

/// What differs in a table of `b` from that of `a`.
pub(crate) fn compare(a: &Known, b: &Known, name: TableName) -> TableDiff {
    let (one, other) = (parts(a, name), parts(b, name));
    // A table that neither host has a use for is not missed.
    let unread = matches!(
        (&one, &other),
        (State::Absent | State::Unreadable(_), State::Absent | State::Unreadable(_))
    );
    if unread && a.table_name() != name && b.table_name() != name {
        return TableDiff::default();
    }
    match (one, other) {
        (State::Read((header, [iommus, entries, others])), State::Read((new, sections))) => {
            let [new_iommus, new_entries, new_others] = sections;
            TableDiff {
                fields: fields(&header, &new),
                sections: [
                    blocks(&iommus, &new_iommus),
                    blocks(&entries, &new_entries),
                    blocks(&others, &new_others),
                ],
                notices: Vec::new(),
            }
        }
        (one, other) => TableDiff {
            fields: fields(&[("table", one.word())], &[("table", other.word())]),
            notices: [("first", &one), ("second", &other)]
                .iter()
                .filter_map(|(side, state)| state.why(side))
                .collect(),
            ..TableDiff::default()
        },
    }
}

enum State {
    Read(Parts),
    Absent,
    Unreadable(String),
    Malformed(String),
}

impl State {
    fn of<T>(table: &Table<T>, parts: impl FnOnce(&T) -> Parts) -> Self {
        match table {
            Table::Read(table) => Self::Read(parts(table)),
            Table::Absent => Self::Absent,
            Table::Unreadable(why) => Self::Unreadable(printable(why)),
            Table::Malformed(error) => Self::Malformed(error.to_string()),
        }
    }

    fn word(&self) -> Option<String> {
        let word = match self {
            Self::Read(_) => "readable",
            Self::Absent => return None,
            Self::Unreadable(_) => "unreadable",
            Self::Malformed(_) => "malformed",
        };
        Some(word.to_owned())
    }

    fn why(&self, side: &str) -> Option<String> {
        match self {
            Self::Read(_) | Self::Absent => None,
            Self::Unreadable(why) | Self::Malformed(why) => {
                Some(format!("The table of the {side} could not be compared: {why}."))
            }
        }
    }
}

fn parts(model: &Known, name: TableName) -> State {
    match name {
        TableName::Ivrs => State::of(model.table(), |(ivrs, view)| {
            (amd_diff::header(ivrs, view), amd_diff::sections(ivrs))
        }),
        TableName::Dmar => {
            State::of(model.dmar(), |dmar| (intel_diff::header(dmar), intel_diff::sections(dmar)))
        }
    }
}
