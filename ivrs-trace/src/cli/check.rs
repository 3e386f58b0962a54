//! `ivrs-trace check`: a verdict a device.

use std::{path::PathBuf, process::ExitCode};

use rustix::thread::CapabilitySet;

use super::io::{
    facts::{self, Ask, Facts},
    source,
};
use crate::{
    host::PciFunction,
    live::rights,
    model::{DeviceVerdict, Model, Verdict, Verdicts},
    output,
    pci::Bdf,
    privilege::Caller,
    report::{self, json, letters::input::Origin},
};

const MORE: &str = "\
Exit status:
  0  all clear: the kernel would refuse none of the devices
  1  at least one device is blocked
  2  error, such as a device that does not exist; the others are still judged
  3  no device is blocked, but one is unknown, or there is none to judge
  4  no device is blocked, but no IOMMU serves one that could be passed through, or one that
     was named

Examples:
  sudo ivrs-trace check
      Every device of this host
  sudo ivrs-trace check 01:00.0 01:00.1
      Two devices
  ivrs-trace check --from trace.ivt --json
      A recorded host, as JSON";

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
    let Facts { model, mut verdicts, origin, lost, .. } =
        facts::gather(args.from.as_deref(), Ask::Regions, |_, _, _| {})?;
    match &args.from {
        None => {
            rights::give_up(CapabilitySet::empty(), Caller::of_sudo());
            if lost.any() {
                output::complain(&format!(
                    "{} events were lost while the kernel was asked; files are judged where its \
                     answer is missing",
                    lost.ring + lost.queue + lost.read
                ));
            }
        }
        Some(path) if matches!(origin, Origin::Recording { .. }) => {
            source::tell_attempts(path, &model);
        }
        Some(_) => {}
    }
    let present = source::present(&model, &args.devices);
    if present.is_empty() && !args.devices.is_empty() {
        return Ok(ExitCode::from(2));
    }
    if !args.devices.is_empty() {
        verdicts.devices.retain(|device| present.contains(&device.bdf));
        let shown: Vec<u32> = verdicts.devices.iter().filter_map(|one| one.group).collect();
        verdicts.groups.retain(|group| shown.contains(&group.id));
    }
    let code = if present.len() < args.devices.len() {
        2
    } else {
        status(&model, &verdicts, !args.devices.is_empty())
    };
    if args.json {
        output::print_json(&json::check(&model, verdicts))?;
    } else {
        output::print(report::check(&model, &verdicts, output::style()))?;
    }
    Ok(ExitCode::from(code))
}

/// Bridges and the platform's own are nothing to pass through, unless they are asked for.
fn status(model: &Model, verdicts: &Verdicts, asked: bool) -> u8 {
    let any = |verdict| verdicts.devices.iter().any(|device| device.verdict == verdict);
    let endpoint = |device: &&DeviceVerdict| {
        model.function(device.bdf).and_then(PciFunction::is_bridge) != Some(true)
    };
    let unserved = if asked {
        verdicts.devices.iter().any(|device| device.no_iommu.is_some())
    } else {
        verdicts.unserved().values().flatten().any(endpoint)
    };
    if any(Verdict::Blocked) {
        1
    } else if unserved {
        4
    } else if any(Verdict::Unknown) || verdicts.served().next().is_none() {
        3
    } else {
        0
    }
}
