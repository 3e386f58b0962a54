//! A decoded table: the JSON document of `decode`, and the text for people.
//!
//! It judges nothing: what the kernel makes of the table and what is worth telling comes from
//! `firmware`. What comes from firmware leaves here printable.

mod amd_json;
mod amd_text;
mod fragment;
mod intel;
mod layout;
mod log;
#[cfg(test)]
mod tests;

pub use amd_json::{Decode, decode};
pub use amd_text::{Detail, block, devices, entry, named_flags, summary, text};
pub use fragment::{
    DecodeFragment, dmar_fragment, dmar_fragment_text, ivrs_fragment, ivrs_fragment_text,
};
pub use intel::{DecodeDmar, decode_dmar, dmar_text};
#[cfg(feature = "tui")]
pub(crate) use intel::{dmar_structure, dmar_summary};
pub use layout::{codes, explanation};
pub use log::{DecodeLog, decode_log, log_text};
