//! The guest's first root file system: what is in it, and its assembly from parts.
//!
//! The part that depends only on the kernel and on the recipe here is made once and kept in the
//! cache; what changes from run to run (our programs, the command, the firmware) follows it as a
//! small archive of its own. Nothing is compressed: the emulated processor would spend more time
//! on that than the host does on copying.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::modules::{self, Closure};
use super::{Table, Userland, libvirt};
use crate::setup::{self, INITRD, Kernel, digest};
use crate::{files, run};

const INIT: &str = include_str!("init.sh");
/// Drivers of the machine's devices, loaded when the guest starts, as on a real host, where the
/// kernel has them.
const DRIVERS: &[&str] = &["e1000e", "e1000", "8139cp", "virtio_net", "nvme", "xhci_pci"];
/// Modules that are there for whoever asks for them.
const ON_DEMAND: &[&str] = &["vfio", "vfio_iommu_type1", "vfio_pci"];

const PASSWD: &str = include_str!("passwd");
const GROUP: &str = include_str!("group");

pub(super) struct Overlay<'a> {
    /// Programs for `/usr/bin`: name and file on the host.
    pub(super) programs: Vec<(&'a str, PathBuf)>,
    pub(super) table: Option<&'a Table>,
    pub(super) userland: Userland,
    pub(super) script: &'a str,
    /// `stty` settings of the script's terminal, if it is to have one.
    pub(super) terminal: Option<&'a str>,
}

pub(super) fn write(path: &Path, kernel: &Kernel, overlay: &Overlay<'_>) -> Result<()> {
    let base = base(kernel)?;
    let mut out = BufWriter::new(files::create(path)?);
    // The kernel looks for tables in the first archive only.
    if let Some(table) = overlay.table {
        let mut archive = Archive::new(&mut out);
        archive.file("kernel/firmware/acpi/table.aml", 0o644, &table.bytes)?;
        archive.finish()?;
    }
    out.write_all(&files::read(base)?)?;
    overlay.write(Archive::new(&mut out))?;
    out.flush().with_context(|| format!("cannot write {}", path.display()))
}

impl Overlay<'_> {
    fn write<W: std::io::Write>(&self, mut archive: Archive<W>) -> Result<()> {
        if self.userland == Userland::Libvirt {
            libvirt::write(&mut archive)?;
        }
        for (name, file) in &self.programs {
            archive.file(&format!("usr/bin/{name}"), 0o755, &files::read(file)?)?;
        }
        if let Some(table) = self.table {
            archive.file(&format!("lab/{}", table.name), 0o644, &table.bytes)?;
        }
        archive.file("lab/command", 0o644, self.script.as_bytes())?;
        if let Some(settings) = self.terminal {
            archive.file("lab/terminal", 0o644, settings.as_bytes())?;
        }
        archive.finish()?;
        Ok(())
    }
}

/// The part that is the same for every run with this kernel, made if the cache does not have it.
fn base(kernel: &Kernel) -> Result<PathBuf> {
    let busybox = setup::busybox()?;
    let folder = INITRD.made(&recipe(kernel, &busybox)?, |folder| {
        make_base(&folder.join("base.cpio"), kernel, &busybox)
    })?;
    Ok(folder.join("base.cpio"))
}

fn drivers(kernel: &Kernel) -> &'static [&'static str] {
    if kernel.host_drivers { DRIVERS } else { &[] }
}

/// A name for everything that the base is made from.
fn recipe(kernel: &Kernel, busybox: &Path) -> Result<String> {
    let busybox = files::read(busybox)?;
    let modules = kernel.modules.to_string_lossy();
    let parts = [
        // Raised when the code below writes something else from the same parts.
        &b"recipe 1"[..],
        kernel.release.as_bytes(),
        kernel.version.as_bytes(),
        modules.as_bytes(),
        &busybox,
        INIT.as_bytes(),
        PASSWD.as_bytes(),
        GROUP.as_bytes(),
    ];
    let names = [drivers(kernel), ON_DEMAND].into_iter().flatten().map(|name| name.as_bytes());
    Ok(digest(8, parts.into_iter().chain(names)))
}

fn make_base(path: &Path, kernel: &Kernel, busybox: &Path) -> Result<()> {
    let drivers = drivers(kernel);
    let wanted: Vec<&str> = drivers.iter().chain(ON_DEMAND).copied().collect();
    let closure = Closure::read(&kernel.modules, &wanted)?;
    let applets = run::output(Command::new(busybox).arg("--list-full"))?;
    let mut archive = Archive::new(BufWriter::new(files::create(path)?));

    for folder in ["dev", "proc", "sys", "tmp", "run", "root", "var"] {
        archive.folder(folder, 0o755)?;
    }
    archive.file("bin/busybox", 0o755, &files::read(busybox)?)?;
    for applet in applets.lines().filter(|applet| *applet != "bin/busybox") {
        archive.link(applet, "/bin/busybox")?;
    }
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    archive.file("etc/group", 0o644, GROUP.as_bytes())?;
    archive.folder("home/user", 0o777)?;
    archive.file("lab/drivers", 0o644, drivers.join(" ").as_bytes())?;

    let folder = format!("lib/modules/{}", kernel.release);
    for module in &closure.modules {
        let path = format!("{folder}/{}", modules::file_name(&module.name));
        archive.file(&path, 0o644, &module.content)?;
    }
    archive.file(&format!("{folder}/modules.dep"), 0o644, closure.modules_dep().as_bytes())?;
    archive.file(&format!("{folder}/modules.alias"), 0o644, closure.modules_alias().as_bytes())?;
    archive.finish()?.flush().with_context(|| format!("cannot write {}", path.display()))
}
