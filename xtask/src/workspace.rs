//! Where this checkout and its build products are, and how the inner cargo is called.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The root of the workspace: the folder that holds the top `Cargo.toml`.
///
/// It is found at run time (a path compiled in would go stale when a checkout is moved): from the
/// manifest folder that cargo sets, else upwards from the current folder.
pub(crate) fn root() -> Result<PathBuf> {
    let start = match env::var_os("CARGO_MANIFEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => env::current_dir().context("cannot find the current folder")?,
    };
    for dir in start.ancestors() {
        if dir.join("ivrs-trace-ebpf").is_dir() && dir.join("Cargo.lock").is_file() {
            return Ok(dir.to_owned());
        }
    }
    bail!("{} is not inside a checkout of ivrs-trace: run this from one", start.display())
}

/// The folder that cargo builds into: `CARGO_TARGET_DIR`, else `target` in the workspace.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let root = root()?;
    Ok(match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root.join(dir),
        _ => root.join("target"),
    })
}

/// A command that runs cargo in `root`, free of what the outer cargo put into the environment
/// for its own compiler.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for name in [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    command
}
