//! What is found out once of a host, since every function of it is held against it.

use std::collections::BTreeMap;

use crate::pci::Bdf;

/// What the scopes of RMRRs, by their offsets, mean for functions of other segments.
pub(in crate::model) type Across = BTreeMap<usize, Other>;

#[derive(Clone, Copy, Debug)]
pub(in crate::model) enum Other {
    /// It names no bridge.
    Nothing,
    /// It names this bridge, below which there are these buses.
    Below(Bdf, Option<(u8, u8)>),
    /// A bridge that is not known may have any bus below it.
    Unknown,
}

/// How many entries of a table are held against the functions of a host, from the first on: all of
/// them on every real host.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Judged {
    pub(super) ivmd: usize,
    pub(super) rmrr: usize,
    /// Whether the scopes of all DRHDs are.
    pub(super) drhd: bool,
}

/// What the groups of the host show together.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::model) struct Shown {
    /// Whether one has AMD's range of `HyperTransport`.
    pub(in crate::model) hyper_transport: bool,
    /// The first with a direct region.
    pub(in crate::model) direct: Option<u32>,
}
