//! Tests of the whole crate.
#![cfg(all(feature = "live", feature = "pci-names", feature = "tui"))]

mod damage;
mod removal;
