//! What the firmware asked for: the ACPI tables IVRS (AMD) and DMAR (Intel), and what Linux makes of
//! them.
//!
//! Bytes in, facts out. Nothing here opens a file, asks the running kernel or judges: reading a table
//! from a host is `host`, verdicts are `model`.

mod acpi;
pub mod amd;
pub mod dump;
pub mod findings;
pub mod intel;

pub use amd::{
    ivrs::{Ivhd, Ivmd, Ivrs, IvrsError},
    kernel::{KernelView, UnityEntry},
};
pub use intel::dmar::{Dmar, DmarError, Drhd, Rmrr};

#[cfg(test)]
mod tests;
