//! Words for what the model says: text for people, JSON for programs.
//!
//! It judges nothing and reads nothing. What comes from firmware, processes or devices was made
//! printable when it was decoded.

mod attempt;
pub mod calls;
mod check;
pub mod decode;
mod diff;
mod doctor;
pub mod json;
pub mod letters;
mod page;
pub mod probes;
pub mod redact;
pub mod stream;
mod what_if;

#[cfg(test)]
mod hosts;
#[cfg(test)]
pub(crate) mod readers;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod valid;

pub use attempt::{attempt, attempts, cause, failures, failures_line, one_line};
pub use check::check;
pub use diff::diff;
pub use doctor::doctor;
pub use letters::{forum, kernel, vendor};
pub use page::Style;
pub use what_if::what_if;

pub(crate) use crate::fmt::{hex_bytes, size};
