//! Reports that are sent to somebody: kernel developers, vendors, forums.

mod forum;
pub mod input;
mod kernel;
mod sections;
mod vendor;

pub use forum::forum;
pub use kernel::kernel;
#[cfg(feature = "live")]
pub(crate) use sections::acpidump;
pub use vendor::vendor;
