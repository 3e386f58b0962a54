//! Kernels for the guest: Debian's, unpacked, and the lab's own ones ([`super::built`]).

use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, bail};

use super::apt::{self, Apt};
use super::built;
use super::items::{From, Image, KERNELS};
use super::kernel_files::{Kernel, dependencies};

/// Packages that hold what newer image packages only depend on (from 6.19 on, further split in
/// 7.2): prefixes before the kernel's release.
const PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];

/// The kernel of which VFIO takes no device under QEMU without [`Kernel::needs_unsafe_interrupts`].
///
/// 7.3 (6.18 does not yet) wants a southbridge at the IOAPIC's devid and switches interrupt
/// remapping off without one (`check_sb_ioapic`, `drivers/iommu/amd/init.c`). QEMU has none there.
const WITHOUT_REMAPPING: &str = "debian-newest";

/// The names of Debian's kernels that [`kernel`] knows.
pub(crate) fn kernels() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().filter(|item| matches!(item.from, From::Image(_))).map(|item| item.name)
}

/// The newest kernel of the archive under a name of [`KERNELS`]; one of the lab's own is built where
/// the cache does not have it, which takes minutes.
pub(crate) fn kernel(name: &str) -> Result<Kernel> {
    let Some(item) = KERNELS.iter().find(|item| item.name == name) else {
        let known: Vec<&str> = KERNELS.iter().map(|item| item.name).collect();
        bail!("there is no kernel {name}: the lab knows {}", known.join(", "));
    };
    let host_drivers = matches!(item.from, From::Image(_));
    let folder = if host_drivers {
        item.unpacked(|apt, packages, dest| {
            apt.fetch_unpack(packages, dest)?;
            // Newer packages take it for granted that /lib is /usr/lib, as depmod does.
            let lib = dest.join("lib");
            if !lib.exists() {
                symlink("usr/lib", &lib)
                    .with_context(|| format!("cannot make the link {}", lib.display()))?;
            }
            dependencies(apt, dest)
        })
    } else {
        built::folder(item)
    };
    let kernel = Kernel::of(&folder.with_context(|| format!("kernel {name}"))?)?;
    Ok(Kernel { needs_unsafe_interrupts: name == WITHOUT_REMAPPING, host_drivers, ..kernel })
}

impl Image {
    /// All packages of the newest kernel, and its version.
    pub(super) fn newest(&self, apt: &Apt<'_>) -> Result<(Vec<String>, String)> {
        let Self { suite, prefix, suffix } = self;
        let mut best: Option<(String, String)> = None;
        for package in apt.names(prefix)? {
            let middle = package.strip_prefix(prefix).and_then(|name| name.strip_suffix(suffix));
            // Without a version, it is a package that depends on the newest.
            let plain = middle.is_some_and(|middle| {
                middle.starts_with(|first: char| first.is_ascii_digit())
                    && !middle.ends_with("-cloud")
                    && !middle.ends_with("-rt")
            });
            if plain && let Some(version) = apt.candidate(&package)? {
                let better =
                    best.as_ref().map_or(Ok(true), |(_, old)| apt::newer(&version, old))?;
                if better {
                    best = Some((package, version));
                }
            }
        }
        let (package, version) = best.with_context(|| {
            let suite = suite.unwrap_or("the system's release, which may be another one");
            format!("the archive has no package {prefix}*{suffix} in {suite}")
        })?;
        let mut packages = vec![format!("{package}={version}")];
        if let Some(release) = package.strip_prefix("linux-image-") {
            for part in PARTS.map(|part| format!("{part}{release}")) {
                if apt.names(&part)?.contains(&part) {
                    packages.push(format!("{part}={version}"));
                }
            }
        }
        Ok((packages, version))
    }
}
