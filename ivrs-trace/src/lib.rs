//! Placeholder.

pub mod firmware;
pub mod host;
pub mod pci;
