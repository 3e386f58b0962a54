//! The command that is traced: as whom it runs, its signals, and how long to listen on after it.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::ExitStatusExt as _},
    },
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::{process::Signal as Number, thread::CapabilitySet};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{Live, rights, run_as::RunAs};
use crate::{
    escape::printable,
    model::{Attempt, Model},
    output,
    privilege::for_modules,
};

/// How long to listen on at least: what the command asked a daemon for may come a moment later.
const AFTERMATH: Duration = Duration::from_millis(50);
/// The exit status for a command that does not exist, as shells give it.
const NOT_FOUND: u8 = 127;
/// The same for one that may not be executed.
const NOT_EXECUTABLE: u8 = 126;

#[derive(Debug, clap::Args)]
pub(crate) struct CommandArgs {
    /// Run CMD as root, not as the user who called sudo, pkexec or doas
    #[arg(long)]
    as_root: bool,
    /// Keep watching for this long after CMD exits, for daemons that still work for it; ends early
    /// once every process that tried to claim a device has exited
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    linger: Duration,
}

pub(crate) enum Ended {
    /// By itself (`command`), or because the time was over (`duration`); its exit status.
    By(&'static str, i32),
    /// It could not be run, which was told; the exit status that says so.
    NotStarted(u8),
}

/// Where the command writes its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    Out,
    /// To its standard error, so that standard output has one document and nothing else.
    Err,
}

/// Whether there certainly is no such command, or none that may be executed, as `execvp(3)` looks for
/// it: then says so, and gives the status for that. Without a command there is nothing to miss.
pub(crate) fn is_absent(command: &[OsString]) -> Option<u8> {
    let program = Path::new(command.first()?);
    let has_folder = program.as_os_str().as_bytes().contains(&b'/');
    let folders = if has_folder { "".into() } else { env::var_os("PATH")? };
    // Joined with an empty folder, it is what it was.
    let found: Vec<Found> =
        env::split_paths(&folders).map(|folder| found(&folder.join(program))).collect();
    let (why, code) = match found.iter().max()? {
        Found::Executable => return None,
        Found::Inert => ("it may not be executed", NOT_EXECUTABLE),
        Found::Nothing if has_folder => ("there is no such file", NOT_FOUND),
        Found::Nothing => ("no folder of PATH has it", NOT_FOUND),
    };
    output::complain(&format!("cannot run {}: {why}", printable(&program.to_string_lossy())));
    Some(code)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    /// A folder, or a file that nobody may execute.
    Inert,
    /// So far as can be seen without executing it.
    Executable,
}

fn found(path: &Path) -> Found {
    match path.metadata() {
        Ok(file) if file.is_dir() || file.permissions().mode() & 0o111 == 0 => Found::Inert,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Found::Nothing
        }
        Ok(_) | Err(_) => Found::Executable,
    }
}

/// Runs a command and takes in events until it has ended, or for `limit`, after which it is asked to
/// end; then for a moment more. It has this program's terminal, process group and files.
pub(crate) async fn run(
    live: &mut Live,
    command: &[OsString],
    args: &CommandArgs,
    results: Results,
    limit: Option<Duration>,
) -> anyhow::Result<Ended> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let caller = RunAs::caller().filter(|_| !args.as_root);
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(caller) = &caller {
        caller.run_as(&mut command)?;
    }
    if results == Results::Err {
        let err = io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
        command.stdout(Stdio::from(err));
    }
    let mut signals = Signals::new()?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = printable(&program.to_string_lossy());
            output::complain(&format!("cannot run {name}: {error}"));
            let missing = error.kind() == io::ErrorKind::NotFound;
            return Ok(Ended::NotStarted(if missing { NOT_FOUND } else { NOT_EXECUTABLE }));
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
        hand_on(&child, Number::TERM);
        ("duration", watch(live, &mut child, &mut signals).await?)
    };
    linger(live, args.linger, &mut signals).await?;
    live.settle(|_, _| {});
    let code = exit_status(status);
    if let Some(caller) = caller
        && code != 0
        && live.model.attempts().is_empty()
    {
        output::complain(&format!(
            "no process tried to claim a device; the command ran as {}: --as-root runs it as root",
            caller.name()
        ));
    }
    Ok(Ended::By(reason, code))
}

/// Takes in events until the command ends; signals are handed on to it.
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
            number = signals.next() => {
                // A terminal sends its own to the command as well, once.
                let by_terminal = matches!(number, Number::INT | Number::QUIT);
                if !(by_terminal && has_terminal()) {
                    hand_on(child, number);
                }
            }
        }
    }
}

/// Takes in what comes after the command's end: for so long, or until nobody is left who could go on,
/// or until a signal comes.
async fn linger(live: &mut Live, limit: Duration, signals: &mut Signals) -> anyhow::Result<()> {
    let began = Instant::now();
    let end = began + limit.max(AFTERMATH);
    let mut look = began + AFTERMATH;
    loop {
        tokio::select! {
            ready = live.ready() => {
                ready?;
                live.pump(|_, _| {});
            }
            () = sleep_until(look.min(end)) => {
                live.pump(|_, _| {});
                if Instant::now() >= end || is_over(&live.model, has_ended) {
                    return Ok(());
                }
                look += AFTERMATH;
            }
            _ = signals.next() => return Ok(()),
        }
    }
}

/// Whether somebody tried to take a device, and all who did have ended. Where nobody did, somebody may
/// be about to; and a machine that runs may still come to take another device.
fn is_over(model: &Model, has_ended: impl Fn(&Attempt) -> bool) -> bool {
    !model.attempts().is_empty() && model.attempts().iter().all(has_ended)
}

/// Whether the process of an attempt has ended; one that nobody has waited for yet has.
fn has_ended(attempt: &Attempt) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", attempt.process.pid)) else {
        // Where /proc hides the processes of others it does not tell.
        return fs::exists("/proc/1").unwrap_or(false);
    };
    // The state follows the command's name, in which there may be anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

struct Signals(Vec<(Number, Signal)>);

impl Signals {
    /// Those that are ignored stay so, for the command too.
    fn new() -> io::Result<Self> {
        let ignored = ignored();
        let wanted = [Number::INT, Number::QUIT, Number::TERM, Number::HUP];
        let one = |number: Number| {
            let bit = u32::try_from(number.as_raw() - 1).unwrap_or(u32::MAX);
            let is_ignored = 1_u64.checked_shl(bit).is_some_and(|bit| ignored & bit != 0);
            (!is_ignored).then(|| Ok((number, signal(SignalKind::from_raw(number.as_raw()))?)))
        };
        wanted.into_iter().filter_map(one).collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) -> Number {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The signals that this process ignores, a bit each, the lowest for signal 1.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Whether this process, and so the command, is in the foreground of a terminal.
fn has_terminal() -> bool {
    let terminal = fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| {
        rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
    })
}

fn hand_on(child: &Child, signal: Number) {
    let pid =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It fails only if the command has just ended, which is noticed anyway, or if it has made
        // itself another user's, to whom it then listens.
        let _: rustix::io::Result<()> = rustix::process::kill_process(pid, signal);
    }
}

fn exit_status(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(2)
}

/// A number of seconds, perhaps with a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = text.parse::<f64>().ok().filter(|_| digits);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= Duration::from_hours(24))
        .ok_or_else(|| "it is a number of seconds like 5 or 0.5, at most a day".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::{GROUPS, Owned, QEMU, host, model, table};

    #[test]
    fn seconds_are_read_as_they_are_written() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for wrong in ["", "-1", "+1", "1e3", "inf", "nan", "1s", "1.2.3", ".", "86401"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_certainly_is_not_there_is_absent() {
        let absent = |program: &str| is_absent(&[program.into()]);
        for there in ["sh", "/bin/sh", "/proc/1/root/bin/sh"] {
            assert_eq!(absent(there), None, "{there}");
        }
        for gone in ["no-such-command-anywhere", "/no/such/file", "/dev/null/file"] {
            assert_eq!(absent(gone), Some(127), "{gone}");
        }
        for inert in ["/", "/etc/passwd"] {
            assert_eq!(absent(inert), Some(126), "{inert}");
        }
        assert_eq!(is_absent(&[]), None);
    }

    #[test]
    fn it_listens_on_while_somebody_could_go_on() {
        let host = host(GROUPS, &table(&[]));
        assert!(!is_over(&model(&host, &[]), |_| true), "somebody may be about to");
        let taken = model(&host, &QEMU.attempt("qemu|21:00.0", 14, 0, Owned::default()));
        assert!(!is_over(&taken, |_| false), "the machine runs");
        assert!(is_over(&taken, |_| true));
    }

    #[test]
    fn ignored_signals_are_read_from_the_process() {
        // Rust's runtime ignores it.
        let pipe = u32::try_from(Number::PIPE.as_raw() - 1).unwrap();
        assert_ne!(ignored() & (1 << pipe), 0);
    }
}
