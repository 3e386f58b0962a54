//! `cargo xtask bench`: measures what must stay fast. The figures are for people; no test rests on
//! them.

use anyhow::{Result, ensure};

use crate::{test::status, workspace};

/// Runs the benchmark of the dashboard.
pub(crate) fn command() -> Result<()> {
    let root = workspace::root()?;
    let mut cargo = workspace::cargo(&root);
    // Without tracing, which needs a BPF object and is not measured here.
    cargo.args(["bench", "--locked", "--package", "ivrs-trace"]);
    cargo.args(["--no-default-features", "--features", "tui", "--bench", "dashboard"]);
    let status = status(&mut cargo)?;
    ensure!(status.success(), "the benchmark failed: {status}");
    Ok(())
}
