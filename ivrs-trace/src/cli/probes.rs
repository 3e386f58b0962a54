//! `ivrs-trace probes`: the probe table, resolved on this host.

use std::process::ExitCode;

use clap::error::ErrorKind;
use rustix::thread::CapabilitySet;

use crate::{
    live::rights,
    output,
    privilege::Caller,
    probe::{
        table::{How, Need, PROBES},
        tracer::{LeaveOut, ProbeStatus, Tracer},
    },
    probe_state::ProbeState as State,
    report::probes::{self, ProbeDocument, ProbeState, ProbesDocument},
};

/// The word for all BPF trampolines.
const TRAMPOLINES: &str = "trampolines";

const MORE: &str = "\
Exit status:
  0  the list is complete, even if some probes did not attach
  2  error

Examples:
  sudo ivrs-trace probes
      Which kernel functions ivrs-trace can watch here";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    leave_out: LeaveOutArgs,
}

/// Attaches every probe, says how each stands, and lets go of them.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let mut tracer = Tracer::start(&args.leave_out.resolved())?;
    tracer.attach_waiting();
    rights::give_up(CapabilitySet::empty(), Caller::of_sudo());
    let document = document(&tracer);
    if args.json {
        output::print_json(&document)?;
    } else {
        output::print(probes::text(&document))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn document(tracer: &Tracer) -> ProbesDocument {
    ProbesDocument {
        schema: ProbesDocument::SCHEMA,
        require_direct: tracer.require_direct(),
        probes: tracer.probes().iter().map(of_probe).collect(),
    }
}

fn of_probe(probe: &ProbeStatus) -> ProbeDocument {
    let (state, reason) = match &probe.state {
        State::Attached => (ProbeState::Attached, None),
        State::Waiting => (ProbeState::Waiting, None),
        State::NotNeeded => (ProbeState::NotNeeded, None),
        State::LeftOut | State::Unknown => (ProbeState::LeftOut, None),
        State::Missing { reason, .. } => (ProbeState::Missing, Some(reason.clone())),
    };
    let mut how: Vec<&str> = Vec::new();
    for program in probe.way {
        if !how.contains(&program.how.name()) {
            how.push(How::name(program.how));
        }
    }
    ProbeDocument {
        symbol: probe.spec.symbol,
        module: probe.spec.home.module(),
        explains: probe.spec.explains,
        required: probe.spec.need == Need::Verdict,
        state,
        how: how.join(" and "),
        fallback: probe.fallback.clone(),
        reason,
    }
}

/// The switch by which the commands that trace can be made to do without a probe. It is for the tests
/// of what is left to see then, and hidden from the help.
#[derive(Debug, clap::Args)]
pub(super) struct LeaveOutArgs {
    /// Attach no probe on this function or tracepoint; `trampolines`: use kprobes instead
    #[arg(long, value_name = "WHAT", hide = true, value_parser = known)]
    leave_out: Vec<String>,
}

impl LeaveOutArgs {
    pub(super) fn resolved(&self) -> LeaveOut {
        let (words, symbols) =
            self.leave_out.iter().cloned().partition::<Vec<_>, _>(|what| what == TRAMPOLINES);
        LeaveOut { symbols, trampolines: !words.is_empty() }
    }
}

fn known(what: &str) -> Result<String, clap::Error> {
    if what == TRAMPOLINES || PROBES.iter().any(|probe| probe.symbol == what) {
        return Ok(what.to_owned());
    }
    let message = format!("there is no probe on {what}; `ivrs-trace probes` lists them\n");
    Err(clap::Error::raw(ErrorKind::InvalidValue, message))
}
