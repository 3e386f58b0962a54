//! The host as it stands, read from files below one root: `/`, or a tree copied from a host.
//!
//! It reads and writes down, no more: nothing is judged here, nothing is changed, and what cannot
//! be read is a fact of its own with its reason. PCI configuration space is left alone, because
//! reading it wakes devices that sleep.

mod conditions;
mod copied;
mod disk;
mod log;
mod membership;
mod memory;
mod names;
mod region;
mod snapshot;
mod tree;
mod types;
mod ways;

pub(crate) use conditions::{Conditions, Disk, Interface};
pub(crate) use memory::{MapSource, MemoryMap, MemoryUse, RegionClass};
pub(crate) use names::PciNames;
pub(crate) use region::RegionKind;
pub use region::ReservedRegion;
pub use snapshot::Snapshot;
#[cfg(feature = "live")]
pub(crate) use snapshot::{kernel_btf, node_names};
pub use tree::{Files, Place, Reading};
pub use types::HexBytes;
pub(crate) use types::{AcpiDevice, Group, Member, PciFunction, Skipped};
pub(crate) use ways::Ways;
#[cfg(test)]
pub(crate) use {memory::MemoryRange, types::Dmi};

#[cfg(test)]
mod planted;
#[cfg(test)]
pub(crate) use planted::plant;
#[cfg(test)]
mod tests;
