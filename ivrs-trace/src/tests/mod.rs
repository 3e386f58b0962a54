//! Tests of the whole crate.

mod damage;
