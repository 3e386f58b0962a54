//! What the firmware asked for: the ACPI tables IVRS (AMD) and DMAR (Intel), and what Linux makes of
//! them.
//!
//! Bytes in, facts out. Nothing here opens a file, asks the running kernel or judges: reading a table
//! from a host is `host`, verdicts are `model`.

pub mod builder;
mod bytes;
pub mod device_entry;
pub mod dmar;
pub mod dump;
pub mod findings;
pub mod ivrs;
pub mod kernel_view;

pub use dmar::{Dmar, DmarError, Drhd, Rmrr};
pub use ivrs::{Ivhd, Ivmd, Ivrs, IvrsError};
pub use kernel_view::{KernelView, UnityEntry};

#[cfg(test)]
mod tests;
