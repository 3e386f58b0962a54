//! What the firmware asked for: the ACPI tables IVRS (AMD) and DMAR (Intel), and what Linux makes of
//! them.
//!
//! Bytes in, facts out. Nothing here opens a file, asks the running kernel or judges: reading a table
//! from a host is `host`, verdicts are `model`.

pub mod acpi;
pub mod amd;
pub mod dump;
mod fact;
mod finding;
pub mod intel;
mod reserved;

pub use acpi::TableError;
pub use amd::{
    ivrs::{Ivhd, Ivmd, Ivrs},
    kernel::{KernelView, UnityEntry},
};
pub use fact::{Fact, UnityFact};
pub use finding::Finding;
pub use intel::dmar::{Dmar, Drhd, Rmrr};
pub use reserved::{Entry, EntryId, Place, TableName};

#[cfg(test)]
mod tests;
