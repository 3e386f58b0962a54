//! Words for what the model says: text for people, JSON for programs.
//!
//! It judges nothing and reads nothing. What comes from firmware, processes or devices was made
//! printable when it was decoded.

mod advice;
mod attempt;
pub mod calls;
mod cause;
mod check;
pub mod decode;
mod devices;
mod diff;
mod doctor;
pub(crate) mod document;
pub mod json;
pub mod letters;
pub mod probes;
pub mod redact;
pub mod stream;
mod what_if;
pub mod write;

#[cfg(test)]
mod hosts;
#[cfg(test)]
pub(crate) mod readers;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod valid;

pub use attempt::{attempt, attempts, failures, failures_line, one_line};
pub use cause::cause;
pub use check::check;
pub use diff::diff;
pub use doctor::doctor;
pub use document::Document;
pub use letters::{forum, kernel, vendor};
use serde::Serialize;
pub use what_if::what_if;
pub use write::Style;

pub(crate) use crate::fmt::{hex_bytes, size};

/// Facts that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lost {
    /// Events that found the ring buffer full.
    pub ring: u64,
    /// Reads of kernel memory that failed, and lists that were cut.
    pub read: u64,
    /// Events that could not be decoded or kept in user space.
    pub queue: u64,
}

impl Lost {
    /// Whether anything was lost.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}
