//! The digest of everything in this repository that the BPF object is made from.
//!
//! One file for two users: `build.rs` of ivrs-trace compares digests to choose an object, and
//! `cargo xtask build-ebpf` writes them. The compiler is not part of it: whoever builds with
//! another one may, and `--check-prebuilt` finds the difference.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Error};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What is read whole, relative to the root of the workspace: files, and folders with all that
/// is below them.
pub(crate) const SOURCES: [&str; 4] = [
    "ivrs-trace-common/Cargo.toml",
    "ivrs-trace-common/src",
    "ivrs-trace-ebpf/Cargo.toml",
    "ivrs-trace-ebpf/src",
];
/// The sections of the root `Cargo.toml` that the object depends on: its version is in symbol
/// names, its profile decides the code.
const SECTIONS: [&str; 2] = ["[workspace.package]", "[profile.ebpf]"];
/// The packages whose locked versions the object depends on.
const LOCKED: [&str; 6] = [
    "aya-ebpf",
    "aya-ebpf-bindings",
    "aya-ebpf-cty",
    "aya-ebpf-macros",
    "zerocopy",
    "zerocopy-derive",
];

/// The digest of the sources in the workspace at `root`, as 64 hexadecimal digits; `None` where
/// the sources are not there, as in the published crate.
///
/// # Errors
///
/// When a source is there and cannot be read.
pub(crate) fn sources(root: &Path) -> io::Result<Option<String>> {
    let (manifest, lock) = (root.join("Cargo.toml"), root.join("Cargo.lock"));
    if !SOURCES.iter().all(|source| root.join(source).exists()) || !lock.exists() {
        return Ok(None);
    }
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for path in files {
        let name = path.strip_prefix(root).map_err(Error::other)?;
        add(&mut hasher, &name.to_string_lossy(), &fs::read(&path)?);
    }
    let manifest = fs::read_to_string(manifest)?;
    for section in SECTIONS {
        let text: Vec<&str> = manifest
            .lines()
            .skip_while(|line| line.trim() != section)
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .collect();
        add(&mut hasher, section, text.join("\n").as_bytes());
    }
    let lock = fs::read_to_string(lock)?;
    for package in LOCKED {
        let name = format!("name = \"{package}\"");
        let mut lines = lock.lines();
        // A package may be locked in more than one version.
        while lines.by_ref().any(|line| line == name) {
            add(&mut hasher, package, lines.next().unwrap_or_default().as_bytes());
        }
    }
    let mut text = String::new();
    for byte in hasher.finalize() {
        write!(text, "{byte:02x}").map_err(Error::other)?;
    }
    Ok(Some(text))
}

/// Adds a named piece, with its lengths, so that no two lists of pieces look the same.
fn add(hasher: &mut Sha256, name: &str, content: &[u8]) {
    hasher.update(format!("{} {name} {}\n", name.len(), content.len()));
    hasher.update(content);
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}
