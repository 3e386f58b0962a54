//! `ivrs-trace record`: what the host shows and its kernel does, into a file.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    facts::{End, Loss},
    host::Snapshot,
    live::{
        self, Live,
        child::{self, CommandArgs, Ended, Results},
        notify, open_files,
        record::{Output, clocks, lost_words, outlive_file_limit, size_words, start},
        rights,
    },
    model::Model,
    output,
    privilege::{Caller, for_modules},
    probe::tracer::LeaveOut,
    recording::{CreateError, Fate, Kind, MIN_SIZE, Outcome, Status, rotated},
    report,
    width::{last, split, width},
};

/// How often the line of progress is renewed.
const PROGRESS: Duration = Duration::from_millis(500);

const MORE: &str = "\
Exit status:
  0      the recording completed normally
  N      CMD's exit status; 128+N if signal N ended CMD
  126    CMD cannot be executed
  127    CMD does not exist
  2      nothing was recorded, or another error

Examples:
  sudo ivrs-trace record -o trace.ivt -- virsh -c qemu:///system start my-vm
      Record the start of a VM
  sudo ivrs-trace record -o trace.ivt --max-size 64M
      Record until Ctrl-C; trace.ivt.1 and trace.ivt keep the last 64 to 128 MiB
  sudo ivrs-trace record -o host.ivt --snapshot-only
      Record the host as it is now, for ivrs-trace check --from host.ivt";

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = MORE,
    override_usage = "ivrs-trace record [OPTIONS] -o <FILE> [-- <CMD>...]"
)]
pub(super) struct Args {
    /// The file to write, by convention with the extension .ivt
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,
    /// Start a new file before this one exceeds this size, such as 64M (at least 1M)
    ///
    /// record renames the full file to FILE.1, replacing the previous FILE.1. Each file opens on its
    /// own. K, M and G are powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_size: Option<u64>,
    /// Record the host as it is now, and exit: for failures that you cannot reproduce right now
    #[arg(long, conflicts_with_all = ["duration", "max_size", "command"])]
    snapshot_only: bool,
    #[command(flatten)]
    only_failures: OnlyFailuresArgs,
    #[command(flatten)]
    run: CommandArgs,
    /// A command to run; the recording ends with it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A recording that stays only where somebody was not given a device.
///
/// It is written beside the file that was asked for and takes its name when it is to stay, so that a
/// start that goes well leaves the recording of an earlier failure alone.
#[derive(Debug, clap::Args)]
struct OnlyFailuresArgs {
    /// Keep the file only if an attempt to claim a device failed
    ///
    /// record then prints one line about the failure, else nothing. Until the end, the file is named
    /// FILE.part. A failure does not count if a later attempt of the same process succeeds.
    #[arg(long, conflicts_with = "snapshot_only")]
    only_failures: bool,
    /// With --only-failures: count only failures of this VM (QEMU -name)
    ///
    /// Failures of processes whose VM is unknown count too.
    #[arg(long, value_name = "NAME", requires = "only_failures")]
    vm: Option<String>,
}

impl OnlyFailuresArgs {
    /// The file to write to for now, for a recording that is asked for as `path`. Without `force`,
    /// what is there under the names that the recording may get is an error.
    fn part(path: &Path, force: bool) -> Result<PathBuf, CreateError> {
        for name in [path.to_owned(), rotated(path)] {
            if !force && name.symlink_metadata().is_ok() {
                return Err(CreateError::Exists(name));
            }
        }
        let mut part = OsString::from(path);
        part.push(".part");
        Ok(part.into())
    }

    /// What failed, in a line; `None` if nothing did.
    fn failed(&self, model: &Model) -> Option<String> {
        report::failures_line(model, &report::failures(model, self.vm.as_deref()))
    }
}

/// Records until the command ends, the time is over, or SIGINT or SIGTERM comes. The status is the
/// command's, else 0; 2 if nothing can be recorded.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(code) = child::is_absent(&args.command) {
        return Ok(ExitCode::from(code));
    }
    let output = Output {
        path: &args.output,
        force: args.force,
        max_size: args.max_size,
        command: &args.command,
    };
    let runtime = live::runtime::runtime()?;
    if args.snapshot_only {
        let _inside = runtime.enter();
        return snapshot(&output);
    }
    if args.only_failures.only_failures {
        let part = OnlyFailuresArgs::part(&args.output, args.force)?;
        // A part that is there is of a recording that was killed.
        let output = Output { path: &part, force: true, ..output };
        return runtime.block_on(record(args, &output));
    }
    runtime.block_on(record(args, &output))
}

/// The host as it is now: with what the kernel lists for each device, where that may be asked.
fn snapshot(output: &Output<'_>) -> anyhow::Result<ExitCode> {
    let outcome = if live::can_show() {
        match Live::start_with(Some(output), &LeaveOut::default(), |_, _| {}) {
            Ok(mut live) => {
                live.warn();
                live.end_recording("snapshot", None)
            }
            // The file is not the kernel's fault, and files alone would not help.
            Err(error) if error.is::<CreateError>() => return Err(error),
            Err(error) => {
                output::complain(&format!("recording files alone: {error:#}"));
                Some(files_alone(output)?)
            }
        }
    } else {
        Some(files_alone(output)?)
    };
    let Some(outcome) = outcome else { return Ok(ExitCode::from(2)) };
    output.tell(&outcome);
    Ok(ExitCode::from(if outcome.closed { 0 } else { 2 }))
}

fn files_alone(output: &Output<'_>) -> anyhow::Result<Outcome> {
    let recorder = output.create()?;
    let open_files = open_files::read();
    recorder.json(
        Kind::START,
        &start(output, clocks(), false, live::require_direct().answer, open_files),
    );
    let (_, files) = Snapshot::read_and_keep(Path::new("/"));
    recorder.snapshot(0, &files);
    recorder.loss(Loss::default());
    let time_ns = clocks().monotonic_ns;
    Ok(recorder.finish(End { reason: "snapshot".to_owned(), exit_status: None, time_ns }))
}

async fn record(args: &Args, output: &Output<'_>) -> anyhow::Result<ExitCode> {
    let _full = outlive_file_limit()?;
    let mut live = Live::start_with(Some(output), &LeaveOut::default(), |_, _| {})?;
    let only_failures = args.only_failures.only_failures;
    if !only_failures {
        live.warn();
    }
    let (reason, code) = if args.command.is_empty() {
        rights::give_up(for_modules(), Caller::of_sudo());
        (watch(args, output, &mut live).await?, 0)
    } else {
        let limit = args.duration.map(Duration::from_secs);
        match child::run(&mut live, &args.command, &args.run, Results::Out, limit).await? {
            Ended::By(reason, code) => (reason, code),
            Ended::NotStarted(code) => ("command", code.into()),
        }
    };
    let status = (!args.command.is_empty()).then_some(code);
    let kept = if only_failures {
        live.model.finish();
        let failed = args.only_failures.failed(&live.model);
        let fate = match &failed {
            Some(_) => Fate::Name(args.output.clone()),
            None => Fate::Remove,
        };
        let outcome = live.end_recording_with(reason, status, fate);
        let output = Output { path: &args.output, ..*output };
        if let (Some(failed), Some(outcome)) = (&failed, &outcome) {
            output::complain(&format!("{failed} Recorded in {}", output.words(outcome)));
        }
        failed.is_some()
    } else {
        if let Some(outcome) = live.end_recording(reason, status) {
            output.tell(&outcome);
        }
        true
    };
    let lost = live.lost()?;
    if kept && lost.any() {
        output::complain(&lost_words(lost));
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Takes in events until a signal comes or the time is over; says which.
async fn watch(args: &Args, output: &Output<'_>, live: &mut Live) -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let over = async {
        match args.duration {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    if let Err(error) = notify::ready() {
        output::complain(&format!("cannot tell the service manager that this is ready: {error}"));
    }
    let mut progress = tokio::time::interval(PROGRESS);
    let shown = output::progress_columns().is_some();
    if !shown && !args.only_failures.only_failures {
        output::complain(&format!("recording to {}", output.name()));
    }
    let reason = loop {
        tokio::select! {
            ready = live.ready() => {
                ready?;
                live.pump(|_, _| {});
            }
            () = &mut over => break "duration",
            _ = interrupt.recv() => break "interrupted",
            _ = terminate.recv() => break "interrupted",
            // Its terminal is gone.
            _ = hangup.recv() => break "interrupted",
            _ = progress.tick(), if shown => {
                // The terminal may have been made smaller.
                if let (Some(status), Some(columns)) = (live.recorded(), output::progress_columns())
                {
                    output::progress(&progress_line(
                        &output.name(), &status, live.lost()?, columns,
                    ));
                }
            }
        }
    };
    live.settle(|_, _| {});
    if shown {
        output::progress("");
    }
    Ok(reason)
}

/// How the recording goes, in one line of a terminal: if it is longer, the name is shortened, then
/// the rest.
fn progress_line(name: &str, status: &Status, lost: crate::facts::Lost, columns: usize) -> String {
    let lost = lost.ring.saturating_add(lost.read).saturating_add(lost.queue);
    let Status { events, bytes, dropped, trouble } = status;
    let rest = match trouble {
        Some(why) => format!(" ({why})"),
        None => ", Ctrl-C ends it".to_owned(),
    };
    let (size, lost) = (size_words(*bytes), lost.saturating_add(*dropped));
    let line =
        |name: &str| format!("recording to {name}: {events} events, {size}, {lost} lost{rest}");
    let room = columns.saturating_sub(width(&line("")));
    split(&line(&last(name, room)), columns).0.to_owned()
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    digits
        // `parse` would take a sign.
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| *bytes >= MIN_SIZE)
        .ok_or_else(|| "it is a number of bytes like 64M, at least 1M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1048576"), Ok(1 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
        for wrong in ["", "M", "1K", "-1M", "+1M", "1.5M", "99999999999999999999", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn progress_says_what_is_written_and_what_is_lost() {
        let status = Status { events: 7, bytes: 1536, dropped: 2, trouble: None };
        let lost = crate::facts::Lost { ring: 1, ..Default::default() };
        let line = progress_line("a.ivt", &status, lost, 80);
        assert_eq!(line, "recording to a.ivt: 7 events, 1.5 KiB, 3 lost, Ctrl-C ends it");
        let full = Status { trouble: Some("No space left".to_owned()), ..status };
        assert!(progress_line("a", &full, lost, 80).ends_with("(No space left)"));
        let short = |columns| progress_line("folder/trace.ivt", &status, lost, columns);
        assert_eq!(short(66), "recording to …trace.ivt: 7 events, 1.5 KiB, 3 lost, Ctrl-C ends it");
        assert_eq!(short(66).chars().count(), 66);
        let wide =
            |columns| progress_line("\u{6f22}\u{5b57}\u{6f22}\u{5b57}.ivt", &status, lost, columns);
        assert!(wide(67).starts_with("recording to …\u{5b57}\u{6f22}\u{5b57}.ivt: 7 events"));
        for columns in 0..90 {
            assert!(unicode_width::UnicodeWidthStr::width(&*wide(columns)) <= columns);
        }
        assert_eq!(short(20), "recording to …: 7 ev");
        assert_eq!(short(0), "");
    }
}
