//! The host as it stands, read from files below one root: `/`, or a tree copied from a host.
//!
//! It reads and writes down, no more: nothing is judged here, nothing is changed, and what cannot
//! be read is a fact of its own with its reason. PCI configuration space is left alone, because
//! reading it wakes devices that sleep.

mod region;
mod snapshot;
mod tree;

pub use region::{ParseRegionError, RegionKind, ReservedRegion};
pub use snapshot::{
    Dmi, Group, HexBytes, Member, ParseHexBytesError, PciFunction, Skipped, Snapshot,
};
pub use tree::Reading;

#[cfg(test)]
mod tests;
