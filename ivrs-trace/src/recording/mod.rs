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
use serde::{Deserialize, Serialize};
pub use write::{CreateError, Fate, MIN_SIZE, Options, Outcome, Recorder, Status, rotated};

use crate::{
    model::{OpenFile, RequireDirect},
    report::Lost,
};

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
    /// [`Start`], JSON. The first section of a file.
    pub const START: Self = Self(1);
    /// The probe table as it stands, JSON: a list of [`ProbeFact`]. A later one replaces it.
    pub const PROBES: Self = Self(2);
    /// A part of a snapshot: files of the host.
    pub const FILES: Self = Self(3);
    /// Events as they came from the ring buffer.
    pub const EVENTS: Self = Self(4);
    /// [`Loss`], JSON. A later one replaces it.
    pub const LOSS: Self = Self(5);
    /// [`End`], JSON.
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

/// How a recording began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Name and version of the program that made it.
    pub tool: String,
    /// See [`EVENT_LAYOUT`].
    pub event_layout: u32,
    /// Byte order of the numbers in events: `little` or `big`.
    pub byte_order: String,
    /// Architecture of the program, such as `x86_64`.
    pub architecture: String,
    /// The kernel's release, `uname -r`.
    pub kernel_release: String,
    /// Whether the kernel was traced; else there are files alone.
    pub traced: bool,
    /// Whether the kernel refuses devices for their 1:1 maps, from its BTF.
    pub require_direct: RequireDirect,
    /// The clocks when it began.
    pub clocks: Clocks,
    /// The command that was run, if one was.
    #[serde(default)]
    pub command: Vec<String>,
    /// The files of `/dev/vfio` that processes had open.
    #[serde(default)]
    pub open_files: Vec<OpenFile>,
}

/// Several clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`, ns: the clock of the events.
    pub monotonic_ns: u64,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub realtime_ns: u64,
    /// `CLOCK_BOOTTIME`, ns: like the first, with the time that the host slept.
    pub boottime_ns: u64,
}

/// A probe as it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFact {
    /// The kernel function or the tracepoint.
    pub symbol: String,
    /// The module that it is in, if it is in one.
    #[serde(default)]
    pub module: Option<String>,
    /// What is learnt there.
    pub explains: String,
    /// Whether a refusal cannot be seen or explained without it.
    #[serde(default)]
    pub required: bool,
    /// How its programs are attached, such as `fexit`.
    #[serde(default)]
    pub how: Vec<String>,
    /// Why not in the way that is preferred.
    #[serde(default)]
    pub fallback: Option<String>,
    /// `attached`, `waiting` (for its module), `not_needed`, `left_out` (on demand) or `missing`.
    pub state: String,
    /// Why it is missing.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What did not arrive, counted from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What each probe counted.
    #[serde(default)]
    pub probes: Vec<ProbeLoss>,
    /// Events that arrived, but could not be written to the file: it was full or too slow.
    #[serde(default)]
    pub not_recorded: u64,
    /// Other sections that could not be written: files of the host, or how the probes stood.
    #[serde(default)]
    pub sections_not_recorded: u64,
}

impl Loss {
    /// The sums over all probes; `queue` is what could not be written.
    #[must_use]
    pub fn as_lost(&self) -> Lost {
        let sum = |count: fn(&ProbeLoss) -> u64| {
            self.probes.iter().map(count).fold(0, u64::saturating_add)
        };
        Lost {
            ring: sum(|probe| probe.ring_lost),
            read: sum(|probe| probe.read_failed.saturating_add(probe.truncated)),
            queue: self.not_recorded,
        }
    }
}

/// What one probe counted, over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLoss {
    /// The kernel function or the tracepoint.
    pub symbol: String,
    /// Times that it fired.
    pub hits: u64,
    /// Events that found the ring buffer full.
    pub ring_lost: u64,
    /// Reads of kernel memory that failed.
    pub read_failed: u64,
    /// Lists that were cut.
    pub truncated: u64,
}

/// How a recording ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What ended it: `command` (it has ended), `interrupted`, `duration` (it was over), `snapshot`
    /// (there was no more to record) or `rotated` (it goes on in another file).
    pub reason: String,
    /// Exit status of the command, if one was run: 128 and the signal's number after a signal.
    #[serde(default)]
    pub exit_status: Option<i32>,
    /// `CLOCK_MONOTONIC`, ns.
    #[serde(default)]
    pub time_ns: u64,
}
