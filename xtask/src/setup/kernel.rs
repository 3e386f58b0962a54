//! Kernels for the guest: Debian's, unpacked, and the lab's own ones ([`super::built`]).

use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, bail};

use super::built;
use super::items::{KERNELS, Origin};
use super::kernel_files::{Kernel, dependencies};

/// The kernel on which VFIO attaches no device under QEMU without [`Kernel::needs_unsafe_interrupts`].
///
/// 7.3 (6.18 does not yet) wants a southbridge at the IOAPIC's devid and switches interrupt
/// remapping off without one (`check_sb_ioapic`, `drivers/iommu/amd/init.c`). QEMU has none there.
const WITHOUT_REMAPPING: &str = "debian-newest";

pub(crate) fn kernels() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().filter(|item| matches!(item.from, Origin::Image { .. })).map(|item| item.name)
}

/// The newest kernel of the archive under a name of [`KERNELS`]; one of the lab's own is built where
/// the cache does not have it, which takes minutes.
pub(crate) fn kernel(name: &str) -> Result<Kernel> {
    let Some(item) = KERNELS.iter().find(|item| item.name == name) else {
        let known: Vec<&str> = KERNELS.iter().map(|item| item.name).collect();
        bail!("there is no kernel {name}: the lab knows {}", known.join(", "));
    };
    let host_drivers = matches!(item.from, Origin::Image { .. });
    let folder = if host_drivers {
        item.unpacked(|apt, packages, dest| {
            apt.fetch_unpack(packages, dest)?;
            // Newer packages expect that /lib is /usr/lib, as depmod does.
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
