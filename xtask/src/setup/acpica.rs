//! ACPI's own tools, against which exported tables are held: Debian's acpica-tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt::Apt;
use super::cache::Cache;

const PACKAGE: &str = "acpica-tools";

/// The programs, by path; or by name, where the system has them.
#[derive(Clone, Debug)]
pub struct Acpica {
    /// Takes tables out of text.
    pub acpixtract: PathBuf,
    /// Decodes tables.
    pub iasl: PathBuf,
}

/// The system's programs, or those of the package, which is fetched where it is not in the cache.
///
/// # Errors
///
/// When the system does not have them and the package cannot be had.
pub fn acpica() -> Result<Acpica> {
    let here =
        |program| Command::new(program).arg("-v").output().is_ok_and(|out| out.status.success());
    if here("acpixtract") && here("iasl") {
        return Ok(Acpica { acpixtract: "acpixtract".into(), iasl: "iasl".into() });
    }
    let cache = Cache::open()?;
    // Any version does, so one that is there is never looked at again.
    if let Some(current) = cache.current(PACKAGE) {
        return programs(&current.path);
    }
    let lock = cache.lock()?;
    let apt = Apt::open(&lock)?;
    let version =
        apt.candidate(PACKAGE)?.with_context(|| format!("the archive has no {PACKAGE}"))?;
    let key = format!("{PACKAGE}-{version}");
    let folder = lock.make(&key, &format!("{PACKAGE} {version}"), |dest| {
        apt.fetch_unpack(&[format!("{PACKAGE}={version}")], dest)?;
        programs(dest).map(drop)
    })?;
    lock.set_current(PACKAGE, &folder)?;
    programs(&folder)
}

fn programs(folder: &Path) -> Result<Acpica> {
    let bin = folder.join("usr/bin");
    let found = Acpica { acpixtract: bin.join("acpixtract"), iasl: bin.join("iasl") };
    ensure!(
        found.acpixtract.is_file() && found.iasl.is_file(),
        "there is no acpixtract or iasl in {}",
        bin.display()
    );
    Ok(found)
}
