//! `ivrs-trace run -- CMD`: trace a command, then explain.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{io::source, probes::LeaveOutArgs};
use crate::{
    live::{
        self, Live,
        child::{self, CommandArgs, Ended, Results},
        record::{self, Output},
    },
    output,
    report::{self, json},
};

const MORE: &str = "\
Exit status:
  N      CMD's exit status; 0 with --from
  128+N  signal N ended CMD
  126    CMD cannot be executed
  127    CMD does not exist
  2      this host cannot be traced, or another error

Notes:
CMD runs as the user who called sudo, pkexec or doas, with that user's groups and
home directory. By default virsh then connects to that user's own libvirt, which
does not know the VMs of the system. Use virsh -c qemu:///system, or --as-root.

CMD keeps its terminal, files and signals.

Examples:
  sudo ivrs-trace run -- virsh -c qemu:///system start my-vm
      Start a VM, and explain why the kernel refuses its devices
  sudo ivrs-trace run -o trace.ivt -- qemu-system-x86_64 -device vfio-pci,host=01:00.0
      Also record everything, for somebody else to examine
  ivrs-trace run --from trace.ivt
      Explain a recording on any machine, without root";

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = MORE,
    override_usage = "ivrs-trace run [OPTIONS] -- <CMD>...\n       ivrs-trace run [OPTIONS] --from <FILE>"
)]
pub(super) struct Args {
    /// Print one JSON document to standard output; CMD's own standard output then goes to standard
    /// error
    #[arg(long)]
    json: bool,
    /// Also record everything to this file, which --from reads
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output")]
    force: bool,
    /// Run nothing: explain the attempts in this recording; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "command"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    run: CommandArgs,
    #[command(flatten)]
    leave_out: LeaveOutArgs,
    /// The command and its arguments
    #[arg(
        required_unless_present = "from",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

/// Runs the command. The status is the command's own, 128 and the signal's number if a signal ended
/// it, 2 if this host cannot be traced, 126 or 127 if the command cannot be run. For a recording it
/// is 0.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.from {
        return replay(args, path);
    }
    live::runtime::runtime()?.block_on(trace(args))
}

fn replay(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let replay = source::recording(path, |_, _, _| {})?;
    live::warn_of(&replay.probes);
    for finding in replay.model.host_findings() {
        output::complain(&finding.message);
    }
    let status = replay.end.as_ref().and_then(|end| end.exit_status);
    if args.json {
        output::print_json(&json::run(&replay.model, replay.lost, status))?;
    } else {
        output::print(report::attempts(&replay.model, replay.lost, output::style()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn trace(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(code) = child::is_absent(&args.command) {
        return Ok(ExitCode::from(code));
    }
    let output = args.output.as_deref().map(|path| Output {
        path,
        force: args.force,
        max_size: None,
        command: &args.command,
    });
    let _full = record::outlive_file_limit()?;
    let mut live = Live::start_with(output.as_ref(), &args.leave_out.resolved(), |_, _| {})?;
    live.warn();
    let results = if args.json { Results::Err } else { Results::Out };
    let code = match child::run(&mut live, &args.command, &args.run, results, None).await? {
        Ended::By(_, code) => code,
        Ended::NotStarted(code) => {
            let outcome = live.end_recording("command", Some(code.into()));
            if let (Some(output), Some(outcome)) = (output, outcome) {
                output.tell(&outcome);
            }
            return Ok(ExitCode::from(code));
        }
    };
    live.model.finish();
    let lost = live.lost()?;
    // The answer first: a disk may be slow.
    let printed = if args.json {
        output::print_json(&json::run(&live.model, lost, Some(code)))
    } else {
        output::print_beside(&report::attempts(&live.model, lost, output::style_of_talk()))
    };
    if let (Some(output), Some(outcome)) = (output, live.end_recording("command", Some(code))) {
        output.tell(&outcome);
    }
    printed?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
