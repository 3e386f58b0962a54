//! The shell and the small tools of the guest: Debian's static busybox.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::cache::Cache;

const PACKAGE: &str = "busybox-static";
const BINARY: &str = "bin/busybox";

/// The path of a statically linked busybox.
pub(crate) fn busybox() -> Result<PathBuf> {
    let cache = Cache::open()?;
    // Any version does, so one that is there is never looked at again.
    if let Some(current) = cache.current(PACKAGE) {
        return binary(&current.path);
    }
    let lock = cache.lock()?;
    if let Some(current) = cache.current(PACKAGE) {
        return binary(&current.path);
    }
    let apt = Apt::open(&lock)?;
    let version =
        apt.candidate(PACKAGE)?.with_context(|| format!("the archive has no {PACKAGE}"))?;
    let key = format!("{PACKAGE}-{version}");
    let folder = lock.make(&key, &format!("busybox {version}"), |dest| {
        apt.fetch_unpack(&[format!("{PACKAGE}={version}")], dest)?;
        binary(dest).map(drop)
    })?;
    lock.set_current(PACKAGE, &folder)?;
    binary(&folder)
}

fn binary(folder: &Path) -> Result<PathBuf> {
    // The second path is where systems with a merged /usr have it.
    for path in [folder.join(BINARY), folder.join("usr").join(BINARY)] {
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("there is no {BINARY} in {}", folder.display())
}
