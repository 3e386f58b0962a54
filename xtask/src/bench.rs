//! `cargo xtask bench`: measures what must stay fast. The figures are for people; no test rests on
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Subcommand;

use crate::vm::{Firmware, Guest};
use crate::{run, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How fast the dashboard draws and how much memory its events take; the default
    Dashboard,
    /// How long tracing takes to begin and to end in a guest, and its memory
    Tracing {
        /// Measure this static binary in turn with that of the present sources
        #[arg(long, value_name = "FILE")]
        before: Option<PathBuf>,
        /// The guest's kernel, as for `vm run`
        #[arg(long, value_name = "NAME", default_value = "debian-6.12")]
        kernel: String,
    },
}

pub(crate) fn command(args: &Args) -> Result<()> {
    match &args.what {
        None | Some(What::Dashboard) => dashboard(),
        Some(What::Tracing { before, kernel }) => tracing(before.as_deref(), kernel),
    }
}

fn dashboard() -> Result<()> {
    let root = workspace::root()?;
    let mut cargo = workspace::cargo(&root);
    // Without tracing, which needs a BPF object and is not measured here.
    cargo.args(["bench", "--locked", "--package", "ivrs-trace"]);
    cargo.args(["--no-default-features", "--features", "tui", "--bench", "dashboard"]);
    run::shown(&mut cargo)
}

/// A name for the binary that is measured beside the present one.
const BEFORE: &str = "before";

/// Measures one program. What it left to be removed by the kernel is waited for.
const ROUND: &str = "
measure $program-events INT $program events
sleep 4
measure $program-killed KILL $program events
sleep 4
measure $program-run none $program run -- sh -c 'echo; vfio-attach 00:03.0 > /dev/null'
sleep 4
measure $program-check none $program check
sleep 4
measure $program-probes none $program probes
sleep 4
";

/// Prints medians of rounds in one guest, which counts instructions. Its modules are loaded first, so that
/// every probe is attached; the first round fills caches and does not count.
fn tracing(before: Option<&Path>, kernel: &str) -> Result<()> {
    let programs = if before.is_some() { "before ivrs-trace" } else { "ivrs-trace" };
    let script = format!(
        "modprobe -a vfio_iommu_type1 vfio-pci
        round() {{ for program in {programs}; do {ROUND} done; }}
        round > /dev/null
        round; round; round"
    );
    let guest = Guest {
        kernel: kernel.to_owned(),
        firmware: "am5-desktop".parse::<Firmware>()?,
        icount: true,
        limit: Duration::from_mins(30),
        more_programs: before.map(|file| (BEFORE, file.to_owned())).into_iter().collect(),
        ..Guest::default()
    };
    let outcome = guest.run(&script)?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    let mut rows: BTreeMap<&str, Vec<[u64; 3]>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        rows.entry(name).or_default().push([number(), number(), number()]);
    }
    ensure!(!rows.is_empty(), "nothing was measured: {}", String::from_utf8_lossy(&outcome.stderr));
    println!("medians, ms (a million instructions each) and MiB\n");
    println!("{:18} {:>15} {:>12} {:>12}", "", "to first line", "to the end", "peak memory");
    for (name, rounds) in rows {
        let [first, end, peak] = [0, 1, 2].map(|at| median(&rounds, at));
        let peak = peak
            .filter(|peak| *peak > 0)
            .map_or_else(String::new, |kib| format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024));
        let ms = |us: Option<u64>| us.unwrap_or_default() / 1000;
        println!("{name:18} {:>15} {:>12} {peak:>12}", ms(first), ms(end));
    }
    Ok(())
}

fn median(rounds: &[[u64; 3]], at: usize) -> Option<u64> {
    let mut values: Vec<u64> = rounds.iter().filter_map(|round| round.get(at).copied()).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
