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
mod page;
pub mod probes;
pub mod redact;
pub mod stream;
mod what_if;
pub mod write;

#[cfg(test)]
pub(crate) mod hosts;
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
pub use doctor::{doctor, remapping_finding, worded};
pub use document::Document;
pub use letters::{forum, kernel, vendor};
pub use what_if::what_if;
pub use write::Style;

pub(crate) use crate::fmt::{hex_bytes, size};
