//! What is known of a host and of what happened on it, in the formats of other programs.
//!
//! It judges nothing and decides nothing: the model has. Texts from outside are printable in every
//! format; nothing is taken out of them, which is what reports do ([`crate::report::redact`]).

pub mod csv;
pub mod json;
pub mod perfetto;
pub mod prometheus;

#[cfg(test)]
mod tests;
