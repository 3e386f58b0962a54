//! Everything that is not built here and not in a package of the crate registry: the compiler
//! and linker of the BPF programs, QEMU, kernels, busybox.
//!
//! All of it lives in one cache folder of the user ([`cache::Cache`]); nothing is installed into
//! the system and nothing needs root. Each function returns at once when what it names is in the
//! cache and gets it otherwise, so that a command simply asks for what it needs.
//! What runs in the guest is not made here, but for its own kernels, and those only when asked for
//! by name: they take minutes. libvirt for the guest is got when first asked for, too.

mod apt;
mod built;
mod cache;
mod items;
mod kernel;
mod kernel_files;
mod libvirt;
mod qemu;
mod toolchain;
mod tools;

use std::time::Instant;

use anyhow::Result;

pub(crate) use items::{INITRD, MACHINE_TABLE, digest};
pub(crate) use kernel::{kernel, kernels};
pub(crate) use kernel_files::Kernel;
pub(crate) use libvirt::libvirt;
pub(crate) use qemu::{Qemu, qemu};
pub(crate) use toolchain::{TARGET as BPF_TARGET, Toolchain, compiler, toolchain};
pub(crate) use tools::{ACPICA, JQ, PROMTOOL, Unpacked, busybox};

/// `cargo xtask setup`: gets all of it but libvirt, the kernels that are built and what runs in the
/// guest, and prints a line for each.
pub(crate) fn command() -> Result<()> {
    println!("cache      {}", cache::Cache::open()?.root().display());
    line("toolchain", || Ok(toolchain()?.description()))?;
    line("qemu", || qemu().map(|qemu| qemu.description()))?;
    for name in kernels() {
        line("kernel", || {
            let Kernel { release, version, .. } = kernel(name)?;
            Ok(format!("{name}: {release} (package {version})"))
        })?;
    }
    line("busybox", || Ok(busybox()?.display().to_string()))
}

fn line(what: &str, get: impl FnOnce() -> Result<String>) -> Result<()> {
    let started = Instant::now();
    println!("{what:10} {}  [{:.1} s]", get()?, started.elapsed().as_secs_f32());
    Ok(())
}
