//! `ivrs-trace doctor`: can this host be traced, and what else would stop VFIO.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use rustix::thread::CapabilitySet;

use super::io::source;
use crate::{
    host::Conditions,
    live::{self, Live, rights},
    model::{
        Model,
        health::{self, Right, Rights, State, Tracing},
    },
    output,
    pci::Bdf,
    privilege::{self, Caller, NEEDS, Need, names},
    probe::tracer::{LeaveOut, TraceError, Tracer},
    report,
};

const MORE: &str = "\
Exit status:
  0  no check failed; there may be warnings
  1  a check failed: it prevents tracing or passthrough
  2  error
  3  no check failed, but the result of one is unknown

Examples:
  sudo ivrs-trace doctor
      Whether ivrs-trace can trace here, and which devices are in use
  sudo ivrs-trace doctor 01:00.0 01:00.1
      What would stop VFIO from claiming these two
  ivrs-trace doctor --from host
      A copied host, whose state of tracing is unknown";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Check another host: a recording, or a folder with copies of its /sys and /proc
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// The devices to check, such as 01:00.0; by default those with a problem other than
    /// the firmware's table
    #[arg(value_name = "BDF")]
    devices: Vec<Bdf>,
}

/// Looks, and says what was seen.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let (model, conditions, tracing) = match &args.from {
        Some(path) => of_other(path)?,
        None => this_host()?,
    };
    let present = source::present(&model, &args.devices);
    if present.is_empty() && !args.devices.is_empty() {
        return Ok(ExitCode::from(2));
    }
    let verdicts = model.verdicts();
    let health = health::health(&model, &verdicts, &conditions, &tracing, &present);
    let health = report::worded(health);
    if args.json {
        output::print_json(&health)?;
    } else {
        output::print(report::doctor(&health, output::style()))?;
    }
    Ok(ExitCode::from(match health.worst() {
        _ if present.len() < args.devices.len() => 2,
        State::Ok | State::Warning => 0,
        State::No => 1,
        State::Unknown => 3,
    }))
}

fn of_other(path: &Path) -> anyhow::Result<(Model, Conditions, Tracing)> {
    if path.is_dir() {
        let (model, _) = source::model_of_tree(path)?;
        return Ok((model, Conditions::read(path), Tracing::default()));
    }
    let replay = source::recording(path, |_, _, _| {})?;
    let tracing = Tracing { probes: replay.probes, ..Tracing::default() };
    Ok((replay.model, replay.conditions, tracing))
}

/// What takes rights is read first, then they are given up.
fn this_host() -> anyhow::Result<(Model, Conditions, Tracing)> {
    let effective = privilege::effective().unwrap_or(CapabilitySet::empty());
    let conditions = Conditions::read(Path::new("/"));
    let runtime = live::runtime::runtime()?;
    let _inside = runtime.enter();
    let mut tracing = Tracing::default();
    let mut left = None;
    let mut model = None;
    if live::can_show() {
        match Live::start(|_, _| {}) {
            Ok(live) => {
                left = given_up();
                tracing.probes = live.probes();
                model = Some(live.model);
            }
            Err(error) => {
                if let Some(TraceError::NoVerdict(probes)) = error.downcast_ref() {
                    tracing.probes.clone_from(probes);
                }
                tracing.error = Some(format!("{error:#}"));
            }
        }
    } else {
        match Tracer::start(&LeaveOut::default()) {
            Ok(mut tracer) => {
                tracer.attach_waiting();
                left = given_up();
                tracing.probes = live::probe_facts(&tracer);
            }
            Err(error) => {
                tracing.error = Some(error.to_string());
                if let TraceError::NoVerdict(probes) = error {
                    tracing.probes = probes;
                }
            }
        }
    }
    tracing.rights = Some(rights(effective, left));
    Ok((model.unwrap_or_else(source::this_host), conditions, tracing))
}

/// Gives up what `events` and the like would give up, and says what is left.
fn given_up() -> Option<String> {
    rights::give_up(privilege::for_modules(), Caller::of_sudo());
    privilege::held().map(names)
}

fn rights(effective: CapabilitySet, left: Option<String>) -> Rights {
    let right = |need: &Need| Right {
        name: names(need.capability),
        required: need.required,
        held: !need.is_missing(effective),
        purpose: need.purpose,
        without: need.without,
    };
    Rights {
        wanted: NEEDS.iter().map(right).collect(),
        effective: names(effective),
        left,
        paranoid: privilege::paranoid().filter(|_| !effective.contains(CapabilitySet::SYS_ADMIN)),
    }
}
