//! Programs of others against which reports and exports are held, from Debian's packages where the
//! system does not have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt::Apt;
use super::cache::Cache;
use super::library_path;

/// Programs of one package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools {
    package: &'static str,
    programs: &'static [&'static str],
    /// Whether the programs need what the package depends on.
    depend: bool,
    /// The argument with which they tell their version and do nothing else.
    version: &'static str,
}

/// ACPI's own: `acpixtract` takes tables out of text, `iasl` decodes them.
pub(crate) const ACPICA: Tools = Tools {
    package: "acpica-tools",
    programs: &["acpixtract", "iasl"],
    depend: false,
    version: "-v",
};
/// `jq`, which reads JSON.
pub(crate) const JQ: Tools =
    Tools { package: "jq", programs: &["jq"], depend: true, version: "--version" };
/// `promtool`, which reads what Prometheus is given.
pub(crate) const PROMTOOL: Tools =
    Tools { package: "prometheus", programs: &["promtool"], depend: false, version: "--version" };

/// Programs that are there.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    /// Where; the system's own if there is none.
    root: Option<PathBuf>,
}

impl Tools {
    /// The system's programs, or those of the package, which is fetched where it is not in the cache.
    pub(crate) fn get(&self) -> Result<Unpacked> {
        let here = |program| {
            let told = Command::new(program).arg(self.version).output();
            told.is_ok_and(|out| out.status.success())
        };
        if self.programs.iter().all(here) {
            return Ok(Unpacked { root: None });
        }
        let cache = Cache::open()?;
        // Any version does, so one that is there is never looked at again.
        if let Some(current) = cache.current(self.package) {
            return self.unpacked(&current.path);
        }
        let lock = cache.lock()?;
        if let Some(current) = cache.current(self.package) {
            return self.unpacked(&current.path);
        }
        let apt = Apt::open(&lock)?;
        let version = apt
            .candidate(self.package)?
            .with_context(|| format!("the archive has no {}", self.package))?;
        let key = format!("{}-{version}", self.package);
        let folder = lock.make(&key, &format!("{} {version}", self.package), |dest| {
            let named = format!("{}={version}", self.package);
            let needed = if self.depend { apt.closure(&[&named])? } else { vec![named] };
            apt.fetch_unpack(&needed, dest)?;
            self.keep_only_ours(dest)?;
            self.unpacked(dest).map(drop)
        })?;
        lock.set_current(self.package, &folder)?;
        self.unpacked(&folder)
    }

    /// Removes the other programs of the package, which may be large.
    fn keep_only_ours(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder.join("usr/bin"))? {
            let path = entry?.path();
            if !self.programs.iter().any(|program| path.ends_with(program)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn unpacked(&self, folder: &Path) -> Result<Unpacked> {
        for program in self.programs {
            let path = folder.join("usr/bin").join(program);
            ensure!(path.is_file(), "{} is not there", path.display());
        }
        Ok(Unpacked { root: Some(folder.to_owned()) })
    }
}

impl Unpacked {
    /// A command that runs one of the programs.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(root) = &self.root else { return Command::new(program) };
        let mut command = Command::new(root.join("usr/bin").join(program));
        if let Some(libraries) = library_path(root) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}
