//! AMD's table: the IVRS, and what Linux makes of it.

pub mod builder;
pub mod device_entry;
pub mod findings;
pub mod ivrs;
pub mod kernel;
mod served;
