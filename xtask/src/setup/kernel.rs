//! Kernels for the guest: Debian's, unpacked; the lab's own ones are [`super::built`]'s.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{self, Apt};
use super::built::{built, built_kernels};
use super::cache::{Cache, Locked};
use crate::run;

/// A kernel that the lab can boot.
#[derive(Debug)]
struct Source {
    name: &'static str,
    /// The suite of the archive that has it; `None` for the system's own sources.
    suite: Option<&'static str>,
    /// What comes before and after the version in the package's name.
    prefix: &'static str,
    suffix: &'static str,
    /// See [`Kernel::needs_unsafe_interrupts`].
    needs_unsafe_interrupts: bool,
}

const SOURCES: [Source; 4] = [
    Source {
        name: "debian-6.12",
        suite: None,
        prefix: "linux-image-6.12.",
        // In bookworm the signed package only depends on the one with the image.
        suffix: "-amd64-unsigned",
        needs_unsafe_interrupts: false,
    },
    Source {
        name: "debian-6.1",
        suite: None,
        prefix: "linux-image-6.1.",
        suffix: "-amd64-unsigned",
        needs_unsafe_interrupts: false,
    },
    Source {
        name: "debian-6.18",
        suite: Some("trixie-backports"),
        prefix: "linux-image-6.18.",
        suffix: "-amd64",
        needs_unsafe_interrupts: false,
    },
    Source {
        name: "debian-newest",
        suite: Some("trixie-backports"),
        prefix: "linux-image-",
        suffix: "-amd64",
        // 7.3 (6.18 does not yet) wants a southbridge at the IOAPIC's devid and switches interrupt
        // remapping off without one (check_sb_ioapic, drivers/iommu/amd/init.c). QEMU has none
        // there, and VFIO would take no device at all.
        needs_unsafe_interrupts: true,
    },
];

/// Packages that hold what newer image packages only depend on (from 6.19 on, further split in
/// 7.2): prefixes before the kernel's release.
const PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];

/// The names of Debian's kernels that [`kernel`] knows; it also knows
/// [`built_kernels`](super::built_kernels).
pub(crate) fn kernels() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// What `uname -r` says in it.
    pub(crate) release: String,
    /// The compressed kernel image.
    pub(crate) vmlinuz: PathBuf,
    /// Its `lib/modules/RELEASE` folder, with `modules.dep` in it.
    pub(crate) modules: PathBuf,
    /// The version of the package.
    pub(crate) version: String,
    /// Whether VFIO refuses devices on it under QEMU unless it is told to allow interrupts that are
    /// not remapped.
    pub(crate) needs_unsafe_interrupts: bool,
    /// Whether it has the drivers of the machine's devices, as modules.
    pub(crate) host_drivers: bool,
}

/// The newest kernel that the archive has under `name` (one of [`kernels`]), or the lab's own one
/// of that name, which is built if it is not there: that takes minutes. The archive is asked
/// once a day; where it cannot be reached, the kernel in the cache is used and that is said.
pub(crate) fn kernel(name: &str) -> Result<Kernel> {
    if let Some(kernel) = built(name) {
        return kernel;
    }
    let Some(source) = SOURCES.iter().find(|source| source.name == name) else {
        let known: Vec<&str> = kernels().chain(built_kernels()).collect();
        bail!("there is no kernel {name}: the lab knows {}", known.join(", "));
    };
    let cache = Cache::open()?;
    let label = format!("kernel-{name}");
    let fresh = || cache.current(&label).filter(|current| current.fresh);
    if let Some(current) = fresh() {
        return source.describe(&current.path);
    }
    let lock = cache.lock()?;
    if let Some(current) = fresh() {
        return source.describe(&current.path);
    }
    let folder = match newest(&lock, source) {
        Ok(folder) => folder,
        Err(error) => {
            let Some(current) = cache.current(&label) else { return Err(error) };
            eprintln!("    warning: using the {name} of an earlier day: {error:#}");
            current.path
        }
    };
    lock.set_current(&label, &folder)?;
    source.describe(&folder)
}

fn newest(lock: &Locked<'_>, source: &Source) -> Result<PathBuf> {
    let system = Apt::open(lock)?;
    let other;
    let apt = match source.suite {
        Some(suite) => {
            other = Apt::suite(lock, suite)?;
            &other
        }
        None => &system,
    };
    let Source { name, prefix, suffix, .. } = source;
    let mut best: Option<(String, String)> = None;
    for package in apt.names(prefix)? {
        let Some(middle) = package.strip_prefix(prefix).and_then(|s| s.strip_suffix(suffix)) else {
            continue;
        };
        // Without a version, it is a package that depends on the newest.
        let plain = middle.starts_with(|first: char| first.is_ascii_digit());
        if !plain || middle.ends_with("-cloud") || middle.ends_with("-rt") {
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
    let (package, version) = best.with_context(|| match source.suite {
        Some(suite) => format!("the archive has no package {prefix}*{suffix} in {suite}"),
        None => {
            format!("the archive has no package {prefix}*{suffix} (its release may be another one)")
        }
    })?;
    let mut packages = vec![format!("{package}={version}")];
    if let Some(release) = package.strip_prefix("linux-image-") {
        for part in PARTS.map(|part| format!("{part}{release}")) {
            if apt.names(&part)?.contains(&part) {
                packages.push(format!("{part}={version}"));
            }
        }
    }
    // `describe` reads the version back from the folder's name.
    lock.make(&format!("{name}{VERSION_MARK}{version}"), &format!("kernel {version}"), |dest| {
        apt.fetch_unpack(&packages, dest)?;
        // Newer packages take it for granted that /lib is /usr/lib, as depmod does.
        let lib = dest.join("lib");
        if !lib.exists() {
            std::os::unix::fs::symlink("usr/lib", &lib)
                .with_context(|| format!("cannot make the link {}", lib.display()))?;
        }
        let kernel = source.describe(dest)?;
        // Programs that run here come from the system's own release.
        dependencies(lock, &system, dest, &kernel.release)
    })
}

/// Separates the name from the package version in a kernel's folder name.
pub(super) const VERSION_MARK: &str = "_";

/// Writes `modules.dep` and its like, which the package's maintainer scripts would.
pub(super) fn dependencies(
    lock: &Locked<'_>,
    apt: &Apt<'_>,
    dest: &Path,
    release: &str,
) -> Result<()> {
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

impl Source {
    fn describe(&self, folder: &Path) -> Result<Kernel> {
        let needs_unsafe_interrupts = self.needs_unsafe_interrupts;
        Ok(Kernel { needs_unsafe_interrupts, ..describe(folder)? })
    }
}

/// What there is in the folder of a kernel.
pub(super) fn describe(folder: &Path) -> Result<Kernel> {
    let modules = folder.join("lib/modules");
    let release = fs::read_dir(&modules)
        .with_context(|| format!("cannot read {}", modules.display()))?
        .find_map(|entry| entry.ok()?.file_name().into_string().ok())
        .with_context(|| format!("{} is empty", modules.display()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let version = name.split_once(VERSION_MARK).map_or("", |(_, version)| version);
    let modules = modules.join(&release);
    // Newer packages keep everything of a kernel in its module folder.
    let file = |name: &str| {
        let places = [folder.join(format!("boot/{name}-{release}")), modules.join(name)];
        places
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| format!("the kernel package in {} has no {name}", folder.display()))
    };
    Ok(Kernel {
        vmlinuz: file("vmlinuz")?,
        version: version.to_owned(),
        needs_unsafe_interrupts: false,
        host_drivers: true,
        modules,
        release,
    })
}
