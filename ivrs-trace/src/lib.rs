//! Placeholder.

pub mod firmware;
pub mod pci;
