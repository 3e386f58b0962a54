//! The project's own tools: set-up, the BPF object, the VM lab, the tests.
//!
//! A library, so that the tests of the VM lab call the same functions as the commands do.

pub mod bench;
pub mod build;
pub mod demo;
pub mod docs;
pub mod ebpf;
pub mod exports;
pub mod fuzz;
mod program;
pub mod run;
pub mod setup;
pub mod test;
pub mod vm;
pub mod workspace;
