//! Kernels for the guest: Debian's, unpacked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{self, Apt};
use super::cache::{Cache, Locked};
use crate::run;

/// The names that [`kernel`] knows.
pub const KERNELS: [&str; 2] = ["debian-6.12", "debian-6.1"];

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What `uname -r` says in it.
    pub release: String,
    /// The compressed kernel image.
    pub vmlinuz: PathBuf,
    /// Its `lib/modules/RELEASE` folder, with `modules.dep` in it.
    pub modules: PathBuf,
    /// Its build configuration.
    pub config: PathBuf,
    /// The version of the package.
    pub version: String,
}

/// The prefix and suffix around the version in the package names of the kernel called `name`.
/// The unsigned packages have the image itself; the others only depend on it.
fn package_pattern(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "debian-6.12" => Some(("linux-image-6.12.", "-amd64-unsigned")),
        "debian-6.1" => Some(("linux-image-6.1.", "-amd64-unsigned")),
        _ => None,
    }
}

/// The newest kernel that the archive has under `name` (one of [`KERNELS`]). The archive is asked
/// once a day; where it cannot be reached, the kernel in the cache is used and that is said.
///
/// # Errors
///
/// For an unknown name, and when there is no such kernel in the cache and none can be had.
pub fn kernel(name: &str) -> Result<Kernel> {
    let Some(pattern) = package_pattern(name) else {
        bail!("there is no kernel {name}: the lab knows {}", KERNELS.join(", "));
    };
    let cache = Cache::open()?;
    let label = format!("kernel-{name}");
    let fresh = || cache.current(&label).filter(|current| current.fresh);
    if let Some(current) = fresh() {
        return describe(&current.path);
    }
    let lock = cache.lock()?;
    if let Some(current) = fresh() {
        return describe(&current.path);
    }
    let folder = match newest(&lock, name, pattern) {
        Ok(folder) => folder,
        Err(error) => {
            let Some(current) = cache.current(&label) else { return Err(error) };
            eprintln!("    warning: using the {name} of an earlier day: {error:#}");
            current.path
        }
    };
    lock.set_current(&label, &folder)?;
    describe(&folder)
}

fn newest(lock: &Locked<'_>, name: &str, (prefix, suffix): (&str, &str)) -> Result<PathBuf> {
    let apt = Apt::open(lock)?;
    let mut best: Option<(String, String)> = None;
    for package in apt.names(prefix)? {
        let Some(middle) = package.strip_prefix(prefix).and_then(|s| s.strip_suffix(suffix)) else {
            continue;
        };
        if middle.ends_with("-cloud") || middle.ends_with("-rt") {
            continue;
        }
        let Some(version) = apt.candidate(&package)? else { continue };
        let better = match &best {
            Some((_, than)) => apt::newer(&version, than)?,
            None => true,
        };
        if better {
            best = Some((package, version));
        }
    }
    let (package, version) = best.with_context(|| {
        format!("the archive has no package {prefix}*{suffix} (its release may be another one)")
    })?;
    // `describe` reads the version back from the folder's name.
    lock.make(&format!("{name}{VERSION_MARK}{version}"), &format!("kernel {version}"), |dest| {
        apt.fetch_unpack(&[format!("{package}={version}")], dest)?;
        let kernel = describe(dest)?;
        dependencies(lock, &apt, dest, &kernel.release)
    })
}

/// Separates the name from the package version in a kernel's folder name.
const VERSION_MARK: &str = "_";

/// Writes `modules.dep` and its like, which the package's maintainer scripts would.
fn dependencies(lock: &Locked<'_>, apt: &Apt<'_>, dest: &Path, release: &str) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH lacks the folders of the administrator's programs.
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let tools = lock.scratch()?;
    let mut depmod;
    if let Some(found) = dirs.map(|dir| dir.join("depmod")).find(|path| path.is_file()) {
        depmod = Command::new(found);
    } else {
        apt.fetch_unpack(&apt.closure(&["kmod"])?, tools.path())?;
        // kmod is one program that acts by the name it is called by.
        let link = tools.path().join("depmod");
        let kmod = ["bin/kmod", "usr/bin/kmod"]
            .iter()
            .map(|name| tools.path().join(name))
            .find(|path| path.is_file())
            .context("the package kmod has no bin/kmod")?;
        std::os::unix::fs::symlink(kmod, &link)?;
        depmod = Command::new(link);
        depmod.envs(super::library_path(tools.path()).map(|path| ("LD_LIBRARY_PATH", path)));
    }
    run::quietly(depmod.arg("-b").arg(dest).arg(release), "listing module dependencies")
}

fn describe(folder: &Path) -> Result<Kernel> {
    let modules = folder.join("lib/modules");
    let release = fs::read_dir(&modules)
        .with_context(|| format!("cannot read {}", modules.display()))?
        .find_map(|entry| entry.ok()?.file_name().into_string().ok())
        .with_context(|| format!("{} is empty", modules.display()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let version = name.split_once(VERSION_MARK).map_or("", |(_, version)| version);
    let kernel = Kernel {
        vmlinuz: folder.join(format!("boot/vmlinuz-{release}")),
        config: folder.join(format!("boot/config-{release}")),
        modules: modules.join(&release),
        version: version.to_owned(),
        release,
    };
    for path in [&kernel.vmlinuz, &kernel.config] {
        if !path.is_file() {
            bail!("the kernel package has no {}", path.display());
        }
    }
    Ok(kernel)
}
