//! `ivrs-trace check`: a verdict a device.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use rustix::thread::CapabilitySet;

use super::io::source;
use crate::{
    codes::Code,
    escape::printable,
    firmware::Fact,
    host::{Skipped, Snapshot},
    live::{self, Live, rights},
    model::{Finding, Model, Verdict, Verdicts},
    output,
    pci::Bdf,
    privilege::Caller,
    report::{self, json},
};

/// How many of the things that could not be placed are told one by one.
const TOLD: usize = 32;

/// What the long help and the man page say after the options.
const MORE: &str = "\
Exit status:
  0  all clear: the kernel would refuse none of the devices
  1  at least one device is blocked
  2  error
  3  no device is blocked, but one is unknown, or there is none to judge

Examples:
  sudo ivrs-trace check
      Every device of this host
  sudo ivrs-trace check 01:00.0 01:00.1
      Two devices
  ivrs-trace check --from trace.ivt --json
      A recorded host, as JSON";

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Judge another host: a recording, or a folder with copies of its /sys and /proc; - reads a
    /// recording from standard input
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// The devices to judge, such as 01:00.0; all by default
    #[arg(value_name = "BDF")]
    devices: Vec<Bdf>,
}

/// Judges this host or a copied one. With the privilege for it, this host's kernel is asked through
/// probes; else it is judged from files.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let (model, evidence) = match &args.from {
        Some(path) => source::host(path)?,
        None => (model()?, None),
    };
    let mut verdicts = model.verdicts();
    if let Some(evidence) = evidence {
        // Its words are about a kernel that runs here.
        verdicts.findings.retain(|finding| finding.code != Code::NoBtf);
        verdicts.findings.push(evidence);
    }
    verdicts.findings.extend(skipped(model.host()));
    for bdf in &args.devices {
        if model.function(*bdf).is_none() {
            bail!("there is no PCI function {bdf} on this host; `lspci -D` lists them");
        }
        if !verdicts.devices.iter().any(|device| device.bdf == *bdf) {
            bail!(
                "{bdf} is in no IOMMU group, so VFIO cannot take it at all: no IOMMU serves it, or \
                 it is an IOMMU itself"
            );
        }
    }
    if !args.devices.is_empty() {
        verdicts.devices.retain(|device| args.devices.contains(&device.bdf));
        let shown: Vec<u32> = verdicts.devices.iter().map(|device| device.group).collect();
        verdicts.groups.retain(|group| shown.contains(&group.id));
    }
    let code = exit_code(&verdicts);
    if args.json {
        output::print_json(&json::check(&model, verdicts))?;
    } else {
        output::print(&report::check(&model, &verdicts, output::style()))?;
    }
    Ok(code)
}

fn model() -> anyhow::Result<Model> {
    if live::can_show() {
        let runtime = live::runtime::runtime()?;
        let _inside = runtime.enter();
        match Live::start(|_, _| {}) {
            Ok(live) => {
                rights::give_up(CapabilitySet::empty(), Caller::of_sudo());
                for line in live.degradations() {
                    output::complain(&line);
                }
                let lost = live.lost()?;
                if lost.any() {
                    output::complain(&format!(
                        "{} events were lost while the kernel was asked; files are judged where \
                         its answer is missing",
                        lost.ring + lost.queue + lost.read
                    ));
                }
                return Ok(live.model);
            }
            Err(error) => output::complain(&format!("judging from files alone: {error:#}")),
        }
    }
    Ok(Model::new(Snapshot::read(Path::new("/")), live::require_direct()))
}

/// What the host shows and could not be placed; so nothing is lost in silence.
pub(super) fn skipped(host: &Snapshot) -> Option<Finding> {
    let first = host.skipped.first()?;
    let more = match host.skipped.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let message = printable(&format!("{}: {}{more}; not judged", first.path, first.why));
    let line = |one: &Skipped| Fact::Skipped { path: one.path.clone(), why: one.why.clone() };
    let evidence = host.skipped.iter().take(TOLD).map(line).collect();
    Some(Finding { evidence, ..Finding::new(Code::Skipped, message) })
}

fn exit_code(verdicts: &Verdicts) -> ExitCode {
    let any = |verdict| verdicts.devices.iter().any(|device| device.verdict == verdict);
    ExitCode::from(if any(Verdict::Blocked) {
        1
    } else if any(Verdict::Unknown) || verdicts.devices.is_empty() {
        3
    } else {
        0
    })
}
