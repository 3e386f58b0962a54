//! ivrs-trace names the firmware entry behind a refused VFIO passthrough.
//!
//! Facts come from the running kernel ([`probe`]) and from files of the host ([`host`]); [`model`]
//! makes attempts, causes and verdicts of them, and [`report`] puts those into words. [`recording`]
//! keeps the facts in a file. [`firmware`], [`event`], [`model`] and [`report`] touch no machine: no
//! I/O, no clock, no aya.
#![cfg_attr(
    not(feature = "live"),
    doc = "",
    doc = "This build has no `probe` and no `cli`: the feature `live` is off."
)]
#![cfg_attr(
    not(feature = "live"),
    allow(dead_code, unused_imports, reason = "the commands, which use the rest, are not built")
)]

#[cfg(feature = "live")]
pub mod cli;
pub mod codes;
mod command_line;
pub mod errno;
mod escape;
pub mod event;
pub mod export;
pub mod facts;
pub mod firmware;
mod fmt;
pub mod hex;
pub mod host;
#[cfg(feature = "live")]
mod live;
pub mod model;
mod object;
#[cfg(feature = "live")]
mod output;
pub mod pci;
#[cfg(feature = "live")]
mod privilege;
#[cfg(feature = "live")]
pub mod probe;
pub mod probe_state;
pub mod recording;
pub mod replay;
pub mod report;
#[cfg(feature = "schema")]
pub mod schema;
#[cfg(test)]
mod tests;
#[cfg(feature = "tui")]
pub mod tui;
mod width;
