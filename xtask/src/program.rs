//! The program as its sources are, run on this machine: for what is made from its output, and for what
//! its output is held against.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{ebpf, run, workspace};

const NAME: &str = "ivrs-trace";
const MAN_PAGES: &str = "man-pages";

pub(crate) struct Program<'a> {
    root: &'a Path,
}

impl<'a> Program<'a> {
    /// Builds it with the features that tests have, so that nothing is built twice.
    pub(crate) fn new(root: &'a Path) -> Result<Self> {
        ebpf::ensure_object()?;
        let mut cargo = workspace::cargo(root);
        cargo.args(["build", "--locked", "--bin", NAME, "--example", MAN_PAGES]);
        run::quietly(&mut cargo, "building ivrs-trace")?;
        Ok(Self { root })
    }

    /// What a command line of it prints to standard output. It runs in the root of the workspace.
    pub(crate) fn says(&self, command: &str) -> Result<String> {
        let mut words = command.split(' ');
        if words.next() != Some(NAME) {
            bail!("{command} does not run {NAME}");
        }
        run::output(self.cargo(&["--bin", NAME]).args(words))
            .with_context(|| format!("{command} failed"))
    }

    pub(crate) fn man_pages(&self, folder: &Path) -> Result<()> {
        run::output(self.cargo(&["--example", MAN_PAGES]).arg(folder)).map(drop)
    }

    fn cargo(&self, target: &[&str]) -> Command {
        let mut cargo = workspace::cargo(self.root);
        cargo.args(["run", "--quiet", "--locked"]).args(target).arg("--");
        cargo
    }
}
