//! `cargo xtask test`: everything that must hold before a change goes in, the quick things first.
//!
//! It stops at the first step that fails. Cargo's own output is passed on as it is; set-up comes
//! before the tests in the lab, so that their result stands at the end.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::{docs, ebpf, exports, fuzz, setup, vm, workspace};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also run every cell of the lab matrix, which writes docs/matrix.md, and the stress test
    #[arg(long)]
    full: bool,
}

/// Where real machines' tables lie if somebody has put them beside the checkout. The tests that
/// read them say so when they are not there.
const TABLES: [(&str, &str); 2] =
    [("IVRS_TABLES_DIR", "../shared/ivrs-tables"), ("DMAR_TABLES_DIR", "../shared/dmar-tables")];

/// The kernels that the tests in the lab boot.
const KERNELS: [&str; 5] =
    ["debian-6.12", "debian-6.1", "debian-newest", "iommufd", "iommufd-relax"];

/// How long each fuzz target runs: long enough to see that it stands its seeds and what is near them.
const FUZZ_SECONDS: u32 = 5;

/// `cargo xtask test`.
pub(crate) fn command(args: &Args) -> Result<()> {
    let started = Instant::now();
    let root = workspace::root()?;
    step("formatting", || cargo(&root, "fmt --all --check"))?;
    step("clippy", || cargo(&root, "clippy --all-targets --locked -- -D warnings"))?;
    step("clippy without tracing", || {
        let pure =
            "clippy --package ivrs-trace --no-default-features --lib --locked -- -D warnings";
        cargo(&root, pure)
    })?;
    step("documentation made from the code", docs::check)?;
    step("unit and golden tests", || cargo(&root, "test --locked"))?;
    step("reports and exports, by programs that read them", exports::check)?;
    step("BPF object", ebpf::check_prebuilt)?;
    step("fuzz targets, briefly", || fuzz::all(FUZZ_SECONDS))?;
    step("set-up of the lab", || {
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
    step("tests in the lab", || cargo(&root, &format!("{lab} --test-threads=2 --skip {skipped}")))?;
    if args.full {
        // Each of them has two guests of its own, or a guest with two processors.
        step("the whole lab matrix", || {
            cargo(&root, &format!("{lab} --test-threads=1 --nocapture matrix::full"))
        })?;
    }
    println!("\nall steps passed in {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    println!("\n== {name}");
    work().with_context(|| format!("step \"{name}\" failed"))?;
    println!("== {name}: {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// Runs cargo with its output where ours goes.
fn cargo(root: &Path, arguments: &str) -> Result<()> {
    let mut cargo = workspace::cargo(root);
    cargo.args(arguments.split(' '));
    for (variable, folder) in TABLES {
        let tables = root.join(folder);
        if tables.is_dir() {
            cargo.env(variable, tables);
        }
    }
    let status = status(&mut cargo)?;
    ensure!(status.success(), "cargo {arguments}: {status}");
    Ok(())
}

pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot run {}", command.get_program().display()))
}
