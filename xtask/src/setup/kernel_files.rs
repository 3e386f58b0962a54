//! What there is in the folder of a kernel, and what must be added to it.

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::apt::Apt;
use super::tools::Unpacked;
use crate::{files, run};

#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// What `uname -r` says in it.
    pub(crate) release: String,
    pub(crate) vmlinuz: PathBuf,
    /// Its `lib/modules/RELEASE` folder, with `modules.dep` in it.
    pub(crate) modules: PathBuf,
    pub(crate) version: String,
    /// Whether VFIO refuses devices on it under QEMU unless it may use interrupts that are not
    /// remapped.
    pub(crate) needs_unsafe_interrupts: bool,
    /// Whether it has the drivers of the machine's devices, as modules.
    pub(crate) host_drivers: bool,
}

impl Kernel {
    /// The kernel in `folder`, whose name ends with `_` and its version.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let modules = files::list(&folder.join("lib/modules"))?.into_iter().next();
        let modules = modules.with_context(|| format!("{} has no modules", folder.display()))?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        // Newer packages keep everything of a kernel in its module folder.
        let vmlinuz = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")]
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| format!("the kernel in {} has no vmlinuz", folder.display()))?;
        Ok(Self {
            version: name.split_once('_').map_or("", |(_, version)| version).to_owned(),
            needs_unsafe_interrupts: false,
            host_drivers: true,
            vmlinuz,
            modules,
            release,
        })
    }
}

/// Writes `modules.dep` and its like, which the package's maintainer scripts would.
pub(super) fn dependencies(apt: &Apt<'_>, dest: &Path) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH lacks the folders of the administrator's programs.
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let scratch = apt.lock().scratch()?;
    let mut depmod;
    if let Some(found) = dirs.map(|dir| dir.join("depmod")).find(|path| path.is_file()) {
        depmod = Command::new(found);
    } else {
        // Programs that run here come from the system's own release.
        let apt = Apt::open(apt.lock(), None)?;
        apt.fetch_unpack(&apt.closure(&["kmod"])?, scratch.path())?;
        // kmod is one program that acts by the name it is called by.
        let link = scratch.path().join("usr/bin/depmod");
        files::make_folder(scratch.path().join("usr/bin"))?;
        let kmod = ["bin/kmod", "usr/bin/kmod"].map(|name| scratch.path().join(name));
        let kmod = kmod.iter().find(|path| path.is_file());
        symlink(kmod.context("the package kmod has no bin/kmod")?, link)?;
        depmod = Unpacked::at(scratch.path()).command("depmod");
    }
    let release = Kernel::of(dest)?.release;
    run::quietly(depmod.arg("-b").arg(dest).arg(release), "listing module dependencies")
}
