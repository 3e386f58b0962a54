//! `cargo xtask bench`: measures what must stay fast. The figures are for people; no test rests on
//! them.

use anyhow::Result;

use crate::{run, workspace};

pub(crate) fn command() -> Result<()> {
    let root = workspace::root()?;
    let mut cargo = workspace::cargo(&root);
    // Without tracing, which needs a BPF object and is not measured here.
    cargo.args(["bench", "--locked", "--package", "ivrs-trace"]);
    cargo.args(["--no-default-features", "--features", "tui", "--bench", "dashboard"]);
    run::shown(&mut cargo)
}
