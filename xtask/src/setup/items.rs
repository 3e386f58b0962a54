//! Everything that the cache folder keeps, in one table: what an item is called, how it is got, what
//! it is keyed by, and where it lies. The private apt's lists are the only other thing there
//! ([`super::apt`]).
//!
//! A folder's name says all that it was made from, so a folder is never changed and never wrong.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::apt::Apt;
use super::cache::Cache;

/// A thing that the cache keeps.
#[derive(Debug)]
pub(crate) struct Item {
    /// What messages and the command line call it.
    pub(super) name: &'static str,
    pub(super) from: From,
    /// Its folder in the cache, with `{}` for its key.
    folder: &'static str,
    pub(super) found: Found,
}

/// How an item is got, and what its key is.
#[derive(Debug)]
pub(super) enum From {
    /// Unpacked from packages of Debian. Key: the versions of those in `keys`.
    Packages(Packages),
    /// Unpacked from the newest kernel package of Debian. Key: its version.
    Image(Image),
    /// Built from Debian's kernel source ([`super::built`]). Key: the source's version, and a digest of
    /// the configuration, the patch and the compiler.
    Source(Variant),
    /// Compiled by `cargo install`. Key: the version of the LLVM package that is linked in, if any.
    Crate { version: &'static str },
    /// Made by the lab from other items. Key: a digest of all that it is made from.
    Lab,
}

/// How the folder in use is found.
#[derive(Debug)]
pub(super) enum Found {
    /// By its key.
    ByKey,
    /// By this link in the cache's `current`, for good.
    Once(&'static str),
    /// By this link in the cache's `current`; after a day the archive is asked for a newer version.
    /// `{}` is what an item of another key has in common with this one.
    Daily(&'static str),
}

/// Packages of one suite.
#[derive(Debug)]
pub(super) struct Packages {
    /// `None` for the system's own sources.
    pub(super) suite: Option<&'static str>,
    keys: &'static [&'static str],
    also: &'static [&'static str],
    needs: Needs,
    /// The version to take where the archive has it.
    pinned: Option<&'static str>,
}

/// What of the packages' dependencies is unpacked with them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs {
    Nothing,
    /// What the system has not installed.
    Missing,
    All,
}

/// The kernel packages `PREFIX…SUFFIX` of a suite, of which the newest is taken.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) suite: Option<&'static str>,
    pub(super) prefix: &'static str,
    pub(super) suffix: &'static str,
}

/// A kernel made from Debian's source.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) patch: Option<&'static str>,
    /// What follows the configuration's own suffix of the release.
    pub(super) suffix: &'static str,
}

const PLAIN: Packages =
    Packages { suite: None, keys: &[], also: &[], needs: Needs::Nothing, pinned: None };

/// Compiles the BPF programs. Pinned: the checked-in object was made with it.
pub(super) const RUSTC: Item = Item {
    name: "rustc-web",
    from: From::Packages(Packages {
        keys: &["rustc-web"],
        also: &["libstd-rust-web-dev-bpf"],
        needs: Needs::Missing,
        pinned: Some("1.96.0+dfsg1-1~deb12u2"),
        ..PLAIN
    }),
    folder: "rustc-web-{}",
    found: Found::Daily("rustc-web"),
};
/// Links the BPF programs, with Debian's LLVM in it.
pub(super) const LINKER: Item = Item {
    name: "bpf-linker",
    from: From::Crate { version: "0.13.0" },
    folder: "bpf-linker-0.13.0-llvm-{}",
    found: Found::Daily("bpf-linker-llvm-{}"),
};
/// The last bpf-linker that uses the LLVM of the running Rust toolchain.
pub(super) const PROXY_LINKER: Item = Item {
    name: "bpf-linker",
    from: From::Crate { version: "0.10.4" },
    folder: "bpf-linker-0.10.4-rust-llvm",
    found: Found::ByKey,
};
pub(super) const QEMU: Item = Item {
    name: "QEMU",
    from: From::Packages(Packages { keys: &["qemu-system-x86"], needs: Needs::Missing, ..PLAIN }),
    folder: "qemu-system-x86-{}",
    found: Found::Once("qemu-system-x86"),
};
/// The shell and the small tools of the guest.
pub(super) const BUSYBOX: Item = Item {
    name: "busybox",
    from: From::Packages(Packages { keys: &["busybox-static"], ..PLAIN }),
    folder: "busybox-static-{}",
    found: Found::Once("busybox-static"),
};
/// libvirt and QEMU for the guest, from one release: every host's guest says the same.
pub(super) const LIBVIRT: Item = Item {
    name: "libvirt and QEMU for the guest,",
    from: From::Packages(Packages {
        suite: Some("bookworm"),
        keys: &["libvirt-daemon", "qemu-system-x86"],
        also: &["libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-data", "seabios"],
        needs: Needs::All,
        ..PLAIN
    }),
    // The number is raised when something else is taken from the same packages.
    folder: "libvirt-bookworm-1-{}",
    found: Found::Once("libvirt-bookworm-1"),
};
pub(super) const ACPICA: Item = Item {
    name: "acpica-tools",
    from: From::Packages(Packages { keys: &["acpica-tools"], ..PLAIN }),
    folder: "acpica-tools-{}",
    found: Found::Once("acpica-tools"),
};
pub(super) const JQ: Item = Item {
    name: "jq",
    from: From::Packages(Packages { keys: &["jq"], needs: Needs::Missing, ..PLAIN }),
    folder: "jq-{}",
    found: Found::Once("jq"),
};
pub(super) const PROMETHEUS: Item = Item {
    name: "prometheus",
    from: From::Packages(Packages { keys: &["prometheus"], ..PLAIN }),
    folder: "prometheus-{}",
    found: Found::Once("prometheus"),
};
/// The kernels that the lab boots. Those from source are built in this order in one tree, in which a
/// patch stays.
pub(super) static KERNELS: [Item; 6] = [
    Item {
        name: "debian-6.12",
        from: From::Image(Image {
            suite: None,
            prefix: "linux-image-6.12.",
            // In bookworm the signed package only depends on the one with the image.
            suffix: "-amd64-unsigned",
        }),
        folder: "debian-6.12_{}",
        found: Found::Daily("kernel-debian-6.12"),
    },
    Item {
        name: "debian-6.1",
        from: From::Image(Image {
            suite: None,
            prefix: "linux-image-6.1.",
            suffix: "-amd64-unsigned",
        }),
        folder: "debian-6.1_{}",
        found: Found::Daily("kernel-debian-6.1"),
    },
    Item {
        name: "debian-6.18",
        from: From::Image(Image {
            suite: Some("trixie-backports"),
            prefix: "linux-image-6.18.",
            suffix: "-amd64",
        }),
        folder: "debian-6.18_{}",
        found: Found::Daily("kernel-debian-6.18"),
    },
    Item {
        name: "debian-newest",
        from: From::Image(Image {
            suite: Some("trixie-backports"),
            prefix: "linux-image-",
            suffix: "-amd64",
        }),
        folder: "debian-newest_{}",
        found: Found::Daily("kernel-debian-newest"),
    },
    Item {
        name: "iommufd",
        from: From::Source(Variant { patch: None, suffix: "" }),
        folder: "iommufd_{}",
        found: Found::Daily("kernel-iommufd-{}"),
    },
    Item {
        name: "iommufd-relax",
        from: From::Source(Variant {
            patch: Some(include_str!("../../kernel/relax-unity.patch")),
            suffix: "-relax",
        }),
        folder: "iommufd-relax_{}",
        found: Found::Daily("kernel-iommufd-relax-{}"),
    },
];
/// The IVRS or DMAR that QEMU makes for the lab's machine.
pub(crate) const MACHINE_TABLE: Item = Item {
    name: "the machine's own IOMMU table",
    from: From::Lab,
    folder: "machine-table-{}",
    found: Found::ByKey,
};
/// What is the same in every guest with one kernel.
pub(crate) const INITRD: Item = Item {
    name: "the guest's root file system",
    from: From::Lab,
    folder: "initrd-{}",
    found: Found::ByKey,
};

impl Item {
    /// Its folder's name for `key`.
    pub(super) fn folder(&self, key: &str) -> String {
        self.folder.replace("{}", key)
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

    /// The folder of its pinned version, if the cache has it.
    pub(super) fn pinned(&self) -> Result<Option<PathBuf>> {
        let From::Packages(Packages { pinned: Some(version), .. }) = self.from else {
            return Ok(None);
        };
        Ok(Cache::open()?.get(&self.folder(version)))
    }

    /// Its folder, which `fill` fills from packages (`name=version`) where the cache has none, or none
    /// of today.
    pub(super) fn unpacked(
        &self,
        fill: impl FnOnce(&Apt<'_>, &[String], &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(folder) = self.pinned()? {
            return Ok(folder);
        }
        Cache::open()?.kept(self, "", |lock| {
            let suite = match &self.from {
                From::Packages(Packages { suite, .. }) | From::Image(Image { suite, .. }) => *suite,
                _ => None,
            };
            let apt = Apt::open(lock, suite)?;
            let (packages, version) = match &self.from {
                From::Packages(packages) => packages.newest(&apt)?,
                From::Image(image) => image.newest(&apt)?,
                _ => (Vec::new(), String::new()),
            };
            let what = format!("{} {version}", self.name);
            lock.make(&self.folder(&version), &what, |dest| fill(&apt, &packages, dest))
        })
    }
}

impl Packages {
    /// All packages to unpack, and the key.
    fn newest(&self, apt: &Apt<'_>) -> Result<(Vec<String>, String)> {
        let mut named = Vec::new();
        let mut versions = Vec::new();
        for name in self.keys.iter().chain(self.also) {
            let version = apt.pinned_or_newest(name, self.pinned)?;
            named.push(format!("{name}={version}"));
            versions.push(version);
        }
        versions.truncate(self.keys.len());
        let packages = match self.needs {
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
            &PROXY_LINKER,
            &QEMU,
            &BUSYBOX,
            &LIBVIRT,
            &ACPICA,
            &JQ,
            &PROMETHEUS,
            &MACHINE_TABLE,
            &INITRD,
        ];
        for item in KERNELS.iter().chain(others) {
            let folder = format!("`{}`", item.folder("KEY"));
            assert_eq!(page.matches(&folder).count(), 1, "{folder}");
        }
    }
}
