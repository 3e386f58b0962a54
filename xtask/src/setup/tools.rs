//! Programs that run here: the system's own, or those of Debian's packages where it has none that
//! will do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::items::{self, Item};
use crate::{files, run};

pub(crate) struct Tools {
    item: Item,
    programs: &'static [&'static str],
    /// The argument that has them print their version and do nothing else.
    version: &'static str,
}

/// `acpixtract` takes tables out of text, `iasl` decodes them.
pub(crate) const ACPICA: Tools =
    Tools { item: items::ACPICA, programs: &["acpixtract", "iasl"], version: "-v" };
pub(crate) const JQ: Tools = Tools { item: items::JQ, programs: &["jq"], version: "--version" };
/// `promtool` checks metrics for Prometheus.
pub(crate) const PROMTOOL: Tools =
    Tools { item: items::PROMETHEUS, programs: &["promtool"], version: "--version" };

#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    /// The folder that they were unpacked into; `None` for the system's own.
    pub(super) root: Option<PathBuf>,
}

impl Tools {
    pub(crate) fn get(&self) -> Result<Unpacked> {
        let works = |tools: &Unpacked| {
            let mut programs = self.programs.iter();
            programs
                .try_for_each(|name| run::output(tools.command(name).arg(self.version)).map(drop))
        };
        let system = Unpacked { root: None };
        if works(&system).is_ok() {
            return Ok(system);
        }
        let folder = self.item.unpacked(|apt, packages, dest| {
            apt.fetch_unpack(packages, dest)?;
            // The other programs of the package may be large.
            for path in files::list(&dest.join("usr/bin"))? {
                if !self.programs.iter().any(|program| path.ends_with(program)) {
                    files::remove(&path)?;
                }
            }
            works(&Unpacked::at(dest))
        })?;
        Ok(Unpacked::at(&folder))
    }
}

impl Unpacked {
    pub(super) fn at(root: &Path) -> Self {
        Self { root: Some(root.to_owned()) }
    }

    /// A command that runs one of the programs, with the libraries that were unpacked beside it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(root) = &self.root else { return Command::new(program) };
        let mut command = Command::new(root.join("usr/bin").join(program));
        command.envs(library_path(root).map(|path| ("LD_LIBRARY_PATH", path)));
        command
    }
}

/// The value of `LD_LIBRARY_PATH` for programs unpacked into `root`; `None` where no library was
/// unpacked with them.
pub(super) fn library_path(root: &Path) -> Option<String> {
    let dirs = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| root.join(dir));
    let dirs = dirs.iter().filter(|dir| dir.is_dir()).map(|dir| dir.display().to_string());
    let dirs = dirs.collect::<Vec<_>>().join(":");
    (!dirs.is_empty()).then_some(dirs)
}

pub(crate) fn busybox() -> Result<PathBuf> {
    let binary = |folder: &Path| {
        // The second path is where systems with a merged /usr have it.
        let paths = ["bin/busybox", "usr/bin/busybox"].map(|path| folder.join(path));
        let found = paths.into_iter().find(|path| path.is_file());
        found.with_context(|| format!("there is no bin/busybox in {}", folder.display()))
    };
    binary(&items::BUSYBOX.unpacked(|apt, packages, dest| {
        apt.fetch_unpack(packages, dest)?;
        binary(dest).map(drop)
    })?)
}
