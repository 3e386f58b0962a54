//! The BPF programs of ivrs-trace, one small program a hook.
//!
//! They read kernel structs and send what they read; what it means is decided in user space. The
//! crate has code for the BPF target only: on the host it is an empty program, so that tools which
//! look at the whole workspace still work.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod bpf;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("this is a BPF object; build it with `cargo xtask build-ebpf`");
}
