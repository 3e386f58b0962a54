//! QEMU with an emulated AMD IOMMU: the system's where its version is fit, else Debian's
//! package and the libraries that the system lacks, unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::cache::Cache;
use crate::run;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// A QEMU that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Qemu {
    /// The program.
    pub(crate) binary: PathBuf,
    /// What its environment must hold besides ours.
    pub(crate) env: Vec<(String, String)>,
    /// Arguments that come before all others: where its firmware images are.
    pub(crate) args: Vec<String>,
    /// Its version, like `7.2.22`.
    pub(crate) version: String,
}

impl Qemu {
    /// A command that starts it, with [`Qemu::env`] and [`Qemu::args`] set.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.envs(self.env.iter().map(|(name, value)| (name, value))).args(&self.args);
        command
    }

    /// Asks the program for its version and its devices, so that a broken one is noticed here.
    fn probe(mut self) -> Result<Self> {
        let text = run::output(self.command().arg("--version"))?;
        let version = text
            .split_whitespace()
            .skip_while(|word| *word != "version")
            .nth(1)
            .with_context(|| format!("cannot read QEMU's version from {text:?}"))?;
        version.clone_into(&mut self.version);
        let devices = run::output(self.command().args(["-device", "help"]))?;
        if !devices.contains("\"amd-iommu\"") {
            bail!("{} {} has no device amd-iommu", self.binary.display(), self.version);
        }
        Ok(self)
    }
}

/// A QEMU that is fit for the lab.
pub(crate) fn qemu() -> Result<Qemu> {
    let installed =
        Qemu { binary: PROGRAM.into(), env: Vec::new(), args: Vec::new(), version: String::new() };
    if let Ok(qemu) = installed.probe()
        && fit(&qemu.version)
    {
        return Ok(qemu);
    }
    let cache = Cache::open()?;
    // A version that was found fit stays in use.
    if let Some(current) = cache.current(PACKAGE) {
        return unpacked(&current.path).probe();
    }
    let lock = cache.lock()?;
    if let Some(current) = cache.current(PACKAGE) {
        return unpacked(&current.path).probe();
    }
    let apt = Apt::open(&lock)?;
    let version =
        apt.candidate(PACKAGE)?.with_context(|| format!("the archive has no {PACKAGE}"))?;
    let folder =
        lock.make(&format!("{PACKAGE}-{version}"), &format!("QEMU {version}"), |dest| {
            apt.fetch_unpack(&apt.closure(&[&format!("{PACKAGE}={version}")])?, dest)?;
            let qemu = unpacked(dest).probe()?;
            if !fit(&qemu.version) {
                bail!("QEMU {} of the archive does not run the lab: {FIT}", qemu.version);
            }
            Ok(())
        })?;
    lock.set_current(PACKAGE, &folder)?;
    unpacked(&folder).probe()
}

const FIT: &str = "7.2, or 10.0.3 and later except 11.1, is needed on PATH";

/// Whether this version boots the lab's guest. 10.0.2 panics or hangs in its interrupt
/// remapping; 11.1 hangs in boot; the versions between 7.2 and 10.0 were not tried.
fn fit(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let number: (u32, u32, u32) =
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match number {
        (7, 2, _) => true,
        (11, 1, _) => false,
        number => number >= (10, 0, 3),
    }
}

fn unpacked(root: &Path) -> Qemu {
    let mut args = Vec::new();
    for dir in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
        args.extend(["-L".to_owned(), root.join(dir).display().to_string()]);
    }
    let modules = root.join("usr/lib/x86_64-linux-gnu/qemu");
    let mut env = vec![("QEMU_MODULE_DIR".to_owned(), modules.display().to_string())];
    env.extend(super::library_path(root).map(|path| ("LD_LIBRARY_PATH".to_owned(), path)));
    Qemu { binary: root.join("usr/bin").join(PROGRAM), env, args, version: String::new() }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn versions_known_to_fail_are_refused() {
        for version in ["7.2.22", "10.0.3", "10.0.13", "10.1.0", "11.0.4", "11.2.0"] {
            assert!(fit(version), "{version}");
        }
        for version in ["5.2.0", "7.1.0", "8.2.2", "10.0.2", "11.1.3", "", "x.y"] {
            assert!(!fit(version), "{version}");
        }
    }
}
