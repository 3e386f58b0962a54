//! Where commands read from and write to.

pub(crate) mod facts;
pub(crate) mod save;
pub(crate) mod source;
#[cfg(feature = "tui")]
pub(crate) mod terminal;
