//! Chooses the BPF object that is embedded, and packs the names of PCI devices; it compiles nothing.
//!
//! The object is, in this order: what `IVRS_TRACE_BPF_OBJECT` names; what `cargo xtask build-ebpf`
//! made from the sources as they are; the checked-in one, if it was made from them or if they
//! are not here (the published crate has no BPF sources).

#[path = "build/digest.rs"]
mod digest;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "ivrs-trace-bpf";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/digest.rs");
    println!("cargo::rerun-if-env-changed=IVRS_TRACE_BPF_OBJECT");
    #[cfg(feature = "pci-names")]
    fs::write(variable("OUT_DIR")?.join("pci.ids.zst"), pci_names())?;
    // Without tracing no object is embedded, and the tools that make the object build on that.
    if env::var_os("CARGO_FEATURE_LIVE").is_none() {
        return Ok(());
    }
    match choose()? {
        Ok(object) => {
            println!("cargo::rerun-if-changed={}", object.display());
            println!("cargo::rustc-env=IVRS_TRACE_BPF_OBJECT_PATH={}", object.display());
        }
        Err(message) => println!("cargo::error={message}"),
    }
    Ok(())
}

/// The names as `pci.ids` has them, without subsystems, packed.
#[cfg(feature = "pci-names")]
fn pci_names() -> Vec<u8> {
    use std::fmt::Write as _;

    let mut text = String::new();
    for vendor in pci_ids::Vendors::iter() {
        // Writing to memory does not fail.
        _ = writeln!(text, "{:04x}  {}", vendor.id(), vendor.name());
        for device in vendor.devices() {
            _ = writeln!(text, "\t{:04x}  {}", device.id(), device.name());
        }
    }
    for class in pci_ids::Classes::iter() {
        _ = writeln!(text, "C {:02x}  {}", class.id(), class.name());
        for subclass in class.subclasses() {
            _ = writeln!(text, "\t{:02x}  {}", subclass.id(), subclass.name());
        }
    }
    ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
}

/// The object to embed, or why there is none.
fn choose() -> io::Result<Result<PathBuf, String>> {
    if let Some(path) = env::var_os("IVRS_TRACE_BPF_OBJECT").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return Ok(if path.is_absolute() && path.is_file() {
            Ok(path)
        } else {
            Err(format!("IVRS_TRACE_BPF_OBJECT: {} is not the full path of a file", path.display()))
        });
    }
    let package = variable("CARGO_MANIFEST_DIR")?;
    let prebuilt = package.join("prebuilt");
    let root = package.parent().unwrap_or(&package);
    let Some(digest) = digest::sources(root)? else {
        return Ok(Ok(prebuilt.join(NAME).with_extension("o")));
    };
    for source in digest::SOURCES.iter().chain(&["Cargo.toml", "Cargo.lock"]) {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    // Cargo does not name the target folder, but OUT_DIR is below it, at a depth that depends on
    // how it was called.
    let out = variable("OUT_DIR")?;
    let fresh = out.ancestors().map(|dir| dir.join("ebpf"));
    for dir in fresh.chain([prebuilt]) {
        let recorded = dir.join(NAME).with_extension("sources");
        if made_from(&recorded, &digest) {
            println!("cargo::rerun-if-changed={}", recorded.display());
            return Ok(Ok(dir.join(NAME).with_extension("o")));
        }
    }
    Ok(Err("the BPF programs were changed since their object was made: run `cargo xtask \
            build-ebpf`"
        .to_owned()))
}

fn made_from(recorded: &Path, digest: &str) -> bool {
    fs::read_to_string(recorded).is_ok_and(|text| text.trim() == digest)
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other(format!("{name} is not set: build this with cargo")))
}
