//! What the firmware asked for: the ACPI tables IVRS (AMD) and DMAR (Intel), and what Linux makes of
//! them.
//!
//! Bytes in, facts out. Nothing here opens a file, asks the running kernel or judges: reading a table
//! from a host is `host`, verdicts are `model`.

pub mod acpi;
pub mod amd;
pub mod dump;
pub mod findings;
pub mod intel;

pub use acpi::TableError;
pub use amd::{
    ivrs::{Ivhd, Ivmd, Ivrs},
    kernel::{KernelView, UnityEntry},
};
pub use intel::dmar::{Dmar, Drhd, Rmrr};

#[cfg(test)]
mod tests;
