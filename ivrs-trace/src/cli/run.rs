//! `ivrs-trace run -- CMD`: trace a command, then explain.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    leave_out::LeaveOutArgs,
    live::{self, Live},
    output,
    record::{self, Output},
    rights, source,
};
use crate::{
    privilege::for_modules,
    report::{self, json},
};

/// How long to listen on after the command has ended: it may have asked a daemon (libvirtd) whose
/// last events come a moment later.
const AFTERMATH: Duration = Duration::from_millis(50);

/// What the long help and the man page say after the options.
const MORE: &str = "\
Exit status:
  N      what CMD ended with; 0 with --from
  128+N  signal N ended CMD
  126    CMD cannot be run
  127    there is no CMD
  2      this host cannot be traced, or another error

Examples:
  sudo ivrs-trace run -- virsh start my-vm
      Start a virtual machine, and say why the kernel does not give it its devices
  sudo ivrs-trace run -o trace.ivt -- qemu-system-x86_64 -device vfio-pci,host=01:00.0
      Also keep what was seen, for somebody else to look at
  ivrs-trace run --from trace.ivt
      Explain that on any machine, without root";

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = MORE,
    override_usage = "ivrs-trace run [OPTIONS] -- <CMD>...\n       ivrs-trace run [OPTIONS] --from <FILE>"
)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Also record everything to this file, which `--from` reads
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// Run nothing: explain what this recording holds; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "command"])]
    from: Option<PathBuf>,
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
    super::runtime()?.block_on(trace(args))
}

fn replay(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let replay = source::recording(path, |_, _, _| {})?;
    for line in live::degradations(&replay.probes) {
        output::complain(&line);
    }
    for finding in replay.model.host_findings() {
        output::complain(&finding.message);
    }
    let status = replay.end.as_ref().and_then(|end| end.exit_status);
    if args.json {
        output::print_json(&json::run(&replay.model, replay.lost, status))?;
    } else {
        output::print(&report::attempts(&replay.model, replay.lost, output::style()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn trace(args: &Args) -> anyhow::Result<ExitCode> {
    let output = args.output.as_deref().map(|path| Output {
        path,
        force: args.force,
        max_size: None,
        command: &args.command,
    });
    let _full = record::outlive_file_limit()?;
    let mut live = Live::start_with(output.as_ref(), &args.leave_out.resolved(), |_, _| {})?;
    live.warn();
    let code = match run(&mut live, &args.command, None).await? {
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
        output::print(&report::attempts(&live.model, lost, output::style()))
    };
    if let (Some(output), Some(outcome)) = (output, live.end_recording("command", Some(code))) {
        output.tell(&outcome);
    }
    printed?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// How a command ended.
pub(super) enum Ended {
    /// By itself (`command`), or because the time was over (`duration`); its exit status.
    By(&'static str, i32),
    /// It could not be run, which was told; the exit status that says so.
    NotStarted(u8),
}

/// Runs a command and takes in events until it has ended, or for `limit`, after which it is asked to
/// end.
pub(super) async fn run(
    live: &mut Live,
    command: &[OsString],
    limit: Option<Duration>,
) -> anyhow::Result<Ended> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    let (program, arguments) = command.split_first().context("no command was given")?;
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = crate::escape::printable(&program.to_string_lossy());
            output::complain(&format!("cannot run {name}: {error}"));
            let missing = error.kind() == io::ErrorKind::NotFound;
            return Ok(Ended::NotStarted(if missing { 127 } else { 126 }));
        }
    };
    // It has its rights; what is left to do needs few.
    rights::give_up(for_modules() | CapabilitySet::KILL, None);
    let over = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let ended = tokio::select! {
        status = watch(live, &mut child, &mut signals) => Some(status?),
        () = &mut over => None,
    };
    let (reason, status) = if let Some(status) = ended {
        ("command", status)
    } else {
        hand_on(&child, rustix::process::Signal::TERM);
        ("duration", watch(live, &mut child, &mut signals).await?)
    };
    let end = tokio::time::sleep(AFTERMATH);
    tokio::pin!(end);
    loop {
        tokio::select! {
            ready = live.ready() => ready?,
            () = &mut end => break,
        }
        live.pump(|_, _| {});
    }
    live.settle(|_, _| {});
    Ok(Ended::By(reason, exit_status(status)))
}

/// The signals that are meant for the command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Takes in events until the command ends; SIGINT and SIGTERM are handed on to it.
async fn watch(
    live: &mut Live,
    child: &mut Child,
    signals: &mut Signals,
) -> anyhow::Result<ExitStatus> {
    loop {
        tokio::select! {
            ready = live.ready() => {
                ready?;
                live.pump(|_, _| {});
            }
            status = child.wait() => return status.context("cannot wait for the command"),
            _ = signals.terminate.recv() => hand_on(child, rustix::process::Signal::TERM),
            // A terminal sends Ctrl-C to the command itself, once.
            _ = signals.interrupt.recv() => if !io::stdin().is_terminal() {
                hand_on(child, rustix::process::Signal::INT);
            },
        }
    }
}

fn hand_on(child: &Child, signal: rustix::process::Signal) {
    let pid =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It fails only if the command has just ended, which is noticed anyway.
        let _: rustix::io::Result<()> = rustix::process::kill_process(pid, signal);
    }
}

/// The status as a shell gives it.
fn exit_status(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(2)
}
