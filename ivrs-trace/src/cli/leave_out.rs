//! The switch by which the commands that trace can be made to do without a probe. It is for the
//! tests of what is left to see then, and hidden from the help.

use clap::{Args, error::ErrorKind};

use crate::probe::{table::PROBES, tracer::LeaveOut};

/// The word for all BPF trampolines.
const TRAMPOLINES: &str = "trampolines";

/// What not to attach.
#[derive(Debug, Args)]
pub(super) struct LeaveOutArgs {
    /// Attach no probe on this function or tracepoint; `trampolines`: use kprobes instead
    #[arg(long, value_name = "WHAT", hide = true, value_parser = known)]
    leave_out: Vec<String>,
}

impl LeaveOutArgs {
    /// The same for the tracer.
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
