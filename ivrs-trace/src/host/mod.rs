//! The host as it stands, read from files below one root: `/`, or a tree copied from a host.
//!
//! It reads and writes down, no more: nothing is judged here, nothing is changed, and what cannot
//! be read is a fact of its own with its reason. PCI configuration space is left alone, because
//! reading it wakes devices that sleep.

mod conditions;
mod log;
mod memory;
mod names;
mod region;
mod snapshot;
mod tree;
mod types;

pub use conditions::{Conditions, Disk, Interface, Mount};
pub use memory::{MapSource, MemoryMap, MemoryRange, MemoryUse, RegionClass};
pub use names::PciNames;
pub use region::{ParseRegionError, RegionKind, ReservedRegion};
pub use snapshot::{Snapshot, kernel_btf};
pub use tree::{Files, Place, Reading};
pub use types::{
    AcpiDevice, Dmi, Group, HexBytes, Member, ParseHexBytesError, PciFunction, Skipped,
};

#[cfg(test)]
mod tests;
