//! QEMU with an emulated AMD IOMMU: the system's where its version is fit, else Debian's.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::items;
use super::tools::Unpacked;
use crate::run;

const PROGRAM: &str = "qemu-system-x86_64";

#[derive(Debug, Clone)]
pub(crate) struct Qemu {
    programs: Unpacked,
    /// Like `7.2.22`.
    pub(crate) version: String,
}

impl Qemu {
    pub(crate) fn command(&self) -> Command {
        command(&self.programs)
    }

    pub(super) fn description(&self) -> String {
        format!("{} ({})", self.version, self.command().get_program().display())
    }

    /// Has the program print its version and its devices, so that a broken one is noticed here.
    fn of(programs: Unpacked) -> Result<Self> {
        let text = run::output(command(&programs).arg("--version"))?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "version");
        let version = words.nth(1).with_context(|| format!("no version of QEMU in {text:?}"))?;
        ensure!(
            fit(version),
            "QEMU {version} does not run the lab: 7.2, or 10.0.3 and later except 11.1, is needed on \
             PATH"
        );
        let devices = run::output(command(&programs).args(["-device", "help"]))?;
        ensure!(devices.contains("\"amd-iommu\""), "QEMU {version} has no device amd-iommu");
        Ok(Self { version: version.to_owned(), programs })
    }
}

pub(crate) fn qemu() -> Result<Qemu> {
    if let Ok(qemu) = Qemu::of(Unpacked { root: None }) {
        return Ok(qemu);
    }
    let folder = items::QEMU.unpacked(|apt, packages, dest| {
        apt.fetch_unpack(packages, dest)?;
        Qemu::of(Unpacked::at(dest)).map(drop)
    })?;
    Qemu::of(Unpacked::at(&folder))
}

/// Where it was unpacked, it does not find its firmware images and modules by itself.
fn command(programs: &Unpacked) -> Command {
    let mut command = programs.command(PROGRAM);
    if let Some(root) = &programs.root {
        command.env("QEMU_MODULE_DIR", root.join("usr/lib/x86_64-linux-gnu/qemu"));
        for dir in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(root.join(dir));
        }
    }
    command
}

/// Whether this version boots the lab's guest. 10.0.2 panics or hangs in its interrupt
/// remapping; 11.1 hangs in boot; the versions between 7.2 and 10.0 are untested.
fn fit(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    match (next(), next(), next()) {
        (7, 2, _) => true,
        (11, 1, _) => false,
        number => number >= (10, 0, 3),
    }
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
