//! The recording, a file `.ivt`: what a host showed and what its kernel did, written down before it
//! is interpreted, so that a later version of the tool makes more of an old file.
//!
//! The file is a row of framed sections, only ever appended to. [`Recorder`] writes it beside a
//! running trace, [`Reader`] reads it again from whatever is left of it, and [`replay()`] makes a model
//! of it. docs/trace-format.md describes it for other programs.
//!
//! A file is not trusted. Every length is checked against a bound before memory is taken for it;
//! the bounds are here. Strings come out as they were written: who prints them makes them
//! printable.

mod files;
pub mod frame;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{
    Condition, Continues, Damage, Events, IndexEntry, Item, OpenError, Reader, is_recording, open,
    read_index,
};
pub use write::{CreateError, Fate, MIN_SIZE, Options, Outcome, Recorder, Status, rotated};

/// Bytes that one section may have, stored or unpacked.
pub const MAX_SECTION: usize = 8 * 1024 * 1024;
/// How many bytes a section may unpack to for each byte that it takes in the file, header included:
/// so a file of N bytes holds at most 512 N bytes.
pub const MAX_RATIO: usize = 512;
/// Bytes that a section of JSON may have, unpacked.
pub const MAX_JSON: usize = 256 * 1024;
/// Bytes that one event may have. Those of this version have some hundred.
pub const MAX_EVENT: usize = 64 * 1024;
/// Bytes of memory that the files of one snapshot may take when they are read, roughly.
pub const MAX_SNAPSHOT: usize = 96 * 1024 * 1024;

/// The layout of the events (`ivrs-trace-common`). It stays 1 as long as the layout of a kind of
/// event never changes: what is laid out otherwise becomes a new kind.
pub const EVENT_LAYOUT: u32 = 1;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// [`Start`](crate::facts::Start), JSON. The first section of a file.
    pub const START: Self = Self(1);
    /// The probe table as it stands, JSON: a list of [`ProbeFact`](crate::facts::ProbeFact). A later one replaces it.
    pub const PROBES: Self = Self(2);
    /// A part of a snapshot: files of the host.
    pub const FILES: Self = Self(3);
    /// Events as they came from the ring buffer.
    pub const EVENTS: Self = Self(4);
    /// [`Loss`](crate::facts::Loss), JSON. A later one replaces it.
    pub const LOSS: Self = Self(5);
    /// [`End`](crate::facts::End), JSON.
    pub const END: Self = Self(6);
    /// Where the sections are; the last section of a file that was closed.
    pub const INDEX: Self = Self(7);
    /// [`Continues`], JSON: what came before the events that follow is in an earlier file.
    pub const CONTINUES: Self = Self(8);

    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::START => "start",
            Self::PROBES => "probes",
            Self::FILES => "files",
            Self::EVENTS => "events",
            Self::LOSS => "loss",
            Self::END => "end",
            Self::INDEX => "index",
            Self::CONTINUES => "continues",
            Self(_) => "unknown",
        }
    }
}
