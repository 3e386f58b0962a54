//! Tests of the whole crate.
#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the failed assertion")]

mod damage;
mod removal;
