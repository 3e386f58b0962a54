//! `ivrs-trace record`: what the host shows and its kernel does, into a file.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use rustix::{
    thread::CapabilitySet,
    time::{ClockId, clock_gettime},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    command::{self, CommandArgs, Ended, Results},
    live::{self, Live},
    notify,
    only_failures::OnlyFailuresArgs,
    open_files, output, rights,
};
use crate::{
    escape::printable,
    host::Snapshot,
    model::{OpenFile, RequireDirect},
    privilege::{Caller, for_modules, made_by_caller},
    recording::{
        self, Clocks, EVENT_LAYOUT, End, Fate, Kind, Loss, MIN_SIZE, Options, Outcome, Recorder,
        Start, Status,
    },
    width::{last, split, width},
};

/// How often the line of progress is renewed.
const PROGRESS: Duration = Duration::from_millis(500);

/// Bytes of a command line that are recorded at most.
const MAX_COMMAND: usize = 16 * 1024;

/// What the long help and the man page say after the options.
const MORE: &str = "\
Exit status:
  0      the recording ended as it was to
  N      what CMD ended with; 128+N if signal N ended it
  126    CMD cannot be run
  127    there is no CMD
  2      nothing could be recorded, or another error

Examples:
  sudo ivrs-trace record -o trace.ivt -- virsh -c qemu:///system start my-vm
      Record while a virtual machine is started
  sudo ivrs-trace record -o trace.ivt --max-size 64M
      Record until Ctrl-C, and keep the last 64 to 128 MiB in trace.ivt.1 and trace.ivt
  sudo ivrs-trace record -o host.ivt --snapshot-only
      The host as it is now; ivrs-trace check --from host.ivt judges it";

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = MORE,
    override_usage = "ivrs-trace record [OPTIONS] -o <FILE> [-- <CMD>...]"
)]
pub(super) struct Args {
    /// The file to write; .ivt is the usual ending
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// End after this many seconds
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,
    /// Begin another file when this one would have more bytes than this, such as 64M (at least 1M)
    ///
    /// The full one is renamed to FILE.1, in place of the one before. Each opens by itself. K, M and
    /// G are 1024 and its powers.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_size: Option<u64>,
    /// Record the host as it is now, and end: for what cannot be reproduced just now
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

/// A file to record to, as it was asked for on the command line.
#[derive(Debug)]
pub(super) struct Output<'a> {
    pub(super) path: &'a Path,
    pub(super) force: bool,
    pub(super) max_size: Option<u64>,
    pub(super) command: &'a [OsString],
}

impl Output<'_> {
    /// Makes the file. Under sudo it belongs to the user who called that. The thread that writes
    /// has no capabilities, and is that user where the file was made with that user's rights.
    pub(super) fn create(&self) -> anyhow::Result<Recorder> {
        self.create_telling(output::complain)
    }

    /// The same; what goes wrong later is said to `tell`, a line each.
    pub(super) fn create_telling(
        &self,
        tell: impl Fn(&str) + Clone + Send + 'static,
    ) -> anyhow::Result<Recorder> {
        let caller = Caller::of_sudo();
        let options = Options {
            path: self.path.to_owned(),
            force: self.force,
            max_size: self.max_size,
            owner: caller.map(|caller| (caller.uid, caller.gid)),
        };
        let begin = move || {
            let is_caller = !rustix::process::geteuid().is_root();
            rights::give_up(CapabilitySet::empty(), caller.filter(|_| is_caller));
        };
        let make = || Recorder::create_after(options.clone(), begin, tell.clone());
        Ok(made_by_caller(make)?.0)
    }

    /// The file, for people.
    fn name(&self) -> String {
        printable(&self.path.display().to_string())
    }

    /// Says on standard error what has become of it.
    pub(super) fn tell(&self, outcome: &Outcome) {
        output::complain(&self.words(outcome));
    }

    /// What has become of it.
    pub(super) fn words(&self, outcome: &Outcome) -> String {
        let Status { events, bytes, dropped, trouble } = &outcome.status;
        let name = self.name();
        let dropped = match dropped {
            0 => String::new(),
            count => format!("; {count} events could not be written"),
        };
        let cut = if outcome.closed {
            String::new()
        } else {
            let why = trouble.as_deref().unwrap_or("its writer was ended");
            format!("; it is not closed ({why}), but can be read as far as it goes")
        };
        let size = size_words(*bytes);
        format!("{name}: {events} events, {size}{dropped}{cut}")
    }
}

/// Records until the command ends, the time is over, or SIGINT or SIGTERM comes. The status is the
/// command's, else 0; 2 if nothing can be recorded.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let output = Output {
        path: &args.output,
        force: args.force,
        max_size: args.max_size,
        command: &args.command,
    };
    let runtime = super::runtime()?;
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
        match Live::start_recording(Some(output), |_, _| {}) {
            Ok(mut live) => {
                live.warn();
                live.end_recording("snapshot", None)
            }
            // The file is not the kernel's fault, and files alone would not help.
            Err(error) if error.is::<recording::CreateError>() => return Err(error),
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
    let mut live = Live::start_recording(Some(output), |_, _| {})?;
    let only_failures = args.only_failures.only_failures;
    if !only_failures {
        live.warn();
    }
    let (reason, code) = if args.command.is_empty() {
        rights::give_up(for_modules(), Caller::of_sudo());
        (watch(args, output, &mut live).await?, 0)
    } else {
        let limit = args.duration.map(Duration::from_secs);
        match command::run(&mut live, &args.command, &args.run, Results::Out, limit).await? {
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
fn progress_line(name: &str, status: &Status, lost: crate::report::Lost, columns: usize) -> String {
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

/// What is missing of events, for people.
pub(super) fn lost_words(lost: crate::report::Lost) -> String {
    format!(
        "events are missing: {} found the ring buffer full, {} reads of kernel memory failed, {} \
         could not be decoded or kept",
        lost.ring, lost.read, lost.queue
    )
}

/// Makes a file that reaches the limit of the process (`ulimit -f`) an error of writing instead of
/// its end. A handler and not "ignore": the command that is run would inherit that.
pub(super) fn outlive_file_limit() -> io::Result<tokio::signal::unix::Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// How a recording begins.
pub(super) fn start(
    output: &Output<'_>,
    clocks: Clocks,
    traced: bool,
    require_direct: RequireDirect,
    open_files: Vec<OpenFile>,
) -> Start {
    let byte_order = if cfg!(target_endian = "big") { "big" } else { "little" };
    Start {
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        event_layout: EVENT_LAYOUT,
        byte_order: byte_order.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        traced,
        require_direct,
        clocks,
        command: words(output.command),
        open_files,
    }
}

/// The words of a command, cut where they are very many.
fn words(command: &[OsString]) -> Vec<String> {
    let mut left = MAX_COMMAND;
    let mut words = Vec::new();
    for word in command.iter().map(|word| word.to_string_lossy()) {
        let Some(rest) = left.checked_sub(word.len()) else {
            words.push("…".to_owned());
            break;
        };
        left = rest;
        words.push(word.into_owned());
    }
    words
}

/// The clocks now.
pub(super) fn clocks() -> Clocks {
    let ns = |clock| {
        let now = clock_gettime(clock);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let rest = u64::try_from(now.tv_nsec).unwrap_or_default();
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    };
    Clocks {
        monotonic_ns: ns(ClockId::Monotonic),
        realtime_ns: ns(ClockId::Realtime),
        boottime_ns: ns(ClockId::Boottime),
    }
}

/// Bytes with one decimal in a fitting unit.
fn size_words(bytes: u64) -> String {
    for (shift, unit) in [(30_u32, "GiB"), (20, "MiB"), (10, "KiB")] {
        let one = 1_u64 << shift;
        if bytes >= one {
            let tenths = bytes.saturating_mul(10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
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
    fn a_command_of_any_length_leaves_room_for_the_rest() {
        let long = OsString::from("x".repeat(MAX_COMMAND));
        assert_eq!(words(&["a".into(), long.clone(), "b".into()]), ["a", "…"]);
        assert_eq!(words(&[long]).concat().len(), MAX_COMMAND);
        assert_eq!(words(&["virsh".into(), "start".into()]), ["virsh", "start"]);
    }

    #[test]
    fn progress_says_what_is_written_and_what_is_lost() {
        let status = Status { events: 7, bytes: 1536, dropped: 2, trouble: None };
        let lost = crate::report::Lost { ring: 1, ..Default::default() };
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
