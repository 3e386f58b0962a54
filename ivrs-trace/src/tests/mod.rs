//! Tests of the whole crate.

mod damage;
mod removal;
