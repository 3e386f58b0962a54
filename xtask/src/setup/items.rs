//! Everything that the cache folder keeps, in one table: what an item is called, how it is got and what
//! it is keyed by. Where it lies follows from that: in the folder `NAME-KEY` (a kernel: `NAME_KEY`), to
//! which `current/NAME` (`current/kernel-NAME`) leads where the key is not known beforehand.
//!
//! A folder's name says all that it was made from, so a folder is never changed and never wrong. The
//! private apt's lists are the only other thing there ([`super::apt`]).

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sha2::{Digest as _, Sha256};

use super::apt::Apt;
use super::cache::Cache;

pub(crate) struct Item {
    pub(super) name: &'static str,
    pub(super) from: Origin,
}

/// How an item is got, and what its key is.
pub(super) enum Origin {
    /// Unpacked from packages of Debian. Key: the versions of those in `keys`. A pinned one is taken
    /// where the archive has it, and asked for daily where not; any version of the others does.
    Packages {
        /// `None` for the system's own sources.
        suite: Option<&'static str>,
        keys: &'static [&'static str],
        also: &'static [&'static str],
        needs: Needs,
        pinned: Option<&'static str>,
    },
    /// Unpacked from the newest package `PREFIX…SUFFIX` of a suite, asked for daily. Key: its version.
    Image { suite: Option<&'static str>, prefix: &'static str, suffix: &'static str },
    /// Built from Debian's kernel source ([`super::built`]), asked for daily. Key: the source's version,
    /// and a digest of the configuration, the patch and the compiler. `suffix` is what follows the
    /// configuration's own suffix of the release.
    Source { patch: Option<&'static str>, suffix: &'static str },
    /// Compiled by `cargo install`. Key: the version of the LLVM package that is linked in, if any, which
    /// is asked for daily where it is not the pinned one.
    Crate { version: &'static str },
    /// Made by the lab. Key: a digest of all that it is made from.
    Lab,
}

/// What of the packages' dependencies is unpacked with them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs {
    Nothing,
    /// What the system has not installed.
    Missing,
    All,
}

/// Compiles the BPF programs. Pinned: the checked-in object was made with it.
pub(super) const RUSTC: Item = Item {
    name: "rustc-web",
    from: Origin::Packages {
        suite: None,
        keys: &["rustc-web"],
        also: &["libstd-rust-web-dev-bpf"],
        needs: Needs::Missing,
        pinned: Some("1.96.0+dfsg1-1~deb12u2"),
    },
};
/// Links the BPF programs, with Debian's LLVM in it.
pub(super) const LINKER: Item =
    Item { name: "bpf-linker-0.13.0-llvm", from: Origin::Crate { version: "0.13.0" } };
/// The version of the LLVM package that the pinned linker is made with.
pub(super) const PINNED_LLVM: &str = "1:22.1.8-1~deb12u1";
pub(super) const PINNED_LLVM_MAJOR: u32 = 22;
/// The last bpf-linker that uses the LLVM of the running Rust toolchain.
pub(super) const PROXY_LINKER: Item =
    Item { name: "bpf-linker-0.10.4-rust-llvm", from: Origin::Crate { version: "0.10.4" } };
/// The newest LLVM that it knows.
pub(super) const PROXY_LLVM_MAJOR: u32 = 22;
pub(super) const QEMU: Item = package("qemu-system-x86", &["qemu-system-x86"], Needs::Missing);
pub(super) const BUSYBOX: Item = package("busybox-static", &["busybox-static"], Needs::Nothing);
pub(super) const ACPICA: Item = package("acpica-tools", &["acpica-tools"], Needs::Nothing);
pub(super) const JQ: Item = package("jq", &["jq"], Needs::Missing);
pub(super) const PROMETHEUS: Item = package("prometheus", &["prometheus"], Needs::Nothing);
/// libvirt and QEMU for the guest, from one release: every host's guest says the same. The number is
/// raised when something else is taken from the same packages.
pub(super) const LIBVIRT: Item = Item {
    name: "libvirt-bookworm-1",
    from: Origin::Packages {
        suite: Some("bookworm"),
        keys: &["libvirt-daemon", "qemu-system-x86"],
        also: &["libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-data", "seabios"],
        needs: Needs::All,
        pinned: None,
    },
};
/// The kernels that the lab boots. Those from source are built in this order in one tree, in which a
/// patch stays.
pub(super) static KERNELS: [Item; 6] = [
    // In bookworm the signed package only depends on the one with the image.
    image("debian-6.12", None, "linux-image-6.12.", "-amd64-unsigned"),
    image("debian-6.1", None, "linux-image-6.1.", "-amd64-unsigned"),
    image("debian-6.18", Some("trixie-backports"), "linux-image-6.18.", "-amd64"),
    image("debian-newest", Some("trixie-backports"), "linux-image-", "-amd64"),
    Item { name: "iommufd", from: Origin::Source { patch: None, suffix: "" } },
    Item {
        name: "iommufd-relax",
        from: Origin::Source {
            patch: Some(include_str!("../../kernel/relax-unity.patch")),
            suffix: "-relax",
        },
    },
];
/// The IVRS or DMAR that QEMU makes for the lab's machine.
pub(crate) const MACHINE_TABLE: Item = Item { name: "machine-table", from: Origin::Lab };
/// What is the same in every guest with one kernel.
pub(crate) const INITRD: Item = Item { name: "initrd", from: Origin::Lab };

const fn package(name: &'static str, keys: &'static [&'static str], needs: Needs) -> Item {
    Item { name, from: Origin::Packages { suite: None, keys, also: &[], needs, pinned: None } }
}

const fn image(
    name: &'static str,
    suite: Option<&'static str>,
    prefix: &'static str,
    suffix: &'static str,
) -> Item {
    Item { name, from: Origin::Image { suite, prefix, suffix } }
}

impl Item {
    fn is_kernel(&self) -> bool {
        matches!(self.from, Origin::Image { .. } | Origin::Source { .. })
    }

    pub(super) fn folder(&self, key: &str) -> String {
        let mark = if self.is_kernel() { "_" } else { "-" };
        format!("{}{}{key}", self.name, if key.is_empty() { "" } else { mark })
    }

    /// The name of the link to the folder in use. `part` is what of the key is known, if anything is.
    pub(super) fn link(&self, part: &str) -> String {
        let kernel = if self.is_kernel() { "kernel-" } else { "" };
        format!("{kernel}{}{}{part}", self.name, if part.is_empty() { "" } else { "-" })
    }

    /// Whether the folder in use is good for a day only, not for ever.
    pub(super) fn is_daily(&self) -> bool {
        !matches!(self.from, Origin::Packages { pinned: None, .. })
    }

    /// Its folder, which `make` fills where the cache has none for `key`.
    pub(crate) fn made(
        &self,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let (cache, folder) = (Cache::open()?, self.folder(key));
        match cache.get(&folder) {
            Some(folder) => Ok(folder),
            None => cache.lock()?.make(&folder, self.name, make),
        }
    }

    pub(super) fn pinned(&self) -> Result<Option<PathBuf>> {
        let Origin::Packages { pinned: Some(version), .. } = self.from else { return Ok(None) };
        Ok(Cache::open()?.get(&self.folder(version)))
    }

    /// Its folder, which `fill` fills from packages (`name=version`) where the cache has none that is
    /// good.
    pub(super) fn unpacked(
        &self,
        fill: impl FnOnce(&Apt<'_>, &[String], &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(folder) = self.pinned()? {
            return Ok(folder);
        }
        Cache::open()?.kept(self, "", |lock| {
            let suite = match self.from {
                Origin::Packages { suite, .. } | Origin::Image { suite, .. } => suite,
                _ => None,
            };
            let apt = Apt::open(lock, suite)?;
            let (packages, version) = self.newest(&apt)?;
            let what = format!("{} {version}", self.name);
            lock.make(&self.folder(&version), &what, |dest| fill(&apt, &packages, dest))
        })
    }

    fn newest(&self, apt: &Apt<'_>) -> Result<(Vec<String>, String)> {
        let (keys, also, needs, pinned) = match self.from {
            Origin::Packages { keys, also, needs, pinned, .. } => (keys, also, needs, pinned),
            Origin::Image { prefix, suffix, .. } => return apt.newest_kernel(prefix, suffix),
            _ => bail!("{} is not in packages", self.name),
        };
        let (mut named, mut versions) = (Vec::new(), Vec::new());
        for name in keys.iter().chain(also) {
            let version = apt.pinned_or_newest(name, pinned)?;
            named.push(format!("{name}={version}"));
            versions.push(version);
        }
        versions.truncate(keys.len());
        let packages = match needs {
            Needs::Nothing => named,
            Needs::Missing => apt.closure(&named)?,
            Needs::All => apt.whole_closure(&named)?,
        };
        Ok((packages, versions.join("-")))
    }
}

/// The first `bytes` of a digest of `parts`, their order and borders included, in hexadecimal.
pub(crate) fn digest<'a>(bytes: usize, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(bytes).fold(String::new(), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_what_people_have_in_their_cache_stay_valid() {
        assert_eq!(digest(6, [&b"1"[..], b"two"]), "83c1835386f7");
    }

    #[test]
    fn the_page_of_the_lab_lists_every_item_with_its_folder() {
        let page = include_str!("../../../docs/vm-lab.md");
        let others = [
            &RUSTC,
            &LINKER,
            &QEMU,
            &BUSYBOX,
            &LIBVIRT,
            &ACPICA,
            &JQ,
            &PROMETHEUS,
            &MACHINE_TABLE,
            &INITRD,
        ];
        let keyed = KERNELS.iter().chain(others).map(|item| item.folder("KEY"));
        for folder in keyed.chain([PROXY_LINKER.folder("")]) {
            let folder = format!("`{folder}`");
            assert_eq!(page.matches(&folder).count(), 1, "{folder}");
        }
    }
}
