//! `ivrs-trace run -- CMD`: trace a command, then explain.

use std::{
    io::{self, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{leave_out::LeaveOutArgs, live::Live, output};
use crate::report::{self, json};

/// How long to listen on after the command has ended: it may have asked a daemon (libvirtd) whose
/// last events come a moment later.
const AFTERMATH: Duration = Duration::from_millis(50);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    leave_out: LeaveOutArgs,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<std::ffi::OsString>,
}

/// Runs the command. The status is the command's own, 128 and the signal's number if a signal ended
/// it, 2 if this host cannot be traced, 126 or 127 if the command cannot be run.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(trace(args))
}

async fn trace(args: &Args) -> anyhow::Result<ExitCode> {
    let mut live = Live::start_without(&args.leave_out.resolved(), |_, _| {})?;
    live.warn();
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };

    let (program, arguments) = args.command.split_first().context("no command was given")?;
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = crate::escape::printable(&program.to_string_lossy());
            output::complain(&format!("cannot run {name}: {error}"));
            let missing = error.kind() == io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if missing { 127 } else { 126 }));
        }
    };
    let status = watch(&mut live, &mut child, &mut signals).await?;
    let end = tokio::time::sleep(AFTERMATH);
    tokio::pin!(end);
    loop {
        tokio::select! {
            ready = live.ready() => ready?,
            () = &mut end => break,
        }
        live.pump(|_, _| {});
    }
    live.pump(|_, _| {});
    live.model.finish();

    let lost = live.lost()?;
    let code = exit_status(status);
    if args.json {
        output::print_json(&json::run(&live.model, lost, code))?;
    } else {
        output::print(&report::attempts(&live.model, lost, output::style()))?;
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
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
