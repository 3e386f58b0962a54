//! `ivrs-trace check`: a verdict a device.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use rustix::thread::CapabilitySet;

use super::io::{
    facts::{self, Facts},
    source,
};
use crate::{
    live::rights,
    model::{Verdict, Verdicts},
    output,
    pci::Bdf,
    privilege::Caller,
    report::{self, json, letters::input::Origin},
};

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
        facts::gather(args.from.as_deref(), |_, _, _| {})?;
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
    for bdf in &args.devices {
        if model.function(*bdf).is_none() {
            bail!("there is no PCI function {bdf} on this host; `lspci -D` lists them");
        }
        if !verdicts.devices.iter().any(|device| device.bdf == *bdf) {
            bail!(
                "{bdf} is in no IOMMU group, so VFIO cannot claim it: no IOMMU serves it, or \
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
        output::print(report::check(&model, &verdicts, output::style()))?;
    }
    Ok(code)
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
