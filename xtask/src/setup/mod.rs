//! Everything that is not built here and not in a package of the crate registry: the compiler
//! and linker of the BPF programs, QEMU, kernels, busybox.
//!
//! All of it lives in one cache folder of the user ([`cache::Cache`]); nothing is installed into
//! the system and nothing needs root. Each function returns at once when what it names is in the
//! cache and gets it otherwise, so that a command simply asks for what it needs.
//! What runs in the guest is not made here, but for its own kernels, and those only when asked for
//! by name: they take minutes. libvirt for the guest is got when first asked for, too.

pub(crate) mod apt;
mod built;
mod busybox;
pub(crate) mod cache;
mod kernel;
mod libvirt;
mod qemu;
mod toolchain;
mod tools;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

pub(crate) use busybox::busybox;
pub(crate) use kernel::{Kernel, kernel, kernels};
pub(crate) use libvirt::libvirt;
pub(crate) use qemu::{Qemu, qemu};

pub(crate) use toolchain::{TARGET as BPF_TARGET, Toolchain, compiler, toolchain};
pub(crate) use tools::{ACPICA, JQ, PROMTOOL, Unpacked};

/// `cargo xtask setup`: gets all of it but the kernels that are built, and says what there is, one
/// line each.
pub(crate) fn command() -> Result<()> {
    println!("cache      {}", cache::Cache::open()?.root().display());
    let started = Instant::now();
    let toolchain = toolchain()?;
    line("toolchain", &toolchain.description(), started);

    let started = Instant::now();
    let qemu = qemu()?;
    line("qemu", &format!("{} ({})", qemu.version, qemu.binary.display()), started);

    for name in kernels() {
        let started = Instant::now();
        let kernel = kernel(name)?;
        line(
            "kernel",
            &format!("{name}: {} (package {})", kernel.release, kernel.version),
            started,
        );
    }

    let started = Instant::now();
    let busybox = busybox()?;
    line("busybox", &busybox.display().to_string(), started);
    Ok(())
}

/// The value of `LD_LIBRARY_PATH` for programs unpacked into `root`; `None` where no library was
/// unpacked with them.
fn library_path(root: &Path) -> Option<String> {
    let dirs: Vec<String> = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .iter()
        .map(|dir| root.join(dir))
        .filter(|dir| dir.is_dir())
        .map(|dir| dir.display().to_string())
        .collect();
    (!dirs.is_empty()).then(|| dirs.join(":"))
}

fn line(what: &str, text: &str, started: Instant) {
    println!("{what:10} {text}  [{:.1} s]", started.elapsed().as_secs_f32());
}
