//! Intel's table: the DMAR.

pub mod builder;
pub mod dmar;
pub mod findings;
