//! Static binaries for the guest of the VM lab, which has no shared libraries.

use std::path::PathBuf;

use anyhow::Result;

use crate::{ebpf, run, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The profile of the root `Cargo.toml` that is optimised but quick to build.
const PROFILE: &str = "lab";

/// Builds the binary `bin` of `package` (with its default features) as one static file and
/// returns its path. Cargo decides whether there is anything to do.
///
/// `ivrs-trace` gets the BPF object of the present sources, which is built first where the checked-in
/// one is not theirs.
pub(crate) fn static_binary(package: &str, bin: &str) -> Result<PathBuf> {
    if package == "ivrs-trace" {
        ebpf::ensure_object()?;
    }
    let root = workspace::root()?;
    // A folder of its own: plain builds have other flags and would be thrown away each time.
    let target_dir = workspace::target_dir()?.join("guest");
    run::quietly(
        workspace::cargo(&root)
            .args(["build", "--locked", "--package", package, "--bin", bin])
            .args(["--profile", PROFILE, "--target", TARGET, "--target-dir"])
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static"),
        &format!("building a static {bin}"),
    )?;
    Ok(target_dir.join(TARGET).join(PROFILE).join(bin))
}
