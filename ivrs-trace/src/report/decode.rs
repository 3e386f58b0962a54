//! A decoded table: the JSON document of `decode`, and the text for people.
//!
//! It judges nothing: what the kernel makes of the table and what is worth telling comes from
//! `firmware`. What comes from firmware leaves here printable.

mod amd_json;
mod amd_text;
mod intel;
mod log;
mod page;
#[cfg(test)]
mod tests;

pub use amd_json::{
    Decode, EntryDocument, FindingDocument, FlagsDocument, IvInfoDocument, IvhdDocument,
    IvmdDocument, KernelDocument, RegionDocument, SettingsDocument, Table, UidDocument,
    UnknownDocument, decode,
};
pub use amd_text::{Detail, block, codes, devices, entry, explanation, named_flags, summary, text};
pub use intel::{
    DecodeDmar, DmarTable, DrhdDocument, RmrrDocument, ScopeDocument, StructureDocument,
    decode_dmar, dmar_text,
};
pub use log::{DecodeLog, LoggedIvmd, LoggedRegion, decode_log, log_text};
