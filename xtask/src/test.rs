//! `cargo xtask test`: everything that must hold before a change goes in, the quick things first.
//!
//! It stops at the first step that fails. Cargo's own output is passed on unchanged; set-up comes
//! before the tests in the lab, so that their result stands at the end, before a table of how long
//! each step took.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{docs, ebpf, exports, fuzz, run, setup, vm, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also run every cell of the lab matrix, which writes docs/matrix.md, and the stress test
    #[arg(long)]
    full: bool,
}

/// Folders beside the checkout with real machines' tables and what people brought, which not
/// everyone has. The tests that read them print that they are missing.
const BESIDE: [(&str, &str); 3] = [
    ("IVRS_TABLES_DIR", "../shared/ivrs-tables"),
    ("DMAR_TABLES_DIR", "../shared/dmar-tables"),
    ("FIELD_CASES_DIR", "../shared/field-cases"),
];

const KERNELS: [&str; 5] =
    ["debian-6.12", "debian-6.1", "debian-newest", "iommufd", "iommufd-relax"];

/// How long each fuzz target runs: long enough for its seeds and what is near them.
const FUZZ_SECONDS: u32 = 5;

pub(crate) fn command(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    let result = all(args, &mut steps);
    println!("\n{steps}");
    result
}

fn all(args: &Args, steps: &mut Steps) -> Result<()> {
    let root = workspace::root()?;
    steps.time("formatting", || cargo(&root, "fmt --all --check"))?;
    steps.time("clippy", || cargo(&root, "clippy --all-targets --locked -- -D warnings"))?;
    steps.time("clippy without tracing", || {
        let pure =
            "clippy --package ivrs-trace --no-default-features --lib --locked -- -D warnings";
        cargo(&root, pure)
    })?;
    steps.time("documentation made from the code", docs::check)?;
    steps.time("unit and golden tests", || cargo(&root, "test --locked"))?;
    steps.time("reports and exports, by programs that read them", exports::check)?;
    steps.time("BPF object", ebpf::check_prebuilt)?;
    steps.time("fuzz targets, briefly", || fuzz::all(FUZZ_SECONDS))?;
    steps.time("set-up of the lab", || {
        setup::qemu()?;
        for name in KERNELS {
            setup::kernel(name)?;
        }
        setup::busybox()?;
        setup::libvirt()?;
        vm::programs().map(drop)
    })?;
    let lab = "test --locked --package xtask --test lab -- --ignored";
    // All cells of the matrix include the brief ones.
    let skipped = if args.full { "matrix::" } else { "matrix::full" };
    steps.time("tests in the lab", || {
        cargo(&root, &format!("{lab} --test-threads=2 --skip {skipped}"))
    })?;
    if args.full {
        // Each of them has two guests of its own, or a guest with two processors.
        steps.time("the whole lab matrix", || {
            cargo(&root, &format!("{lab} --test-threads=1 --nocapture matrix::full"))
        })?;
    }
    Ok(())
}

/// What all steps but those of `--full` may take together on two idle processors with a warm cache.
const BUDGET: Duration = Duration::from_mins(25);

#[derive(Default)]
struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    fn time(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let started = Instant::now();
        let result = work().with_context(|| format!("step \"{name}\" failed"));
        let time = started.elapsed();
        println!("== {name}: {:.1} s", time.as_secs_f32());
        self.0.push((name, time));
        result
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.0.iter().map(|(_, time)| *time).sum();
        for (name, time) in self.0.iter().chain(&[("all steps", total)]) {
            let share = 100.0 * time.as_secs_f32() / BUDGET.as_secs_f32();
            writeln!(f, "{name:52} {:7.1} s {share:5.1} %", time.as_secs_f32())?;
        }
        write!(f, "of the budget, {} s", BUDGET.as_secs())
    }
}

fn cargo(root: &Path, arguments: &str) -> Result<()> {
    let mut cargo = workspace::cargo(root);
    cargo.args(arguments.split(' '));
    for (variable, folder) in BESIDE {
        let tables = root.join(folder);
        if tables.is_dir() {
            cargo.env(variable, tables);
        }
    }
    run::shown(&mut cargo).with_context(|| format!("cargo {arguments}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_step_and_what_they_take_of_the_budget() {
        let mut steps = Steps::default();
        steps.time("one", || Ok(())).unwrap();
        assert!(steps.time("two", || anyhow::bail!("no")).is_err());
        steps.0[0].1 = Duration::from_mins(5);
        steps.0[1].1 = Duration::from_secs(75);
        let table = steps.to_string();
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["one", "300.0", "s", "20.0", "%"]);
        assert_eq!(lines[1], ["two", "75.0", "s", "5.0", "%"]);
        assert_eq!(lines[2], ["all", "steps", "375.0", "s", "25.0", "%"]);
        assert_eq!(table.lines().last(), Some("of the budget, 1500 s"));
    }
}
