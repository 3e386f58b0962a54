//! Probes in the running kernel: the table of them, the kernel's BTF, attaching, the ring buffer.
//!
//! The only part that knows aya. It hands out the bytes of events and says how each probe stands;
//! what the events mean is [`crate::event`]'s and [`crate::model`]'s business.

mod attach;
pub mod btf;
mod error;
mod leave;
#[cfg(feature = "bpf-log")]
mod log;
mod object;
pub(crate) mod ring;
mod status;
mod sys;
pub(crate) mod table;
pub(crate) mod tracer;
