//! libvirt and QEMU for the lab's guest: of Debian's packages the programs that a domain is
//! started with, and what these need to run.
//!
//! The packages are unpacked and most of them left out: which libraries are needed, the programs
//! themselves say. What configures them, and the domains, is the guest's business
//! ([`crate::vm`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use object::elf::{DT_NEEDED, FileHeader64};
use object::{Endianness, read::elf::ElfFile};

use super::items::LIBVIRT;
use crate::files;

/// What is started, the drivers that the first loads by name, and the loader of their libraries.
const PROGRAMS: [&str; 6] = [
    "usr/sbin/libvirtd",
    "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
    "usr/bin/virsh",
    "usr/bin/qemu-system-x86_64",
    "usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so",
    "lib64/ld-linux-x86-64.so.2",
];
/// Files and folders that they read.
const DATA: [&str; 3] =
    ["usr/share/libvirt/cpu_map", "usr/share/qemu/kvmvapic.bin", "usr/share/seabios/bios-256k.bin"];
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// The folder with the files, laid out as in the guest.
pub(crate) fn libvirt() -> Result<PathBuf> {
    LIBVIRT.unpacked(|apt, packages, dest| {
        let scratch = apt.lock().scratch()?;
        apt.fetch_unpack(packages, scratch.path())?;
        pick(scratch.path(), dest)
    })
}

/// Copies what the guest needs from the unpacked packages in `from` into `to`.
fn pick(from: &Path, to: &Path) -> Result<()> {
    let mut seen: BTreeSet<String> = PROGRAMS.map(str::to_owned).into();
    let mut queue: Vec<String> = seen.iter().cloned().collect();
    while let Some(path) = queue.pop() {
        copy(from, to, &path)?;
        let content = files::read(from.join(&path))?;
        for library in libraries(&content).with_context(|| format!("cannot read {path}"))? {
            let found = LIBRARIES.iter().map(|folder| format!("{folder}/{library}"));
            let found = found.into_iter().find(|path| from.join(path).is_file());
            let found = found.with_context(|| {
                format!("{path} needs {library}, which none of the packages has")
            })?;
            if seen.insert(found.clone()) {
                queue.push(found);
            }
        }
    }
    DATA.iter().try_for_each(|path| copy(from, to, path))
}

/// The names of the libraries that a program or library is to be loaded with.
fn libraries(content: &[u8]) -> Result<Vec<String>> {
    let file = ElfFile::<FileHeader64<Endianness>>::parse(content)?;
    let table = file.elf_dynamic_table()?;
    table
        .iter()
        .filter(|entry| entry.tag == DT_NEEDED)
        .map(|entry| Ok(String::from_utf8(table.string(entry)?.to_vec())?))
        .collect()
}

/// Copies a file, or a folder with all that is in it. A link becomes what it leads to.
fn copy(from: &Path, to: &Path, path: &str) -> Result<()> {
    let (source, dest) = (from.join(path), to.join(path));
    if source.is_dir() {
        for entry in files::list(&source)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            copy(from, to, &format!("{path}/{name}"))?;
        }
        return Ok(());
    }
    dest.parent().map_or(Ok(()), files::make_folder)?;
    let copied = fs::copy(&source, &dest);
    copied.map(drop).with_context(|| format!("cannot copy {path} of the packages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_its_libraries() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let libraries = libraries(&own).unwrap();
        assert!(libraries.iter().any(|library| library == "libc.so.6"), "{libraries:?}");
        assert!(super::libraries(b"no program").is_err());
    }

    #[test]
    fn a_library_that_no_package_has_is_named() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = from.path().join(PROGRAMS[0]);
        for path in PROGRAMS {
            let path = from.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(std::env::current_exe().unwrap(), path).unwrap();
        }
        assert!(program.is_file());
        let error = pick(from.path(), to.path()).unwrap_err();
        assert!(format!("{error:#}").contains("which none of the packages has"), "{error:#}");
    }
}
