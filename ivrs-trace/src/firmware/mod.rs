//! What the firmware asked for: the ACPI IVRS table, and what Linux makes of it.
//!
//! Bytes in, facts out. Nothing here opens a file, asks the running kernel or judges: reading the
//! table from a host is `host`, verdicts are `model`.

pub mod builder;
mod bytes;
pub mod device_entry;
pub mod dump;
pub mod findings;
pub mod ivrs;
pub mod kernel_view;

pub use ivrs::{Ivhd, Ivmd, Ivrs, IvrsError};
pub use kernel_view::{KernelView, UnityEntry};

#[cfg(test)]
mod tests;
